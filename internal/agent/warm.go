package agent

import (
	"context"
	"slices"
	"time"

	"relight/internal/core/fleet"
	"relight/internal/provider/onprem/link"
)

const (
	// warmPace is the time between two looks at the standby guests; warmWithin is how
	// long one may take to boot.
	warmPace   = time.Second
	warmWithin = 2 * time.Minute
)

// warmer is a Driver that can keep standby guests.
type warmer interface {
	Prepare(ctx context.Context, server string, vm fleet.VMTemplate) error
	Dismiss(ctx context.Context, server string) error
	Standbys() []Standby
	Hypervisor() *fleet.Hypervisor
}

// machines is the driver of virtual machines, if this host has one that keeps
// standby guests.
func (a *Agent) machines() (warmer, bool) {
	w, ok := a.opt.Machines.(warmer)
	return w, ok
}

// keepWarm sees to it that a standby guest waits here for each server that the watch
// names, as long as the server does not run here, and for no other.
func (a *Agent) keepWarm(ctx context.Context, w warmer) {
	trouble := trouble{log: a.opt.Log, what: "preparing a standby guest"}
	for pause(ctx, warmPace) {
		for _, s := range w.Standbys() {
			if err := a.dismiss(ctx, w, s.Server); err != nil {
				a.opt.Log.Warn("standby", "server", s.Server, "error", err)
			}
		}
		for _, s := range a.memory.watched().Servers {
			if s.Warm == nil || a.here(s.Server) || a.roomForWarm(w, s) != nil {
				continue
			}
			trying, cancel := context.WithTimeout(ctx, warmWithin)
			trouble.note(ctx, w.Prepare(trying, s.Server, *s.Warm))
			cancel()
		}
	}
}

// dismiss ends a standby that nobody wants any more. It waits for its turn: a launch
// may be taking that very guest.
func (a *Agent) dismiss(ctx context.Context, w warmer, server string) error {
	if a.wantsWarm(server) && !a.here(server) {
		return nil
	}
	give, err := a.desk.take(ctx, server)
	if err != nil {
		return err
	}
	defer give()
	if a.wantsWarm(server) && !a.here(server) {
		return nil
	}
	return w.Dismiss(ctx, server)
}

func (a *Agent) wantsWarm(server string) bool {
	return slices.ContainsFunc(a.memory.watched().Servers, func(s link.WatchedServer) bool {
		return s.Server == server && s.Warm != nil
	})
}

// here reports whether an instance of the server may live on this host.
func (a *Agent) here(server string) bool {
	return slices.ContainsFunc(a.opt.Driver.Instances(), func(i Instance) bool {
		return i.Server == server && !i.State.Gone() && i.Alive != fleet.No
	})
}

// roomForWarm refuses a standby for which the host has no room.
func (a *Agent) roomForWarm(w warmer, s link.WatchedServer) error {
	if slices.ContainsFunc(w.Standbys(), func(have Standby) bool { return have.Server == s.Server }) {
		return nil
	}
	return a.room(link.Command{Step: fleet.Step{Kind: fleet.StepLaunch, Server: s.Server}, Units: s.Units})
}

// warm tells what waits here, with the room that it takes.
func (a *Agent) warm() []fleet.Warm {
	w, ok := a.machines()
	if !ok {
		return nil
	}
	var out []fleet.Warm
	for _, s := range w.Standbys() {
		units := 1
		for _, have := range a.memory.watched().Servers {
			if have.Server == s.Server {
				units = max(have.Units, 1)
			}
		}
		out = append(out, fleet.Warm{Server: s.Server, Units: units, Ready: s.Ready})
	}
	return out
}
