package oracle

import "relight/internal/core/fleet"

// S3, epochs rise. The world itself reports an epoch that is made twice or after a
// later one. Beside that, from the store's bytes: the epoch of a server's status
// never falls; and from the world: a status never claims for a new try an epoch
// that a resource has seen already. Where the store is set back to a backup the
// first counts from there; the others do not forget.
func (o *Oracle) statusChanged(s *server, was, is fleet.Status) {
	if is.Epoch < was.Epoch {
		o.Violate("S3", s.name, "its epoch in the store fell from %d to %d", was.Epoch, is.Epoch)
	}
	taken := is.Recovery != nil && is.Recovery.To != 0 && (was.Recovery == nil || was.Recovery.To != is.Recovery.To)
	if taken && is.Recovery.To <= o.w.Highest(s.name) {
		o.Violate("S3", s.name, "epoch %d was taken though epoch %d exists", is.Recovery.To, o.w.Highest(s.name))
	}
	o.recoveryChanged(s, was, is)
}
