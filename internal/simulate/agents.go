package simulate

import (
	"fmt"
	"time"

	"relight/internal/core/fleet"
	"relight/internal/core/lease"
	"relight/internal/world"
)

// answerAfter is how long a peer takes to answer; asking one that cannot be
// reached takes lease.AskWithin.
const answerAfter = 50 * time.Millisecond

// agent is a host's agent: it beats, holds a lease and obeys the rules of package
// lease. What it must remember lies in the world's registry, on its disk.
type agent struct {
	e     *engine
	host  string
	drift int64
	// day is its machine's time of day. No lease is counted by it.
	day day
	// up is false while the agent or its host is dead.
	up  bool
	iso *lease.Isolation
	// until is when its lease ends, on its own clock; 0 if none was ever granted.
	until int64
}

func (e *engine) startAgents() {
	for _, h := range e.sc.Hosts {
		a := &agent{e: e, host: h.Name}
		if e.sc.Drift > 0 {
			a.drift = e.rng.Int64N(2*e.sc.Drift+1) - e.sc.Drift
		}
		e.agents = append(e.agents, a)
		// Agents do not start at the same moment.
		e.world.After(time.Duration(e.rng.Int64N(int64(beatEvery))), a.turn)
	}
}

// now is the agent's own clock, which counts while it sleeps.
func (a *agent) now() int64 {
	t := int64(a.e.clock.Now().Sub(Start))
	return t + t/1e6*a.drift
}

// turn is one second of an agent's life: a beat to every controller, and a look
// at whether its instances may go on.
func (a *agent) turn() {
	defer a.e.world.After(beatEvery, a.turn)
	h := a.e.world.Host(a.host)
	if !h.Runs() || h.Mute {
		if h.Dead || h.Mute {
			a.up = false
		}
		return
	}
	if !a.up {
		a.up, a.iso, a.until = true, lease.NewIsolation(a.now()), 0
	}
	a.beat(h)
	if a.e.sc.Style != Cloud {
		a.guard(h)
	}
}

// beat sends a datagram to each controller. The ack grants the lease, counted
// from when the beat was sent.
func (a *agent) beat(h *world.Host) {
	e := a.e
	sent := a.now()
	for _, b := range e.brains {
		if !h.Beats() || !b.up || b.frozen || b.noHosts || e.chance(e.loss(a.host)) {
			continue
		}
		b.heard[a.host] = e.clock.Now()
		authority := fleet.Authority{}
		if b.begun {
			authority = b.solo.Reign.Authority()
		}
		left := authority.Until.Sub(b.Now())
		if left <= 0 || h.Cut.In || e.chance(e.loss(a.host)) {
			continue
		}
		granted := min(beatLease, left)
		a.until = max(a.until, lease.HolderDeadline(sent, granted, leaseDriftPPM, leaseMargin))
		terms := e.world.Registry.LeaseTerms
		terms[a.host] = max(terms[a.host], authority.Term)
	}
}

// Bounds of the agents' leases, as the controller's wiring has them.
const (
	leaseDriftPPM = 10_000
	leaseMargin   = 100 * time.Millisecond
)

// guard runs the rules of isolation over the instances that ask for it.
func (a *agent) guard(h *world.Host) {
	var running []lease.Instance
	for _, i := range a.e.world.OnHost(a.host) {
		if lease.SelfFences(a.e.isolation(i.Server), i.State, aliveOf(i)) {
			running = append(running, lease.Instance{Server: i.Server, Epoch: i.Epoch})
		}
	}
	if len(running) == 0 {
		return
	}
	act := a.iso.Step(a.now(), a.until, running)
	for _, q := range act.Ask {
		a.ask(h, q)
	}
	for _, i := range act.Stop {
		a.end(i)
	}
}

func aliveOf(i *world.Instance) fleet.Answer {
	if i.Executes {
		return fleet.Yes
	}
	return fleet.No
}

// ask asks every host that could take the server over. The answers come back
// together.
func (a *agent) ask(h *world.Host, q lease.Question) {
	e := a.e
	var answers []fleet.Answer
	wait := answerAfter
	for _, name := range e.world.Hosts() {
		if name == a.host || !e.couldRun(name, q.Server) {
			continue
		}
		heir := e.world.Host(name)
		answer := fleet.CannotTell
		if h.HasPeers() && heir.HasPeers() && !heir.Mute {
			answer = e.world.Registry.Obeyed[name].Higher(q.Instance)
		} else {
			wait = lease.AskWithin
		}
		answers = append(answers, answer)
	}
	iso := a.iso
	e.world.After(wait, func() {
		if a.iso == iso && e.world.Host(a.host).Runs() {
			iso.Answered(a.now(), q, lease.Together(answers))
		}
	})
}

func (a *agent) end(i lease.Instance) {
	inst := a.e.world.Find(i.Server, i.Epoch)
	if inst == nil || inst.Host != a.host {
		return
	}
	a.e.line("isolated", fmt.Sprintf("%s.%d: its host %s has no lease and stops it", i.Server, i.Epoch, a.host))
	_ = a.e.world.Reap(inst, "stopped by its host, which is isolated")
}

// isolation is the server's onIsolation.
func (e *engine) isolation(server string) fleet.OnIsolation { return e.isolations[server] }

// couldRun reports whether a host reaches all volumes of a server.
func (e *engine) couldRun(host, server string) bool {
	for _, id := range e.volumes[server] {
		if v := e.world.Volume(id); v == nil || !e.world.Reaches(host, v) {
			return false
		}
	}
	return true
}
