package decide

import (
	"slices"
	"time"

	"relight/internal/core/fleet"
)

// Rests decides a server for which nothing is due from its own part of the view
// alone: no hosts, no guards, nothing around it. It reports false if there may be
// something to do or to hold; only the whole view and Next can tell what then.
// Most looks at most servers end here.
func Rests(v View, now time.Time) (Decision, bool) {
	s := v.Status
	if s.Recovery != nil || v.Request != nil || livesTwice(v) || mapsAmiss(v, now) || len(answering(v, now)) > 0 {
		return Decision{}, false
	}
	if _, whole := knownLast(v, now); whole {
		return Decision{}, false
	}
	switch v.Finding.Verdict {
	case fleet.Suspect, fleet.Unknown:
	case fleet.Healthy:
		if s.Phase != fleet.PhaseRunning || s.VerifiedAt.IsZero() {
			return Decision{}, false // that it works is about to be recorded
		}
	default:
		return Decision{}, false
	}
	d, settled := notDue(v, now)
	d.LookAgainAt = earliest(d.LookAgainAt, v.Finding.LookAgainAt)
	return d, settled && d.Step == nil
}

// livesTwice reports that an instance of another epoch may run, so that it is to
// be stopped or adopted.
func livesTwice(v View) bool {
	for _, i := range v.Observed.Instances {
		if i.Epoch != v.Status.Epoch && !i.State.Gone() {
			return true
		}
	}
	return false
}

// mapsAmiss reports that an array lists what it should not, or no more what it should.
func mapsAmiss(v View, now time.Time) bool {
	onArray := func(vol fleet.Volume) bool { return vol.OnArray() }
	return slices.ContainsFunc(v.Server.Spec.Identity.Volumes, onArray) && len(oldMaps(v, now))+len(lostMaps(v, now)) > 0
}
