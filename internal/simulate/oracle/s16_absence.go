package oracle

import (
	"strings"
	"time"

	"relight/internal/core/fleet"
	"relight/internal/core/lease"
)

// S16, no harm by absence. When the world sees an able instance end because its own
// host stopped it for want of a lease:
//
//   - its spec says onIsolation: stop;
//   - at least one other host that reaches all its volumes could not be asked at some
//     time in the last asking and answering (a link between the two was cut, or its
//     agent was dead), or holds a higher epoch;
//   - its host was not in everybody's sight, with a controller reigning and nothing
//     wrong with controllers or their store, for the whole of the last half minute:
//     then it had a lease.
//
// And when it ends because an executor stopped it, a call to stop that very epoch
// was accepted. Everything else that ends an instance is a fault of the scenario.
func (o *Oracle) ended(s *server, t *instance) {
	i := t.i
	switch {
	case i.State != fleet.InstanceReaped:
	case i.Detail == "stopped":
		if !s.stopped(t.epoch) {
			o.Violate("S16", s.name, "epoch %d on %s was stopped, and no call asked for it", t.epoch, i.Host)
		}
	case strings.Contains(i.Detail, "isolated"):
		o.selfFenced(s, t)
	}
}

func (s *server) stopped(e fleet.Epoch) bool {
	for _, a := range s.acts {
		if a.epoch == e && a.kind == fleet.StepStop {
			return true
		}
	}
	return false
}

// leaseLasts is how long a host may go on with what it was granted last.
const leaseLasts = 30 * time.Second

func (o *Oracle) selfFenced(s *server, t *instance) {
	now := o.w.Now()
	if s.spec.Spec.OnIsolation != fleet.IsolationStop {
		o.Violate("S16", s.name, "its host %s stopped epoch %d for want of a lease, and its spec says onIsolation: %s", t.i.Host, t.epoch, s.spec.Spec.OnIsolation)
		return
	}
	h := o.hostOf(t.i.Host)
	if h.clear && now.Sub(h.clearSince) > leaseLasts && o.undisturbed(now.Add(-leaseLasts)) {
		o.Violate("S16", s.name, "its host %s stopped epoch %d though it was in everybody's sight since %s", t.i.Host, t.epoch, clock(h.clearSince))
		return
	}
	asked := lease.AnswersFor + lease.AskAhead + 2*time.Second
	if !o.linked(h, asked) {
		return
	}
	for _, name := range o.w.Hosts() {
		if name == t.i.Host || !o.couldTake(s, name) {
			continue
		}
		if !o.linked(o.hostOf(name), asked) || o.hasHigher(s, name, t.epoch) {
			return
		}
	}
	o.Violate("S16", s.name, "its host %s stopped epoch %d though every host that could take it over could be asked and had no higher epoch", t.i.Host, t.epoch)
}

// linked reports that the host and its agent could talk to their peers for so long.
func (o *Oracle) linked(h *host, d time.Duration) bool {
	return !h.peersSince.IsZero() && o.w.Now().Sub(h.peersSince) > d
}

func (o *Oracle) couldTake(s *server, host string) bool {
	for _, v := range s.spec.Spec.Identity.Volumes {
		if vol := o.w.Volume(s.name + "/" + v.Name); vol == nil || !o.w.Reaches(host, vol) {
			return false
		}
	}
	return true
}

// hasHigher reports whether a host was ever given a higher epoch of the server.
func (o *Oracle) hasHigher(s *server, host string, e fleet.Epoch) bool {
	for _, i := range o.w.Of(s.name) {
		if i.Host == host && i.Epoch > e {
			return true
		}
	}
	for _, a := range s.acts {
		if a.epoch > e {
			return true // also what was refused or has left no instance
		}
	}
	return false
}
