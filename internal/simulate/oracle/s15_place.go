package oracle

import (
	"slices"
	"time"

	"relight/internal/core/fleet"
)

// S15, placement. When a call that starts or attaches is accepted, the host on which
// the world has that epoch is held against the spec and the world: it lies in an
// allowed site, reaches every volume, has room for all that is on it, and none of
// the newest instances of other servers there shares the value of a label that
// either of the two wants apart.
//
// Not covered: apart where the platform chooses the host (style cloud): no call of
// ours names one.
func (o *Oracle) acceptedPlace(c Call, s *server) {
	i := o.w.Find(s.name, c.Call.Step.Epoch)
	if i == nil || i.State.Gone() || c.Call.Step.Kind == fleet.StepAttach && s.status.Recovery == nil {
		return // what runs is given back what its array has forgotten: nobody places it
	}
	p := s.spec.Spec.Placement
	allowed := len(p.Sites) == 0
	for _, site := range p.Sites {
		allowed = allowed || o.w.Within(i.Host, site) || slices.Contains(o.path(i.Host), site)
	}
	if !allowed {
		o.Violate("S15", s.name, "epoch %d was placed on %s, which is in none of %v", i.Epoch, i.Host, p.Sites)
	}
	for _, v := range s.spec.Spec.Identity.Volumes {
		if vol := o.w.Volume(s.name + "/" + v.Name); vol != nil && !o.w.Reaches(i.Host, vol) {
			o.Violate("S15", s.name, "epoch %d was placed on %s, which does not reach volume %s", i.Epoch, i.Host, v.Name)
		}
	}
	if h := o.w.Host(i.Host); h != nil && o.w.UsedUnits(i.Host) > h.Units {
		o.Violate("S15", i.Host, "%d of its %d units are used", o.w.UsedUnits(i.Host), h.Units)
	}
	if o.around.Cloud {
		return
	}
	if !o.rewound.IsZero() && o.w.Now().Sub(o.rewound) < takesOver {
		return // who is where it learns from the hosts, one server after the other
	}
	if other := o.companyOn(s, i.Host); other != "" {
		o.Violate("S15", s.name, "epoch %d was placed on %s, where it must be kept apart from %s", i.Epoch, i.Host, other)
	}
}

// takesOver is how long a controller may take to learn where servers run, once its store
// was set back or they were declared again.
const takesOver = 30 * time.Second

// companyOn names a server whose newest instance is on the host and that must be
// kept apart from this one, or is empty.
func (o *Oracle) companyOn(s *server, host string) string {
	for _, n := range o.w.OnHost(host) {
		other := o.servers[n.Server]
		if other == nil || other == s || other.gone || n.Epoch < max(o.w.Highest(n.Server), other.status.Epoch) {
			continue // what is left of an epoch that was replaced is ended, and no company
		}
		if !other.backAt.IsZero() && o.w.Now().Sub(other.backAt) < takesOver {
			continue // it was declared again while the call was under way
		}
		if apart(s, other) {
			return n.Server
		}
	}
	return ""
}

// apart reports whether one of two servers must be kept apart from the other.
func apart(s, other *server) bool {
	for _, label := range append(slices.Clone(s.spec.Spec.Placement.Apart), other.spec.Spec.Placement.Apart...) {
		mine, ok := s.spec.Labels[label]
		if theirs, has := other.spec.Labels[label]; ok && has && mine == theirs {
			return true
		}
	}
	return false
}
