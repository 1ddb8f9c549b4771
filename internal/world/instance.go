package world

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"relight/internal/core/fleet"
)

// Style is the manner in which an instance lives.
type Style int

// The styles.
const (
	// Machine instances are a cloud's: pending, running, stopping, stopped or
	// terminated, and their record outlives their host.
	Machine Style = iota
	// Process instances are children of a keeper on a host: they are reaped.
	Process
)

// AppState is how an application is. It says nothing about its instance.
type AppState string

// The states of an application.
const (
	AppStarting AppState = "starting"
	AppOK       AppState = "ok"
	AppMute     AppState = "mute"   // accepts and never answers
	AppFails    AppState = "fails"  // answers that it does not work (500)
	AppDead     AppState = "dead"   // its process is gone, the machine runs
	AppNone     AppState = "absent" // the instance does not execute
)

// what is the event of coming into the state.
func (s AppState) what() string {
	switch s {
	case AppStarting:
		return "app starting"
	case AppOK:
		return "app ok"
	case AppNone:
		return "app absent"
	default:
		return "app " + string(s)
	}
}

// Instance is one incarnation of a server, as it truly is.
type Instance struct {
	ID     string
	Server string
	Epoch  fleet.Epoch
	Host   string
	Style  Style
	Token  string
	Units  int
	// Type is its machine type, if capacity pools count it.
	Type string
	// AutoRecover has the platform move it by itself when its host fails.
	AutoRecover bool
	// Copy is true if a person made it like another one, see Alike.
	Copy bool
	// State is what the record says; Executes is the truth. They differ when a
	// host has died or was cut off.
	State    fleet.InstanceState
	Since    time.Time
	Detail   string
	Executes bool
	App      AppState
	AppSince time.Time
	// WorksSince is since when the application works, or does not.
	WorksSince time.Time
	// Volumes and Addresses are those that it holds, sorted.
	Volumes   []string
	Addresses []string

	writes  uint64 // the sequence number of its last write
	ticking bool   // its next write is in the queue
	counted bool   // its epoch was taken: it held something or was started

	label      string
	labelEpoch fleet.Epoch

	// ends is what a machine that is stopping will become, and turn counts its
	// starts and ends: an event of an earlier turn must not end a later one.
	ends       fleet.InstanceState
	turn       uint32
	hung       bool // its guest ignores a shutdown
	doomed     bool // its launch was accepted without room for it
	recovering bool
	pool       *pool
	planned    []Planned
	moved      []time.Time // by the platform itself, in the last day
	places     *places
	past       *past[instanceMoment]
}

// TakesUnits reports whether the instance takes its units of a host.
func (i *Instance) TakesUnits() bool {
	return i.State == fleet.InstancePending || i.State == fleet.InstanceRunning || i.State == fleet.InstanceStopping
}

// Request asks for an instance.
type Request struct {
	Server string
	Epoch  fleet.Epoch
	// Host may be empty for machines: the first with room within Site is taken.
	Host  string
	Site  string
	Style Style
	Token string
	Units int
	Type  string
	// AutoRecover has the platform move it by itself when its host fails.
	AutoRecover bool
	// Interfaces are attached with the launch of a machine.
	Interfaces []string
}

// Prepare makes an instance that takes its place and executes nothing yet.
// Errors: ErrCapacity, ErrNotFound (host), ErrUnreachable.
func (w *World) Prepare(r Request) (*Instance, error) {
	h, err := w.place(r)
	if err != nil {
		return nil, err
	}
	w.seq++
	for _, n := range r.Interfaces {
		if err := w.freeInterface(n, h.Name); err != nil {
			return nil, err
		}
	}
	i := &Instance{
		ID: fmt.Sprintf("i-%06d", w.seq), Server: r.Server, Epoch: r.Epoch, Host: h.Name, Style: r.Style,
		Token: r.Token, Units: r.Units, Type: r.Type, AutoRecover: r.AutoRecover, State: fleet.InstancePending, Since: w.Now(), App: AppNone, AppSince: w.Now(),
	}
	if err := w.takePool(i); err != nil {
		return nil, err
	}
	w.instances[i.ID] = i
	w.byServer[r.Server] = append(w.byServer[r.Server], i)
	w.onHost[h.Name] = append(w.onHost[h.Name], i)
	w.note("prepare", i.name(), i.Server, i.ID)
	w.tookToken(i)
	for _, n := range r.Interfaces {
		w.attachInterface(n, i)
	}
	w.record(i)
	return i, nil
}

// Discard takes back a prepared instance that holds nothing: as if it had never
// been made.
func (w *World) Discard(i *Instance) {
	if i.counted || i.State != fleet.InstancePending || len(i.Volumes)+len(i.Addresses) > 0 {
		return
	}
	w.note("discard", i.name(), i.Server, i.ID)
	i.freePool()
	w.leaveHost(i)
	w.byServer[i.Server] = slices.DeleteFunc(w.byServer[i.Server], func(o *Instance) bool { return o == i })
	delete(w.instances, i.ID)
}

func (w *World) place(r Request) (*Host, error) {
	if r.Host != "" {
		h := w.hosts[r.Host]
		switch {
		case h == nil:
			return nil, fmt.Errorf("host %s: %w", r.Host, ErrNotFound)
		case h.Dead || h.Frozen:
			return nil, fmt.Errorf("host %s: %w", r.Host, ErrUnreachable)
		case w.UsedUnits(r.Host)+r.Units > h.Units:
			return nil, fmt.Errorf("host %s: %w for %d units", r.Host, ErrCapacity, r.Units)
		}
		return h, nil
	}
	return w.findRoom(r)
}

// Start lets a prepared or stopped instance execute. Errors: ErrConflict if it
// is in another state.
func (w *World) Start(i *Instance) error {
	if i.State == fleet.InstanceRunning {
		return nil
	}
	if i.State != fleet.InstancePending && i.State != fleet.InstanceStopped {
		return fmt.Errorf("%s is %s: %w", i.name(), i.State, ErrConflict)
	}
	if err := w.takePool(i); err != nil {
		return err
	}
	w.tookEpoch(i)
	i.turn++
	turn := i.turn
	w.setState(i, fleet.InstancePending, "")
	w.afterSpan(w.cfg.Delays.Start, func() {
		if i.turn != turn || i.State != fleet.InstancePending || w.hosts[i.Host].Dead {
			return
		}
		if i.doomed {
			w.letGo(i)
			w.setState(i, fleet.InstanceTerminated, "Server.InsufficientInstanceCapacity")
			return
		}
		i.Executes = true
		w.setState(i, fleet.InstanceRunning, "")
		w.startApp(i)
	})
	return nil
}

// startApp brings the application up after its delay, unless the instance has
// changed meanwhile.
func (w *World) startApp(i *Instance) {
	w.setApp(i, AppStarting)
	since := i.AppSince
	w.afterSpan(w.cfg.Delays.App, func() {
		if i.Executes && i.App == AppStarting && i.AppSince.Equal(since) {
			w.setApp(i, AppOK)
			w.writeLater(i)
		}
	})
}

// SetApp changes the application: ok, mute, fails, dead.
func (w *World) SetApp(i *Instance, s AppState) {
	if i.Executes {
		w.setApp(i, s)
	}
}

// RestartApp starts the application anew inside the running instance.
// Errors: ErrConflict if the instance does not run.
func (w *World) RestartApp(i *Instance) error {
	if i.State != fleet.InstanceRunning || !i.Executes || !w.hosts[i.Host].runs() {
		return fmt.Errorf("%s is %s: %w", i.name(), i.State, ErrConflict)
	}
	w.note("restart app", i.name(), i.Server, "")
	w.startApp(i)
	return nil
}

// Reboot resets a machine in place: a crashed kernel comes back too.
// Errors: ErrConflict if it is not running, ErrUnreachable if its host is dead.
func (w *World) Reboot(i *Instance) error {
	if i.State != fleet.InstanceRunning {
		return fmt.Errorf("%s is %s: %w", i.name(), i.State, ErrConflict)
	}
	if !w.hosts[i.Host].runs() {
		return fmt.Errorf("host %s: %w", i.Host, ErrUnreachable)
	}
	w.note("reboot", i.name(), i.Server, "")
	i.Executes = true
	i.turn++
	w.touchInstance(i)
	w.startApp(i)
	return nil
}

func (w *World) setState(i *Instance, s fleet.InstanceState, detail string) {
	if i.State != s {
		i.Since = w.Now()
	}
	i.State, i.Detail = s, detail
	if s.Gone() || s == fleet.InstanceStopped {
		i.hung = false
		i.freePool()
	}
	switch {
	case s.Gone():
		w.leaveHost(i)
	case s == fleet.InstanceStopped:
		w.freedRoom(i.Host)
	}
	w.tell(Event{At: w.Now(), What: string(s), Object: i.name(), Server: i.Server, Detail: detail, Instance: i.ID})
	w.touchInstance(i)
}

func (w *World) setApp(i *Instance, s AppState) {
	if i.App == s && s != AppStarting {
		return
	}
	if (i.App == AppOK) != (s == AppOK) || i.WorksSince.IsZero() {
		i.WorksSince = w.Now()
	}
	i.App, i.AppSince = s, w.Now()
	w.note(s.what(), i.name(), i.Server, "")
}

// name is the server with epoch and host, made once for each pair: it is noted
// with every change.
func (i *Instance) name() string {
	if i.label == "" || i.labelEpoch != i.Epoch {
		i.label, i.labelEpoch = i.Server+"."+strconv.FormatUint(uint64(i.Epoch), 10)+"@"+i.Host, i.Epoch
	}
	return i.label
}

// able reports whether the instance can do anything now.
func (w *World) able(i *Instance) bool { return i.Executes && w.hosts[i.Host].runs() }

// Able reports whether the instance executes on a host that does.
func (w *World) Able(i *Instance) bool { return w.able(i) }
