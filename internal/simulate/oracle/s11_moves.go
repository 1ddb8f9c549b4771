package oracle

import (
	"slices"
	"time"

	"relight/internal/core/fleet"
)

// Planned moves. A person's wish that a working server runs on another host ends what
// works, so more is held of it than of a recovery:
//
//   - S11: a planned move begins only if a person has asked for it, to the very host that
//     the person named last (one that was to go back: to a host on which it has run);
//     and its epochs are placed on that host, or on the one that it left, nowhere else;
//   - S15: when the first call that ends the old epoch goes out, the host that was named
//     is one that may take it: it exists, is in an allowed site, reaches every volume, has
//     room, holds none that it must be kept apart from, and was neither without power nor
//     closed for longer than anybody needs to notice that;
//   - S4: that first call is a stop through the server's own host: what has to be fenced
//     is healed, not moved;
//   - S14: a move that is told as called off has ended nothing;
//   - L1: a move that failed says why.
//
// That it begins in no storm is held with S5, that the old epoch is proved dead with S2.

// moveBegun looks at a recovery that is a planned move.
func (o *Oracle) moveBegun(s *server) {
	p := plannedOf(s)
	if p == nil {
		return
	}
	goal, named := o.people.goals[s.name]
	switch {
	case !s.asked || !named:
		o.Violate("S11", s.name, "a move to %s begins that nobody has asked for", p.To)
	case goal == "back" && !s.ranOn(p.To):
		o.Violate("S11", s.name, "it is moved back to %s, where it has never run", p.To)
	case goal != "back" && goal != p.To:
		o.Violate("S11", s.name, "it is moved to %s, and the person named %s", p.To, goal)
	}
}

func plannedOf(s *server) *fleet.Planned {
	if s.status.Recovery == nil {
		return nil
	}
	return s.status.Recovery.Planned
}

// ranOn reports that some epoch has executed on the host.
func (s *server) ranOn(host string) bool {
	for _, t := range s.known { // whether there is one: the order is all one
		if t.host == host && t.everAble {
			return true
		}
	}
	return false
}

// sentForPlace looks at the first call of a planned move that ends something.
func (o *Oracle) sentForPlace(c Call, s *server) {
	p, step := plannedOf(s), c.Call.Step
	if p == nil || p.Back != "" || step.Kind.NeedsProof() || step.Epoch != s.status.Recovery.From || s.moved == s.status.Recovery.ID {
		return
	}
	s.moved = s.status.Recovery.ID
	if step.Kind != fleet.StepStop && s.stopTold != s.moved {
		o.Violate("S4", s.name, "a planned move begins with %s of epoch %d, which still serves", step.Kind, step.Epoch)
	}
	if why := o.cannotTake(s, p.To); why != "" {
		o.Violate("S15", s.name, "epoch %d is ended to be moved to %s, which %s", step.Epoch, p.To, why)
	}
}

// cannotTake says why a host may not be given a server that works elsewhere.
func (o *Oracle) cannotTake(s *server, host string) string {
	h := o.w.Host(host)
	if h == nil {
		return "does not exist"
	}
	p, is, now := s.spec.Spec.Placement, o.hostOf(host), o.w.Now()
	late := func(t time.Time) bool { return !t.IsZero() && now.Sub(t) > window(s.spec) }
	switch {
	case len(p.Sites) > 0 && !slices.ContainsFunc(p.Sites, func(site string) bool { return o.w.Within(host, site) || slices.Contains(o.path(host), site) }):
		return "is in none of its sites"
	case !o.couldTake(s, host):
		return "does not reach its volumes"
	case o.othersOn(s, host)+max(p.Units, 1) > h.Units:
		return "has no room for it"
	case o.companyOn(s, host) != "":
		return "holds " + o.companyOn(s, host) + ", from which it must be kept apart"
	case late(is.downSince):
		return "is down since " + clock(is.downSince)
	case late(is.closedSince) && is.clear:
		return "is closed since " + clock(is.closedSince)
	default:
		return ""
	}
}

// othersOn is how many units the instances of other servers take on a host.
func (o *Oracle) othersOn(s *server, host string) int {
	units := 0
	for _, i := range o.w.OnHost(host) {
		if i.Server != s.name && i.TakesUnits() {
			units += i.Units
		}
	}
	return units
}

// acceptedGoal looks at where a planned move has put an epoch.
func (o *Oracle) acceptedGoal(c Call, s *server) {
	p := plannedOf(s)
	i := o.w.Find(s.name, c.Call.Step.Epoch)
	if p == nil || i == nil || c.Call.Step.Epoch != s.status.Recovery.To {
		return
	}
	goal := p.To
	if p.Back != "" {
		goal = p.Home
	}
	if i.Host != goal {
		o.Violate("S11", s.name, "epoch %d was placed on %s, and it was to be moved to %s", i.Epoch, i.Host, goal)
	}
}

// moveCalledOff looks at a move that is said to have ended nothing.
func (o *Oracle) moveCalledOff(s *server, e entry) {
	if e.ev.Message == "" {
		o.Violate("L1", s.name, "its move was called off, and nobody says why")
	}
	r := s.was.Recovery
	if r == nil {
		return
	}
	for _, a := range s.acts {
		ends := a.kind == fleet.StepStop || a.kind == fleet.StepPowerOff || a.kind == fleet.StepSeal || a.kind == fleet.StepDetach
		if a.done && ends && a.epoch == r.From && !a.at.Before(o.local(r.Begun)) {
			o.Violate("S14", s.name, "its move was told to have ended nothing, and %s of epoch %d was done at %s", a.kind, a.epoch, clock(a.at))
		}
	}
}

// local is a time of a controller's clock, which may drift by two thousandths, as no
// later than it was.
func (o *Oracle) local(t time.Time) time.Time {
	return t.Add(o.w.Now().Sub(t) / 500)
}
