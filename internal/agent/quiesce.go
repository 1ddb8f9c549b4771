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

// errNoGuestHook means that a host's driver cannot ask guests.
var errNoGuestHook = errors.New("this host cannot ask its guest: next: set spec.quiesce.command instead of guest, or start the agent without --libvirt")

// quiescer is a driver that can ask the guests of its instances.
type quiescer interface {
	Quiesce(ctx context.Context, server string, epoch fleet.Epoch) (said string, err error)
	Thaw(server string, epoch fleet.Epoch)
}

// quiesce does what the spec wants done before a planned stop, and returns what came of
// it. An error means that the server must not be stopped.
func (a *Agent) quiesce(ctx context.Context, cmd link.Command) (said string, err error) {
	q := cmd.Quiesce
	if q == nil || cmd.Step.Kind != fleet.StepStop || !cmd.Step.Quiesce || len(q.Command) == 0 && !q.Guest {
		return "", nil
	}
	if q.Guest {
		said, err = a.askGuest(ctx, cmd, *q)
	} else {
		said, err = "quiesced", runQuiesce(ctx, cmd, *q)
	}
	switch {
	case err == nil:
		a.opt.Log.Info(said, "server", cmd.Step.Server, "epoch", cmd.Step.Epoch)
		return said, nil
	case q.OnFailure == fleet.QuiesceGoOn:
		a.opt.Log.Warn("not quiesced, and stopped all the same, as the spec wants", "server", cmd.Step.Server, "epoch", cmd.Step.Epoch, "error", err)
		return fmt.Sprintf("not quiesced, and stopped all the same, as the spec wants: %v", err), nil
	default:
		return "", fmt.Errorf("%w: %w", errQuiesce, err)
	}
}

// askGuest has the guest hold still.
func (a *Agent) askGuest(ctx context.Context, cmd link.Command, q fleet.Quiesce) (string, error) {
	d, is := a.opt.Machines.(quiescer)
	if !is {
		return "", errNoGuestHook
	}
	ctx, cancel := context.WithTimeoutCause(ctx, q.Within.Std(), fmt.Errorf("not within %s", q.Within))
	defer cancel()
	return d.Quiesce(ctx, cmd.Step.Server, cmd.Step.Epoch)
}

// thaw has a guest go on whose stop has failed after it was quiesced.
func (a *Agent) thaw(cmd link.Command) {
	if d, is := a.opt.Machines.(quiescer); is && cmd.Quiesce != nil && cmd.Quiesce.Guest && cmd.Step.Quiesce {
		d.Thaw(cmd.Step.Server, cmd.Step.Epoch)
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
