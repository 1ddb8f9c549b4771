// Package power switches hosts off through fence agents: programs that take
// name=value lines on standard input and answer in their exit code.
package power

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"relight/internal/core/fleet"
)

const (
	// DefaultTimeout bounds one call of a device whose spec says nothing.
	DefaultTimeout = 20 * time.Second
	// pause is the time between two reads of the state.
	pause = 250 * time.Millisecond
	// keepOutput is how much of a device's complaint is kept, in bytes.
	keepOutput = 400
)

// ErrStillOn is returned when the device took the switch and still reads on.
var ErrStillOn = errors.New("device still reads on")

// State is what a device reads back.
type State int

// The states, with the exit codes of fence agents for them.
const (
	On  State = 0
	Off State = 2
)

// Switch switches the device's plug off and reads the state back until it is off.
// Only nil means that it was read as off: the exit code of the switch itself
// proves nothing. It is idempotent. ctx bounds the whole.
func Switch(ctx context.Context, d fleet.PowerDevice) error {
	if len(d.Command) == 0 {
		return errors.New("power device has no command")
	}
	// A device may refuse to switch off what is off, so a failed switch is not the
	// end: what counts is the state that is read.
	_, switchErr := call(ctx, d, "off")
	for {
		state, err := Read(ctx, d)
		if err == nil && state == Off {
			return nil
		}
		if err == nil && switchErr != nil {
			return fmt.Errorf("power device of %s: %w", d.Plug, switchErr)
		}
		select {
		case <-ctx.Done():
			if err == nil {
				err = ErrStillOn
			}
			return fmt.Errorf("power device of %s: %w", d.Plug, errors.Join(err, switchErr, ctx.Err()))
		case <-time.After(pause):
		}
	}
}

// Read reads the state of the plug.
func Read(ctx context.Context, d fleet.PowerDevice) (State, error) {
	code, err := call(ctx, d, "status")
	if err != nil && code != int(Off) {
		return On, err
	}
	return State(code), nil
}

// call runs the device's program once. Any exit code but 0 is an error too.
func call(ctx context.Context, d fleet.PowerDevice, action string) (code int, err error) {
	timeout := d.Timeout.Std()
	if timeout <= 0 {
		timeout = DefaultTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, d.Command[0], d.Command[1:]...)
	cmd.Stdin = strings.NewReader(input(d, action))
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	// Fence agents start children (ipmitool, ssh): one that hangs must not outlive
	// its call and switch something off later.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	err = cmd.Run()
	if cmd.ProcessState != nil {
		code = cmd.ProcessState.ExitCode()
	}
	if err == nil {
		return 0, nil
	}
	if ctx.Err() != nil {
		return -1, fmt.Errorf("%s: %w", action, ctx.Err())
	}
	if code == 0 {
		code = -1 // not started, or its output could not be read
	}
	said := strings.TrimSpace(out.String())
	if len(said) > keepOutput {
		said = said[len(said)-keepOutput:]
	}
	return code, fmt.Errorf("%s: %w: %s", action, err, strings.ToValidUTF8(said, "?"))
}

// input is what the program reads. Options come first, so that none of them can
// take the place of the action or the plug.
func input(d fleet.PowerDevice, action string) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(d.Options)) {
		fmt.Fprintf(&b, "%s=%s\n", name, oneLine(d.Options[name]))
	}
	fmt.Fprintf(&b, "action=%s\nplug=%s\n", action, oneLine(d.Plug))
	return b.String()
}

// oneLine keeps a value from becoming a second option.
func oneLine(s string) string { return strings.NewReplacer("\n", " ", "\r", " ").Replace(s) }
