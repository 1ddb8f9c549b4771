package decide

import (
	"fmt"
	"slices"

	"relight/internal/core/fleet"
)

// Storm joins what the classifier finds now with the storm that is recorded. One that
// was recorded holds on though some of its servers are healed: what is left of it
// would look like less than a storm, and go on without the person who was promised a
// say (S5). It ends when it is over, or a person lets it go on; hosts that it did not
// hit before make it a larger storm, of which that person knew nothing.
func Storm(s Surveyed, limit fleet.Storm, rec *fleet.StormRecord) *fleet.Trouble {
	found := Classify(s, limit)
	switch {
	case rec == nil || StormOver(s, *rec) || limit.Hosts <= 0 || len(rec.Hosts) <= limit.Hosts:
		return found
	case found != nil && len(found.Hosts) == 0:
		return found // our own view is in doubt, which no person's word clears
	}
	// The largest set that is found may be the one that is known, beside a newer one.
	grown := lostTogether(s.LostHosts, limit, rec.Hosts)
	switch {
	case grown != nil:
		hosts := slices.Compact(slices.Sorted(slices.Values(append(slices.Clone(rec.Hosts), grown.Hosts...))))
		return stormOf(hosts, limit)
	case rec.GoOn != nil:
		return nil
	default:
		return &fleet.Trouble{Cause: fmt.Sprintf("%d hosts", len(rec.Hosts)), Reason: rec.Reason, Hosts: rec.Hosts}
	}
}

// StormOver reports that every server on the hosts of a storm works, if any is left
// there. One that was never seen since counts as not working.
func StormOver(s Surveyed, rec fleet.StormRecord) bool {
	for _, h := range rec.Hosts {
		if c := s.Domains[h]; c.Healthy < c.Total {
			return false
		}
	}
	return true
}

func stormOf(hosts []string, limit fleet.Storm) *fleet.Trouble {
	return &fleet.Trouble{
		Cause: fmt.Sprintf("%d hosts", len(hosts)), Hosts: hosts,
		Reason: fmt.Sprintf("%d hosts (%s) lost their servers within %s, more than the %d that may be healed without a person", len(hosts), listed(hosts), limit.Window, limit.Hosts),
	}
}
