package oracle

import (
	"encoding/json"
	"time"

	"relight/internal/core/fleet"
)

// L4, order of starts. When a recovery of a server begins that no person has asked for,
// each server of its spec.after either works, or does not come back by itself, or has
// had the time for it: its declared verifyWithin and startupGrace and a minute more,
// counted from the verdict about the one that waits (2 % shorter, for clocks that drift).
//
// A server is waited for while the store has a recovery of it in hand, while it was
// never started, or while the last durable verdict calls it down or impaired and the
// world, too, has no instance of it that worked within slack, and no read that is stale may
// tell of one that did. It does not come back by
// itself if the store says that it needs a person or is paused, or if its mode is
// observe and nothing of it is under way.
//
// That nobody waits for longer is held with L5: see waitsInOrder.
func (o *Oracle) begunInOrder(s *server, e entry) {
	if s.asked {
		return
	}
	since := s.was.AilingSince // another verdict of the same failure begins no new wait
	if since.IsZero() || s.wellAt.After(since.Add(slack)) {
		since = e.at
	}
	for _, name := range s.spec.Spec.After {
		p := o.servers[name]
		if p == nil || p.gone || o.staysAway(p) {
			continue
		}
		why := o.outstanding(p)
		within := patience(p.spec)
		if waited := e.at.Sub(since); why != "" && waited < within-within/50 {
			o.Violate("L4", s.name, "its recovery begins though %s, which it needs, %s, and was waited for %s of %s", name, why, waited, within)
		}
	}
}

// patience is how long others wait for a server that they need.
func patience(p fleet.Server) time.Duration {
	return p.Spec.Ladder.VerifyWithin.Std() + p.Spec.Health.StartupGrace.Std() + time.Minute
}

// staysAway reports that by the store's bytes the server does not come back by itself.
func (o *Oracle) staysAway(p *server) bool {
	_, paused := o.ledger.records[pauseKeys+p.name]
	return paused || p.status.Phase == fleet.PhaseNeedsPerson || p.status.Recovery == nil && o.mode(p) == fleet.Observe
}

// outstanding says why the server does not work yet, or is empty.
func (o *Oracle) outstanding(p *server) string {
	failed := p.verdict.what == "down" || p.verdict.what == "impaired"
	works := p.newest != nil && (o.stale() || o.w.Now().Sub(o.served(p, p.newest)) <= slack)
	switch {
	case p.status.Recovery != nil:
		return "is being recovered"
	case p.status.Epoch == 0:
		return "was never started"
	case failed && !works:
		return "is " + p.verdict.what
	default:
		return ""
	}
}

// waitsInOrder reports that the server was told to wait for one that it needs, and says
// until when that may last.
func (o *Oracle) waitsInOrder(s *server, onset time.Time) (until time.Time, waits bool) {
	if s.held.what != "order" {
		return time.Time{}, false
	}
	longest := time.Duration(0)
	for _, name := range s.spec.Spec.After {
		if p := o.servers[name]; p != nil {
			longest = max(longest, patience(p.spec))
		}
	}
	return onset.Add(window(s.spec) + longest + longest/50 + begunWithin(s)), true
}

// wishes forgets that a person has asked once the store has neither the wish, for the
// epoch that is, nor a recovery for it: from then on everything holds again that holds
// of what nobody has asked for.
func (o *Oracle) wishes(s *server) {
	if !s.asked || s.status.Recovery != nil && s.status.Recovery.Requested != "" {
		return
	}
	_, s.asked = o.wish(s)
}

// wish is what a person has asked for, while it waits for the epoch that is.
func (o *Oracle) wish(s *server) (fleet.Request, bool) {
	var wish fleet.Request
	raw, waits := o.ledger.records[requestKeys+s.name]
	return wish, waits && json.Unmarshal(raw, &wish) == nil && wish.Epoch == s.status.Epoch
}
