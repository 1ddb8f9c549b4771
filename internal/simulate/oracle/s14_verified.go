package oracle

import "relight/internal/core/event"

// S14, verified means verified. When a controller tells that a server is healed at
// an epoch, the world must hold an instance of that epoch that works, or did within
// the last suspectAfter + slack (news takes its time); and it must have worked after
// the last destructive call about that epoch was done. One without a check must have
// run.
func (o *Oracle) toldHealed(s *server, ev event.Event) {
	o.settle()
	t := s.find(ev.Epoch)
	if t == nil {
		o.Violate("S14", s.name, "it was told to be healed at epoch %d, which has never run", ev.Epoch)
		return
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
		if a.done && a.epoch == ev.Epoch && a.at.After(worked) {
			o.Violate("S14", s.name, "it was told to be healed at epoch %d, which has not worked since its last %s", ev.Epoch, a.kind)
			return
		}
	}
}
