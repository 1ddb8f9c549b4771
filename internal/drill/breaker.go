package drill

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"

	"relight/internal/core/fleet"
)

// Breaker is what a playground can do to a server and to its data.
type Breaker interface {
	// Break brings a drill's fault about, and Mend ends it; failback has none.
	Break(ctx context.Context, name fleet.DrillName, server, host string) error
	Mend(ctx context.Context, name fleet.DrillName, server, host string) error
	// Write makes one write that is acknowledged once it is durable. ErrCannot means
	// that nobody can write here.
	Write(ctx context.Context, server string, id uint64) error
	// Check holds the data against the writes that were acknowledged.
	Check(ctx context.Context, server string, acked []uint64) (Findings, error)
}

// Findings is what the data shows.
type Findings struct {
	Lost       int `json:"lost"`
	TwoWriters int `json:"twoWriters"`
}

// ErrCannot means that a playground has no way to do this.
var ErrCannot = errors.New("it cannot be done here")

// cannotCode is the exit code by which a program says ErrCannot.
const cannotCode = 3

// Program is a Breaker that runs a program: PROGRAM break|mend DRILL SERVER HOST, write
// SERVER ID, and check SERVER, which reads the acknowledged ids from its standard input,
// one a line, and prints {"lost": N, "twoWriters": N}. Exit code 3 means that it cannot.
type Program struct{ Command []string }

// Break implements Breaker.
func (p Program) Break(ctx context.Context, name fleet.DrillName, server, host string) error {
	_, err := p.run(ctx, nil, "break", string(name), server, host)
	return err
}

// Mend implements Breaker.
func (p Program) Mend(ctx context.Context, name fleet.DrillName, server, host string) error {
	_, err := p.run(ctx, nil, "mend", string(name), server, host)
	return err
}

// Write implements Breaker.
func (p Program) Write(ctx context.Context, server string, id uint64) error {
	_, err := p.run(ctx, nil, "write", server, strconv.FormatUint(id, 10))
	return err
}

// Check implements Breaker.
func (p Program) Check(ctx context.Context, server string, acked []uint64) (Findings, error) {
	var in bytes.Buffer
	for _, id := range acked {
		fmt.Fprintln(&in, id)
	}
	out, err := p.run(ctx, &in, "check", server)
	if err != nil {
		return Findings{}, err
	}
	var f Findings
	if err := json.Unmarshal(out, &f); err != nil {
		return f, fmt.Errorf("%s check %s: its answer %q: %w", p.Command[0], server, out, err)
	}
	return f, nil
}

func (p Program) run(ctx context.Context, in *bytes.Buffer, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, p.Command[0], append(append([]string{}, p.Command[1:]...), args...)...)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if in != nil {
		cmd.Stdin = in
	}
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == cannotCode {
		return nil, fmt.Errorf("%s %s: %w", p.Command[0], args[0], ErrCannot)
	}
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w: %s", p.Command[0], strings.Join(args, " "), err, strings.TrimSpace(said.String()))
	}
	return out.Bytes(), nil
}

// Nothing is the Breaker of a place where nothing can be broken: only a failback can be
// drilled there.
type Nothing struct{}

// Break implements Breaker.
func (Nothing) Break(context.Context, fleet.DrillName, string, string) error { return ErrCannot }

// Mend implements Breaker.
func (Nothing) Mend(context.Context, fleet.DrillName, string, string) error { return nil }

// Write implements Breaker.
func (Nothing) Write(context.Context, string, uint64) error { return ErrCannot }

// Check implements Breaker.
func (Nothing) Check(context.Context, string, []uint64) (Findings, error) {
	return Findings{}, ErrCannot
}
