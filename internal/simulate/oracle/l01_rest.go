package oracle

import (
	"relight/internal/core/fleet"
	"relight/internal/world"
)

// End is how a controller sees a server at rest.
type End struct {
	Server  string
	Phase   fleet.Phase
	Verdict fleet.Verdict
	Epoch   fleet.Epoch
	Reason  string
	// NeedsPerson is true if the product says that only a person can go on, NoPlace
	// if it says that no host can take the server.
	NeedsPerson, NoPlace bool
	// Budget is true if it says that a budget holds it.
	Budget bool
}

// Rest checks what must hold once all faults were mended and time was given.
//
// L1: a controller reigns, and each server is either healthy by the product's word
// and by the world's truth (an instance of that epoch works, and of no later one),
// and the last verdict that was told says so too,
// or needs a person and says why, or has no place to go: then in the world, too, no
// host in an allowed site reaches its volumes, is open, has room for it, and holds
// none that it must be kept apart from. S8: see leaks.
//
// L1's "and stays so" is held by calling it again later.
func (o *Oracle) Rest(ends []End) {
	if ends == nil {
		o.Violate("L1", "controller", "no controller reigns though all faults ended")
		return
	}
	o.settle()
	current := map[string]fleet.Epoch{}
	for _, e := range ends {
		current[e.Server] = o.lastHeld(e)
		o.restful(e)
	}
	for _, name := range o.names {
		if _, ok := current[name]; !ok && !o.servers[name].gone {
			o.Violate("L1", name, "it was declared, and the controller does not know it")
		}
	}
	o.leaks(current)
}

func (o *Oracle) restful(e End) {
	healthy := e.Phase == fleet.PhaseRunning && e.Verdict == fleet.Healthy
	switch {
	case healthy:
		o.truly(e)
		if s := o.servers[e.Server]; s != nil {
			o.shutAtRest(s, e.Epoch, e.NeedsPerson && e.Reason != "")
		}
	case e.Phase == fleet.PhaseNeedsPerson || e.NeedsPerson:
		if e.Reason == "" {
			o.Violate("L1", e.Server, "it needs a person, and nobody says why")
		}
	case e.Phase == fleet.PhaseRunning && !e.Budget && o.badlyHeard(o.servers[e.Server]):
		o.truly(e) // where beats get lost the verdict comes and goes
	case e.NoPlace:
		if host := o.freePlace(o.servers[e.Server]); host != "" {
			o.Violate("L1", e.Server, "it has no place to go, says the product, and %s could take it: %s", host, e.Reason)
		}
	case e.Budget:
		o.rightlyHeld(o.servers[e.Server], e)
	default:
		o.Violate("L1", e.Server, "it is %q and %s though all faults ended: %s", e.Phase, e.Verdict, e.Reason)
	}
}

// truly holds the word "healthy" against the world.
func (o *Oracle) truly(e End) {
	s := o.servers[e.Server]
	if s == nil {
		return
	}
	t := s.find(e.Epoch)
	switch {
	case t == nil || !o.w.Able(t.i) || t.i.App != world.AppOK && !s.spec.Spec.Health.Check.IsZero():
		o.Violate("L1", e.Server, "it is called healthy at epoch %d, and in truth it does not work", e.Epoch)
	case s.newest != nil && s.newest.epoch > e.Epoch && s.newest.able:
		o.Violate("L1", e.Server, "it is called healthy at epoch %d, and epoch %d runs", e.Epoch, s.newest.epoch)
	case s.status.Verdict != fleet.Healthy && e.Verdict == fleet.Healthy && o.clearFor(t, window(s.spec)):
		o.Violate("L1", e.Server, "it works in everybody's sight since %s, and the last verdict that was told is %q", clock(t.clearSince), s.status.Verdict)
	}
}

// freePlace returns a host on which the server could be started, or "".
func (o *Oracle) freePlace(s *server) string {
	if s == nil {
		return ""
	}
	p := s.spec.Spec.Placement
	for _, name := range o.w.Hosts() {
		h := o.w.Host(name)
		allowed := len(p.Sites) == 0
		for _, site := range p.Sites {
			allowed = allowed || o.w.Within(name, site)
		}
		fits := o.w.UsedUnits(name)+o.kept(s, name)+max(p.Units, 1) <= h.Units
		if allowed && fits && h.Closed == "" && h.InContact() && o.couldTake(s, name) && o.companyOn(s, name) == "" && o.keptCompany(s, name) == "" {
			return name
		}
	}
	return ""
}

// kept is the room on a host that belongs to servers which are not running there
// now: they are down, wait for a person, and would find their place taken.
func (o *Oracle) kept(s *server, host string) int {
	units := 0
	for _, other := range o.absent(s, host) {
		units += max(other.spec.Spec.Placement.Units, 1)
	}
	return units
}

// keptCompany names a server that belongs on the host, is not running there now, and
// must be kept apart from this one, or is empty.
func (o *Oracle) keptCompany(s *server, host string) string {
	for _, other := range o.absent(s, host) {
		if apart(s, other) {
			return other.name
		}
	}
	return ""
}

// absent are the other servers that belong on a host and are not running there now.
func (o *Oracle) absent(s *server, host string) []*server {
	var out []*server
	for _, name := range o.names {
		other := o.servers[name]
		if other == s || other.gone || other.status.Host != host {
			continue
		}
		if t := other.newest; t == nil || t.i.Host != host || t.i.State.Gone() {
			out = append(out, other)
		}
	}
	return out
}

// rightlyHeld accepts that a budget holds a server at rest if by the oracle's own
// count some domain has none left, or if it could not be placed anyhow. One that
// waits for others of higher priority though units are left starves (L4).
func (o *Oracle) rightlyHeld(s *server, e End) {
	if s == nil {
		return
	}
	for _, d := range o.domains(s) {
		b := o.budgetOf(d)
		if b.KeepAlive > 0 || b.Steps > 0 && o.used(d, b.Window.Std()+slack, o.w.Now()) >= b.Steps {
			return
		}
	}
	if host := o.freePlace(s); host != "" {
		o.Violate("L4", e.Server, "it waits at rest though no budget is used up and %s could take it: %s", host, e.Reason)
	}
}

// badlyHeard reports that so many datagrams of the server's host get lost that
// nobody can be sure of it at every moment.
func (o *Oracle) badlyHeard(s *server) bool {
	return s != nil && s.newest != nil && o.around.Loss(s.newest.host) > clearLoss
}

// lastHeld is the epoch whose instance may be there at rest: the current one; or, as
// long as the server is not healed and none of the current epoch was ever made, the
// last one before, which holds what a person needs.
func (o *Oracle) lastHeld(e End) fleet.Epoch {
	if e.Phase == fleet.PhaseRunning && e.Verdict == fleet.Healthy || o.w.Find(e.Server, e.Epoch) != nil {
		return e.Epoch
	}
	var last fleet.Epoch
	for _, i := range o.w.Of(e.Server) {
		if !i.State.Gone() && i.Epoch < e.Epoch {
			last = max(last, i.Epoch)
		}
	}
	if last == 0 {
		return e.Epoch
	}
	return last
}
