package world

import (
	"fmt"
	"slices"
	"time"

	"relight/internal/core/fleet"
)

// Stop stops a machine: it keeps its volumes and addresses. On a host that is
// cut off it hangs in stopping until the host is back.
func (w *World) Stop(i *Instance) error {
	return w.end(i, fleet.InstanceStopped, w.cfg.Delays.Stop)
}

// Terminate ends a machine for ever and lets go of all that it holds.
func (w *World) Terminate(i *Instance) error {
	return w.end(i, fleet.InstanceTerminated, w.cfg.Delays.Terminate)
}

func (w *World) end(i *Instance, last fleet.InstanceState, d Span) error {
	if i.State.Gone() || i.State == last || i.State == fleet.InstanceStopping && i.ends == last {
		return nil
	}
	i.ends = last
	i.turn++
	turn := i.turn
	if i.State != fleet.InstanceStopped {
		w.setState(i, fleet.InstanceStopping, "")
	}
	w.afterSpan(d, func() { w.tryEnd(i, turn) })
	return nil
}

// tryEnd completes a stop once the platform reaches the host, or knows it dead.
func (w *World) tryEnd(i *Instance, turn uint32) {
	if i.turn != turn || i.State.Gone() {
		return
	}
	if h := w.hosts[i.Host]; !h.Dead && (!h.InContact() || i.hung && i.Executes) {
		w.After(time.Second, func() { w.tryEnd(i, turn) })
		return
	}
	last := i.ends
	w.halt(i)
	if last == fleet.InstanceTerminated {
		w.letGo(i)
	}
	w.setState(i, last, "")
}

// Reap ends a process and waits for it, as its host's agent does.
// Errors: ErrUnreachable if the host executes nothing.
func (w *World) Reap(i *Instance, detail string) error {
	if i.State.Gone() {
		return nil
	}
	if !w.hosts[i.Host].runs() {
		return fmt.Errorf("host %s: %w", i.Host, ErrUnreachable)
	}
	w.halt(i)
	w.letGo(i)
	w.setState(i, fleet.InstanceReaped, detail)
	return nil
}

// Kill ends an instance behind everybody's back: a process crashes and is
// reaped, a machine is terminated by somebody else.
func (w *World) Kill(i *Instance) error {
	if i.Style == Process {
		return w.Reap(i, "it crashed")
	}
	w.halt(i)
	w.letGo(i)
	w.setState(i, fleet.InstanceTerminated, "by somebody else")
	return nil
}

// Crash ends what a machine executes while its record goes on to say running.
func (w *World) Crash(i *Instance) {
	w.note("crash", i.name(), i.Server, "")
	w.halt(i)
}

// Recover starts a stopped machine on other hardware as a new epoch.
// Errors: ErrConflict if it is not stopped, ErrCapacity.
func (w *World) Recover(i *Instance, epoch fleet.Epoch, site string) error {
	if i.State != fleet.InstanceStopped {
		return fmt.Errorf("%s is %s: %w", i.name(), i.State, ErrConflict)
	}
	h, err := w.place(Request{Site: site, Units: i.Units})
	if err != nil {
		return err
	}
	w.leaveHost(i)
	i.Host, i.Epoch, i.writes, i.counted, i.label = h.Name, epoch, 0, false, ""
	i.planned = nil // it was about the hardware that it has left
	w.onHost[h.Name] = append(w.onHost[h.Name], i)
	w.tookEpoch(i)
	for _, v := range i.Volumes {
		w.volumes[v].Epoch = max(w.volumes[v].Epoch, epoch)
	}
	w.touchInstance(i)
	return w.Start(i)
}

// hostDied ends what a dead host executed. Locks that die with their holder are
// free at once; those on a network file system only after their lease; a
// cloud's attachments stay.
func (w *World) hostDied(i *Instance) {
	if i.State.Gone() {
		return
	}
	w.halt(i)
	if i.Style == Machine {
		return
	}
	w.loseSharedLocksOf(i)
	for _, v := range slices.Clone(i.Volumes) {
		if w.volumes[v].Reach != fleet.ReachShared {
			w.closeVolume(w.volumes[v], i)
		}
	}
	for _, a := range slices.Clone(i.Addresses) {
		w.ReleaseAddress(a, i)
	}
}

func (w *World) halt(i *Instance) {
	i.Executes = false
	w.setApp(i, AppNone)
	for n := len(i.Volumes) - 1; n >= 0; n-- { // downwards: an ended detach leaves the list
		w.endBusy(w.volumes[i.Volumes[n]], i)
	}
	w.dropInterfaces(i, false)
	w.hangUp(i)
	w.touchInstance(i)
}

func (w *World) letGo(i *Instance) {
	for _, v := range slices.Clone(i.Volumes) {
		w.closeVolume(w.volumes[v], i)
	}
	for _, a := range slices.Clone(i.Addresses) {
		w.ReleaseAddress(a, i)
	}
	w.dropInterfaces(i, true)
}
