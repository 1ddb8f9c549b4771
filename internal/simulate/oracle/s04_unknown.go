package oracle

import (
	"time"

	"relight/internal/core/fleet"
)

// S4, unknown is not dead. When the first destructive call about the newest epoch
// is sent, that epoch must not have worked, in everybody's sight, for the whole
// last window: suspectAfter + the longer of downAfter and impairedAfter + slack.
// In everybody's sight means: its host executes, its agent lives, none of its links
// is cut and at most a tenth of its datagrams are lost. So any honest observer must
// have seen it work throughout, whatever one controller's own links, a stale,
// partial or failed query made it believe. The same holds for the neighbours on a
// host that is switched off.
//
// It does not apply where a person has asked for the recovery or attested the
// epoch's death, nor to what follows a call that fenced the epoch while it did not
// work (half a recovery is finished). A stop of a replaced epoch is no recovery.
// While reads may be stale, the window is longer by staleFor and flapsFor: no observer
// can know.
//
// Where the spec says oneSource: fence, one vantage point is enough, and it may be a
// controller that is cut off itself: there it applies only while nothing is wrong with
// controllers, their store and their calls.
//
// An epoch that never got a volume or an address of its server passes its check in
// vain: it is no working server.
//
// Not covered: a server that works on a host that is only partly reached.
func (o *Oracle) sentForAReason(c Call, s *server) {
	step := c.Call.Step
	if s.newest == nil || s.asked {
		return
	}
	if s.spec.Spec.OneSource == fleet.OneSourceFence && !o.undisturbed(o.w.Now().Add(-o.surely(s))) {
		return // one source is enough here, and one controller's own view is one
	}
	if r := s.status.Recovery; r != nil && r.SetBack {
		return // a recovery that the backup held is finished
	}
	if step.Kind == fleet.StepPowerOff {
		o.neighboursSpared(c, s)
	}
	t := s.newest
	if step.Epoch != t.epoch || step.Kind.NeedsProof() || o.people.attests(s.name, t.epoch) || s.fenced(t.epoch) {
		return
	}
	if o.clearFor(t, o.surely(s)) && o.missing(s, t) == "" {
		o.Violate("S4", s.name, "%s was sent to epoch %d on %s, which works in everybody's sight since %s", step.Kind, t.epoch, t.host, clock(t.clearSince))
	}
}

// fenced reports that an earlier call may have ended the epoch, or taken its
// volumes, so that its recovery must be finished.
func (s *server) fenced(e fleet.Epoch) bool {
	for _, a := range s.acts {
		switch a.kind {
		case fleet.StepStop, fleet.StepSeal, fleet.StepPowerOff, fleet.StepDetach:
			if a.epoch == e {
				return true
			}
		default: // takes nothing from the epoch
		}
	}
	return false
}

func (o *Oracle) neighboursSpared(c Call, s *server) {
	for _, name := range o.names {
		other := o.servers[name]
		if other == s || other.gone || other.newest == nil || other.newest.host != c.Call.Step.Host || other.asked {
			continue
		}
		if o.clearFor(other.newest, o.surely(other)) {
			o.Violate("S4", name, "its host %s was to be switched off for %s while it works in everybody's sight", c.Call.Step.Host, s.name)
		}
	}
}

// staleFor is how old a simulated read may be that passes for new.
const staleFor = 30 * time.Second

// flapsFor is for how long a check that kept changing its answer may be held against a
// server. Reads of which every other is stale change it for as long as one may be old.
const flapsFor = time.Minute

// surely is how long a server must have worked before every observer has seen it.
func (o *Oracle) surely(s *server) time.Duration {
	if o.staleWithin(flapsFor + slack) {
		return window(s.spec) + staleFor + flapsFor
	}
	return window(s.spec)
}

// stale reports that reads are stale, or were a moment ago.
func (o *Oracle) stale() bool { return o.staleWithin(slack) }

// staleWithin reports that reads are stale, or were so lately.
func (o *Oracle) staleWithin(span time.Duration) bool {
	return o.troubled["stale"] > 0 || !o.staleEnd.IsZero() && o.w.Now().Sub(o.staleEnd) < span
}

func clock(t time.Time) string { return t.UTC().Format("15:04:05.000") }
