package decide

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"relight/internal/core/fleet"
)

// yieldFor is for how long after its rung was taken up, or before that after its loss, a
// server leaves room to those of higher priority that have no place yet. A storage fence is
// confirmed within seconds; whoever waits for a power device that does not answer must not
// keep others down for it.
const yieldFor = 15 * time.Second

// Claims is how many units the recovery of a server still looks for on any host: from its
// beginning until it has a place.
func Claims(s fleet.Server, st fleet.Status) int {
	r := st.Recovery
	if st.Phase != fleet.PhaseRecovering || r == nil || r.Planned != nil || r.To != 0 || r.Rung == fleet.RestartApp || r.Rung == fleet.Reboot {
		return 0
	}
	return unitsOf(s)
}

// claiming adds units of a priority to the list, highest priority first, in place where it can.
func claiming(list []fleet.Claim, priority, units int) []fleet.Claim {
	i, found := slices.BinarySearchFunc(list, priority, func(c fleet.Claim, p int) int { return cmp.Compare(p, c.Priority) })
	if !found {
		return slices.Insert(list, i, fleet.Claim{Priority: priority, Units: units})
	}
	if list[i].Units += units; list[i].Units == 0 {
		list = slices.Delete(list, i, i+1)
	}
	if len(list) == 0 {
		return nil // as in a count that never had any
	}
	return list
}

// claimed is how many units recoveries of higher priority look for where the server may run.
func claimed(v View) int {
	name := "fleet"
	if from := hostByName(v.Hosts, origin(v)); from != nil && len(from.Sites) > 0 && v.Status.Recovery.Rung != fleet.Move {
		name = from.Sites[0] // a relaunch stays there
	}
	units := 0
	for _, d := range v.Around.Domains {
		for _, c := range d.Claims {
			if d.Name == name && c.Priority > v.Server.Spec.Priority {
				units += c.Units
			}
		}
	}
	return units
}

// yields holds a server for a moment that would take the room which recoveries of higher
// priority look for: of two that are lost together, the one that is proved dead first is
// not always the one that matters more.
func yields(v View, now time.Time, candidates []Candidate) (Decision, bool) {
	r, since := v.Status.Recovery, Lost(v.Status)
	if r.Begun.Before(now) { // else it begins with this decision, each time anew
		since = r.RungBegun
	}
	until := since.Add(yieldFor)
	wanted := claimed(v)
	if wanted == 0 || r.Planned != nil || r.Requested != "" || !now.Before(until) {
		return Decision{}, false
	}
	free := 0
	for i, h := range v.Hosts {
		if candidates[i].Refused == "" {
			free += h.Units - taken(v, h)
		}
	}
	if free >= unitsOf(v.Server)+wanted {
		return Decision{}, false
	}
	d := held(GatePlacement, fmt.Sprintf("%d units are free where it may run, and servers of higher priority that are being healed need %d: it leaves them until %s", free, wanted, clockTime(until)), false)
	d.Gates[0].ClearsAt, d.Candidates = until, candidates
	d.LookAgainAt = earliest(until, inCrowd(v, lookShare, now, now.Add(progressPause)))
	return d, true
}
