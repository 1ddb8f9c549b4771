package decide

import (
	"time"

	"relight/internal/core/fleet"
)

// However many servers wait, they must not cost more looks than those that are well:
// half a fleet that falls would take the processor from what heals it. Who waits is
// woken by what it waits for; the looks by the clock are only a net below that.
const (
	// heldLooks is how many times its silence a server that is known to have failed,
	// and is held, may be away from being judged anew: whatever is done about it
	// begins with a fresh look.
	heldLooks = 3
	// lookShare is the part of the time that each of those has who wait for the same:
	// together they are looked at a thousand times a second.
	lookShare = time.Millisecond
	// roomShare is that of those who wait for a place or a proof, for which all hosts
	// are asked.
	roomShare = 10 * time.Millisecond
)

// inCrowd puts off a look that nothing but the passing of time asks for, so that all
// the servers that failed share the looks, each with the given part of the time.
func inCrowd(v View, share time.Duration, now, due time.Time) time.Time {
	if len(v.Around.Domains) == 0 {
		return due
	}
	return latest(due, now.Add(time.Duration(v.Around.Domains[0].Down)*share))
}

// verdictLook is when the clock alone may change the verdict in the view, for who
// waits for that.
func verdictLook(v View, d Decision, now time.Time) time.Time {
	at := v.Finding.LookAgainAt
	known := v.Status.Recovery == nil && v.Status.Verdict == v.Finding.Verdict && v.Status.Cause == v.Finding.Cause
	if at.IsZero() || d.Hold == nil || !known {
		return at
	}
	switch v.Finding.Verdict {
	case fleet.Down, fleet.Impaired, fleet.Isolated:
		return inCrowd(v, lookShare, now, latest(at, now.Add(heldLooks*v.Server.Spec.Health.SuspectAfter.Std())))
	default:
		return at // nobody knows yet, so each look counts
	}
}
