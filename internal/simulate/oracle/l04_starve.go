package oracle

import (
	"slices"
	"time"
)

// L4, no starvation. When a recovery begins and takes a unit of a domain's budget,
// the units that are left are enough for all servers of that domain with a higher
// priority that the product itself has called down or impaired, and held for the
// budget, for at least slack. One that another domain of its own has no unit for cannot
// use this one, and does not count; nor does one whose end nobody could prove (endless). At
// rest, L1 holds that none was forgotten.
//
// Not covered: that those of equal priority go in the order in which they came;
// nothing promises it.
func (o *Oracle) nobodyStarves(s *server, domains []string, now time.Time) {
	for _, d := range domains {
		b := o.budgetOf(d)
		if b.Steps <= 0 {
			continue
		}
		left := b.Steps - o.used(d, b.Window.Std(), now)
		ahead := 0
		for _, name := range o.names {
			other := o.servers[name]
			if other == s || other.gone || other.spec.Spec.Priority <= s.spec.Spec.Priority || !o.waits(other, now) {
				continue
			}
			if slices.Contains(o.domains(other), d) && !o.shutOut(other, d, now) && !o.endless(other) {
				ahead++
			}
		}
		if ahead > 0 && left < ahead {
			o.Violate("L4", s.name, "its recovery takes from %s, which has %d left, while %d of higher priority wait for it", d, left, ahead)
		}
	}
}

// shutOut reports that another domain of the server has no unit left: it cannot use one
// of this domain, and to keep it for that server would starve those who can.
func (o *Oracle) shutOut(s *server, domain string, now time.Time) bool {
	return slices.ContainsFunc(o.domains(s), func(d string) bool {
		b := o.budgetOf(d)
		return d != domain && b.Steps > 0 && o.used(d, b.Window.Std(), now) >= b.Steps
	})
}

// endless reports that the server's spec demands the end of its instance, which is on a host
// that is out of sight and that no device can switch: it could begin nothing with a unit.
func (o *Oracle) endless(s *server) bool {
	t := s.newest
	if t == nil || s.spec.Spec.Fence.VolumesSuffice() || o.around.Cloud {
		return false
	}
	h := o.w.Host(t.host)
	return h != nil && !h.Power && !o.hostOf(t.host).clear
}

// waits reports that the product itself says that the server waits for a budget.
func (o *Oracle) waits(s *server, now time.Time) bool {
	if s.held.what != "budget" || s.status.Recovery != nil || s.status.Phase == "needsPerson" || o.mayBeGuarded(s) {
		return false
	}
	down := s.status.Verdict == "down" || s.status.Verdict == "impaired"
	return down && now.Sub(s.held.at) >= slack && now.Sub(s.status.VerdictSince) >= slack
}
