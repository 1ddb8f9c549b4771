package oracle

import "relight/internal/core/fleet"

// S13, isolation. As far as the simulated paths have credentials: evidence by a
// host's agent that an instance was reaped speaks of an instance that was on that
// host; a seal is read back by a host that reaches the volume; and evidence about
// one server never serves a step of another (see acceptedEvidence).
//
// Not covered: forged or replayed messages on the wire, keys, certificates and the
// API's checks of them; the simulated agents have none. The real tests of packages
// beat, enrol and agent hold those.
func (o *Oracle) evidenceFromItsOwn(s *server, e fleet.Evidence) {
	by := hostIn(e.By)
	if by == "" {
		return
	}
	switch e.Method {
	case fleet.Reaped:
		for _, i := range o.w.Of(s.name) {
			if i.Epoch == e.Epoch && i.Host == by {
				return
			}
		}
		o.Violate("S13", s.name, "host %s says that epoch %d was reaped, which never ran there", by, e.Epoch)
	case fleet.Sealed:
		if v := o.w.Volume(s.name + "/" + e.Volume); v != nil && !o.w.Reaches(by, v) {
			o.Violate("S13", s.name, "host %s says that volume %s is sealed, which it does not reach", by, e.Volume)
		}
	default: // no host is a witness of it
	}
}
