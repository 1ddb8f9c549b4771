package world

import (
	"fmt"
	"slices"
	"time"

	"relight/internal/core/fleet"
)

// Ending says how a machine is to be ended.
type Ending struct {
	// SkipOS leaves out the guest's own shutdown; Force also ends a machine that
	// hangs in stopping. Neither reaches a host that is cut off.
	SkipOS, Force bool
}

// PlatformState is the state's name at a cloud: pending, running, shutting-down,
// terminated, stopping or stopped.
func (i *Instance) PlatformState() string {
	if i.State == fleet.InstanceStopping && i.ends == fleet.InstanceTerminated {
		return "shutting-down"
	}
	return string(i.State)
}

// Launch makes a machine and starts it, once for its token. Errors: ErrCapacity
// (ErrInsufficient if a pool is empty), ErrTokenMismatch, ErrTokenEnded.
func (w *World) Launch(r Request) (*Instance, error) {
	r.Style = Machine
	id, err := w.Once(r.Token, fmt.Sprintf("launch %+v", r), func() (string, error) {
		i, err := w.Prepare(r)
		if err != nil {
			return "", err
		}
		return i.ID, w.Start(i)
	})
	if err != nil {
		return nil, err
	}
	i := w.instances[id]
	if i.State.Gone() {
		return nil, fmt.Errorf("token %s, %s: %w", r.Token, i.name(), ErrTokenEnded)
	}
	return i, nil
}

// StartMachine starts a stopped machine on whatever host of its zone has room: its
// volumes and interfaces bind it to the zone.
// One that runs or is pending is left alone. Errors: ErrInstanceState, ErrCapacity.
func (w *World) StartMachine(i *Instance) error {
	switch i.State {
	case fleet.InstanceRunning, fleet.InstancePending:
		return nil
	case fleet.InstanceStopped:
	default:
		return fmt.Errorf("%s is %s: %w", i.name(), i.PlatformState(), ErrInstanceState)
	}
	if err := w.move(i); err != nil {
		return err
	}
	i.planned = nil
	return w.Start(i)
}

// StopMachine stops a machine. One that is stopped or stopping is left alone,
// unless the ending is a harder one. Errors: ErrInstanceState if it is pending,
// shutting down or terminated.
func (w *World) StopMachine(i *Instance, how Ending) error {
	if i.State == fleet.InstancePending || i.State.Gone() || i.State == fleet.InstanceStopping && i.ends == fleet.InstanceTerminated {
		return fmt.Errorf("%s is %s: %w", i.name(), i.PlatformState(), ErrInstanceState)
	}
	return w.endMachine(i, fleet.InstanceStopped, w.cfg.Delays.Stop, how)
}

// TerminateMachine ends a machine for ever, from any state.
func (w *World) TerminateMachine(i *Instance, how Ending) error {
	return w.endMachine(i, fleet.InstanceTerminated, w.cfg.Delays.Terminate, how)
}

func (w *World) endMachine(i *Instance, last fleet.InstanceState, d Span, how Ending) error {
	if how.SkipOS || how.Force {
		d = w.cfg.Delays.Hard
		i.hung = i.hung && !how.Force
		if i.State == fleet.InstanceStopping && i.ends == last {
			i.ends = "" // begin again, sooner
		}
	}
	return w.end(i, last, d)
}

// HangGuest makes a machine's guest ignore its shutdown, so that it hangs in
// stopping or shutting-down until it is forced.
func (w *World) HangGuest(i *Instance) {
	w.note("hang", i.name(), i.Server, "")
	i.hung = true
}

// move gives a machine that does not execute another place in its zone.
func (w *World) move(i *Instance) error {
	h, err := w.findRoom(Request{Site: w.zoneOf(i.Host), Units: i.Units})
	if err != nil {
		return err
	}
	w.leaveHost(i)
	i.Host, i.label = h.Name, ""
	w.onHost[h.Name] = append(w.onHost[h.Name], i)
	return nil
}

// zoneOf is the nearest zone or outpost above a host, or "".
func (w *World) zoneOf(host string) string {
	for _, s := range w.Path(host) {
		if k := w.sites[s].Kind; k == fleet.SiteZone || k == fleet.SiteOutpost {
			return s
		}
	}
	return ""
}

// Planned is a platform's scheduled event of a machine.
type Planned struct {
	// Code is instance-retirement, instance-stop, instance-reboot or system-reboot.
	Code      string
	NotBefore time.Time
}

// Plan schedules an event: at its time the platform stops or reboots the machine
// by itself, unless it was stopped and started (moved) before.
func (w *World) Plan(i *Instance, p Planned) {
	w.note("plan "+p.Code, i.name(), i.Server, "")
	i.planned = append(i.planned, p)
	w.After(p.NotBefore.Sub(w.Now()), func() {
		n := indexOf(i.planned, p)
		if n < 0 || i.State != fleet.InstanceRunning {
			return
		}
		i.planned = append(i.planned[:n:n], i.planned[n+1:]...)
		if p.Code == "instance-retirement" || p.Code == "instance-stop" {
			_ = w.StopMachine(i, Ending{Force: true}) // it runs, which StopMachine never refuses
			return
		}
		_ = w.Reboot(i) // on a host that died meanwhile there is nothing to reboot
	})
}

// Planned returns the scheduled events of a machine that are still to come.
func (i *Instance) Planned() []Planned { return i.planned }

func indexOf[T comparable](list []T, x T) int {
	for n, y := range list {
		if y == x {
			return n
		}
	}
	return -1
}

// autoPerDay is how often EC2 tries to recover one instance in a day.
const autoPerDay = 3

// autoRecover lets the platform move a machine by itself whose host has failed,
// as EC2's simplified automatic recovery does: same instance, same epoch, other
// hardware. It asks nobody, so it may overlap with our own recovery.
func (w *World) autoRecover(i *Instance) {
	since := w.Now().Add(-24 * time.Hour)
	i.moved = slices.DeleteFunc(i.moved, func(at time.Time) bool { return at.Before(since) })
	if i.AutoRecover && len(i.moved) >= autoPerDay {
		w.note("auto recovery is used up", i.name(), i.Server, "")
		return
	}
	if !i.AutoRecover || i.recovering || i.State != fleet.InstanceRunning || w.hosts[i.Host].runs() {
		return
	}
	i.recovering, i.moved = true, append(i.moved, w.Now())
	w.After(w.draw(w.cfg.AutoRecover), func() {
		i.recovering = false
		if i.State != fleet.InstanceRunning || w.hosts[i.Host].runs() {
			return
		}
		if err := w.move(i); err != nil {
			w.note("auto recovery fails", i.name(), i.Server, "")
			return
		}
		w.note("auto recover", i.name(), i.Server, "")
		w.halt(i)
		w.setState(i, fleet.InstanceStopped, "recovered by the platform")
		_ = w.Start(i) // it is stopped, which Start never refuses; an empty pool leaves it stopped
	})
}
