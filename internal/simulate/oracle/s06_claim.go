package oracle

import "relight/internal/core/fleet"

// S6, one recovery per server. From the store's bytes: a call goes out only while
// the server's status, as it is durable at that moment, names that very step as the
// one in hand (or as the stop of a leftover); so two controllers, or two workers of
// one, cannot both act. And a status never passes from one recovery to another
// without having been without one.

func (o *Oracle) sentWithClaim(c Call, s *server) {
	token := c.Call.Step.Token
	if r := s.status.Recovery; r != nil && r.Last != nil && r.Last.Step.Token == token {
		return
	}
	for _, l := range s.status.Leftovers {
		if l.Step.Token == token {
			return
		}
	}
	o.Violate("S6", s.name, "%s sent %s of epoch %d, which the store does not name as its step in hand", c.By, c.Call.Step.Kind, c.Call.Step.Epoch)
}

func (o *Oracle) recoveryChanged(s *server, was, is fleet.Status) {
	if was.Recovery != nil && is.Recovery != nil && was.Recovery.ID != is.Recovery.ID {
		o.Violate("S6", s.name, "recovery %s replaced recovery %s, which had not ended", is.Recovery.ID, was.Recovery.ID)
	}
}
