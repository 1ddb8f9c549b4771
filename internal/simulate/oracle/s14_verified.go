package oracle

import (
	"slices"

	"relight/internal/core/event"
	"relight/internal/provider/sim"
)

// S14, verified means verified. When a controller tells that a server is healed at
// an epoch, the world must hold an instance of that epoch that works, or did within
// the last suspectAfter + slack (news takes its time); and it must have worked after
// the last destructive call about that epoch was done; where reads were stale lately,
// what was so before may have been told as new. One without a check must have
// run. Every volume and every address of its spec must be in that instance's hands, or
// have been when it last worked.
func (o *Oracle) toldHealed(s *server, ev event.Event) {
	o.settle()
	t := s.find(ev.Epoch)
	if t == nil {
		o.Violate("S14", s.name, "it was told to be healed at epoch %d, which has never run", ev.Epoch)
		return
	}
	if part := o.missing(s, t); part != "" {
		o.Violate("S14", s.name, "it was told to be healed at epoch %d, which does not hold %s", t.epoch, part)
	}
	worked := o.worked(t)
	limit := s.spec.Spec.Health.SuspectAfter.Std() + slack
	switch {
	case s.spec.Spec.Health.Check.IsZero():
		if !t.everAble {
			o.Violate("S14", s.name, "it was told to be healed at epoch %d, which has never run", ev.Epoch)
		}
		return // it declares no check: one that runs counts as working
	case worked.IsZero():
		o.Violate("S14", s.name, "it was told to be healed at epoch %d, which has never worked", ev.Epoch)
		return
	case o.w.Now().Sub(worked) > limit && !o.stale():
		o.Violate("S14", s.name, "it was told to be healed at epoch %d, which has not worked since %s", ev.Epoch, clock(worked))
	}
	for _, a := range s.acts {
		if a.done && a.epoch == ev.Epoch && a.at.After(worked) && !o.stale() {
			o.Violate("S14", s.name, "it was told to be healed at epoch %d, which has not worked since its last %s", ev.Epoch, a.kind)
			return
		}
	}
}

// missing names a part of the server's identity that the epoch was never given, or that
// another holds; empty if there is none.
func (o *Oracle) missing(s *server, t *instance) string {
	for _, v := range s.spec.Spec.Identity.Volumes {
		if vol := o.w.Volume(sim.VolumeID(s.spec, v.Name)); vol != nil && vol.Epoch < t.epoch {
			return "volume " + v.Name
		}
	}
	for _, a := range s.spec.Spec.Identity.Addresses {
		if addr := o.w.Address(a.IP); addr != nil && t.able && !slices.Contains(addr.Holders, t.i.ID) {
			return "address " + a.IP
		}
	}
	return ""
}
