package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"

	"relight/internal/core/fleet"
	"relight/internal/provider/onprem/link"
)

// errQuiesce means that a server could not be quiesced; nothing was stopped.
var errQuiesce = errors.New("it could not be quiesced, and was not stopped")

// saidMax is how much of a program's complaint is told, in bytes.
const saidMax = 400

// quiesce runs the program that the spec wants run before a planned stop. An error means
// that the server must not be stopped.
func (a *Agent) quiesce(ctx context.Context, cmd link.Command) error {
	q := cmd.Quiesce
	if q == nil || cmd.Step.Kind != fleet.StepStop || !cmd.Step.Quiesce || len(q.Command) == 0 {
		return nil
	}
	err := runQuiesce(ctx, cmd, *q)
	switch {
	case err == nil:
		a.opt.Log.Info("quiesced", "server", cmd.Step.Server, "epoch", cmd.Step.Epoch)
		return nil
	case q.OnFailure == fleet.QuiesceGoOn:
		a.opt.Log.Warn("not quiesced, and stopped all the same, as the spec wants", "server", cmd.Step.Server, "epoch", cmd.Step.Epoch, "error", err)
		return nil
	default:
		return fmt.Errorf("%w: %w", errQuiesce, err)
	}
}

// runQuiesce runs the program. Nothing of it outlives its time: a child that holds the
// server back would do so for ever.
func runQuiesce(ctx context.Context, cmd link.Command, q fleet.Quiesce) error {
	ctx, cancel := context.WithTimeoutCause(ctx, q.Within.Std(), fmt.Errorf("it did not end within %s", q.Within))
	defer cancel()
	run := group(ctx, q.Command)
	run.Env = append(os.Environ(), "RELIGHT_SERVER="+cmd.Step.Server, fmt.Sprintf("RELIGHT_EPOCH=%d", cmd.Step.Epoch))
	out, err := run.CombinedOutput()
	if run.Process != nil {
		_ = syscall.Kill(-run.Process.Pid, syscall.SIGKILL) // what it has left behind
	}
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	said := strings.TrimSpace(string(out))
	if len(said) > saidMax {
		said = said[:saidMax]
	}
	return fmt.Errorf("%s: %w: %s", q.Command[0], err, said)
}
