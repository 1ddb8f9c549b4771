// Package power switches hosts off through fence agents: programs that take
// name=value lines on standard input and answer in their exit code. ClusterLabs'
// fence-agents has some for more than a hundred kinds of devices.
//
// Nothing but a state that was read as off counts: neither the end of a switch nor
// a time-out. "reboot" is never asked for, since a host that comes back is no proof
// of anything.
package power

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"relight/internal/core/fleet"
)

const (
	// DefaultTimeout bounds one call of a device whose spec says nothing.
	DefaultTimeout = 20 * time.Second
	// pause is the first time between two tries and between two reads of a state;
	// it doubles up to pauseMax, so that a slow management controller is not kept
	// from its work by our questions.
	pause    = 250 * time.Millisecond
	pauseMax = 4 * time.Second
	// failures is how many calls of a device in a row may fail before its level is
	// given up for the next one.
	failures = 3
)

var (
	// ErrStillOn is returned when the device took the switch and still reads on.
	ErrStillOn = errors.New("device still reads on")
	// ErrNoDevice is returned for a level or a power spec without a device.
	ErrNoDevice = errors.New("no power device is declared")
	// ErrNotPower is returned for fence agents that leave the host running.
	ErrNotPower = errors.New("this fence agent switches no power")
	// ErrCameBack is returned when a plug that read as off did not stay so while
	// the other plugs of its level were switched.
	ErrCameBack = errors.New("a plug that was off is on again")
	// ErrUnclear is returned when what a program answers is not a fence agent's
	// answer, or contradicts itself.
	ErrUnclear = errors.New("not a fence agent's answer")
)

// State is what a device reads back.
type State int

// The states, with the exit codes of fence agents for them.
const (
	On  State = 0
	Off State = 2
)

// String returns the word for the state.
func (s State) String() string {
	switch s {
	case On:
		return "on"
	case Off:
		return "off"
	default:
		return "unknown"
	}
}

// Switch switches a host off and returns what was read as off. Levels are tried in
// their order, each for its share of ctx's time, and again from the first until ctx
// ends. Only a nil error means that all devices of one level were read as off, each
// after the last of them had been switched. It is idempotent.
func Switch(ctx context.Context, p fleet.Power) (string, error) {
	return panel{run: run}.off(ctx, p)
}

// SwitchIf is Switch, and asks for leave right before each call of a device that switches
// anything: it tries for longer than whoever asked for it may have the right to.
func SwitchIf(ctx context.Context, p fleet.Power, may func(context.Context) error) (string, error) {
	return panel{run: func(ctx context.Context, d fleet.PowerDevice, action string) answer {
		if action == off {
			if err := may(ctx); err != nil {
				return answer{code: -1, err: err}
			}
		}
		return run(ctx, d, action)
	}}.off(ctx, p)
}

// Read reads the state of one device's plug.
func Read(ctx context.Context, d fleet.PowerDevice) (State, error) {
	return panel{run: run}.read(ctx, d)
}

// off is the action that switches a plug off.
const off = "off"

// panel switches through run, which calls a device's program once.
type panel struct {
	run func(ctx context.Context, d fleet.PowerDevice, action string) answer
}

func (p panel) off(ctx context.Context, power fleet.Power) (string, error) {
	levels := power.Order()
	for wait := pause; ; wait = min(2*wait, pauseMax) {
		var errs []error
		final := true
		for i, l := range levels {
			err := p.level(ctx, l, len(levels)-i)
			if err == nil {
				return names(l), nil
			}
			if len(levels) > 1 {
				err = fmt.Errorf("level %d: %w", i+1, err)
			}
			errs = append(errs, err)
			final = final && errors.Is(err, errHopeless)
		}
		if final || !rest(ctx, wait) {
			return "", errors.Join(append(errs, ctx.Err())...)
		}
	}
}

// level switches all devices of a level off, within one of the given number of
// equal shares of the time that is left.
func (p panel) level(ctx context.Context, l fleet.PowerLevel, shares int) error {
	if len(l.All) == 0 {
		return errors.Join(errHopeless, ErrNoDevice)
	}
	if end, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(end)/time.Duration(shares))
		defer cancel()
	}
	if err := each(l, func(d fleet.PowerDevice) error { return p.device(ctx, d) }); err != nil || len(l.All) == 1 {
		return err
	}
	// Two power supplies: the host has run on the second outlet until just now, and
	// somebody may have put the first on again.
	return each(l, func(d fleet.PowerDevice) error {
		switch state, err := p.read(ctx, d); {
		case err != nil:
			return err
		case state != Off:
			return ErrCameBack
		}
		return nil
	})
}

// each does something for all devices of a level at once and names those that fail.
func each(l fleet.PowerLevel, do func(fleet.PowerDevice) error) error {
	errs := make([]error, len(l.All))
	var all sync.WaitGroup
	for i, d := range l.All {
		all.Go(func() {
			if err := do(d); err != nil {
				errs[i] = fmt.Errorf("%s: %w", Name(d), err)
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// device switches one plug off and reads its state until it is off, ctx ends, or
// its calls have failed too often.
func (p panel) device(ctx context.Context, d fleet.PowerDevice) error {
	if err := usable(d); err != nil {
		return errors.Join(errHopeless, err)
	}
	failed := 0
	for wait := pause; ; wait = min(2*wait, pauseMax) {
		// A device may refuse to switch off what is off, so a failed switch is not
		// the end: what counts is the state that is read.
		switched := p.run(ctx, d, off).failure(off)
		state, err := p.read(ctx, d)
		for err == nil && state == On && switched == nil && rest(ctx, wait) {
			wait = min(2*wait, pauseMax)
			state, err = p.read(ctx, d)
		}
		switch {
		case err == nil && state == Off:
			return nil
		case err == nil && switched == nil:
			return errors.Join(ErrStillOn, ctx.Err())
		}
		err = errors.Join(switched, err)
		failed++
		if failed == failures || errors.Is(err, errHopeless) || !rest(ctx, wait) {
			return errors.Join(err, ctx.Err())
		}
	}
}

// noPower are ClusterLabs' agents that cut a host off from something, or only look,
// and leave it running: their "off" is no power-off.
var noPower = []string{
	"fence_ack_manual", "fence_brocade", "fence_cisco_mds", "fence_crosslink", "fence_evacuate", "fence_heuristics_ping",
	"fence_ifmib", "fence_kdump", "fence_mpath", "fence_sanbox2", "fence_scsi",
}

func usable(d fleet.PowerDevice) error {
	if len(d.Command) == 0 {
		return ErrNoDevice
	}
	for _, arg := range d.Command {
		if name := filepath.Base(arg); slices.Contains(noPower, name) {
			return fmt.Errorf("%w: %s", ErrNotPower, name)
		}
	}
	return nil
}

// rest waits and reports whether there is time left.
func rest(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// Name names a device by its program and plug, for people.
func Name(d fleet.PowerDevice) string {
	if len(d.Command) == 0 {
		return "plug " + d.Plug
	}
	return filepath.Base(d.Command[0]) + " plug " + d.Plug
}

func names(l fleet.PowerLevel) string {
	var out []string
	for _, d := range l.All {
		out = append(out, Name(d))
	}
	return "read back as off: " + strings.Join(out, ", ")
}
