package decide

import (
	"fmt"
	"slices"

	"relight/internal/core/fence"
	"relight/internal/core/fleet"
)

// Watched is a replaced epoch that was fenced and that nobody has seen end: its host may
// come back with it. It is looked for at every look, and stopped on sight (see leftover).
type Watched struct {
	Epoch fleet.Epoch `json:"epoch"`
	// Host is where it ran, as far as is known.
	Host string `json:"host,omitempty"`
	// Fenced says what keeps it from its data.
	Fenced string `json:"fenced"`
	// Seen says what is seen of it now; empty if nothing is.
	Seen string `json:"seen,omitempty"`
}

// Watching lists the epochs before the present one that are not positively gone, the
// newest first.
func Watching(v View) []Watched {
	v = inOrder(v)
	var out []Watched
	for _, e := range v.Status.Evidence {
		known := slices.ContainsFunc(out, func(w Watched) bool { return w.Epoch == e.Epoch })
		if e.Epoch >= v.Status.Epoch || known || e.Method.Hollow() || endedForEver(v, e.Epoch) {
			continue
		}
		out = append(out, Watched{Epoch: e.Epoch, Host: v.Status.CameFrom, Fenced: fence.Describe(e), Seen: seenOf(v, e.Epoch)})
	}
	for _, i := range v.Observed.Instances {
		known := slices.ContainsFunc(out, func(w Watched) bool { return w.Epoch == i.Epoch })
		if i.Epoch < v.Status.Epoch && !known && !endedForEver(v, i.Epoch) && !(i.State == fleet.InstanceLost && i.Alive == fleet.No) {
			out = append(out, Watched{Epoch: i.Epoch, Host: i.Host, Fenced: "it was proved dead before the next one started", Seen: seenOf(v, i.Epoch)})
		}
	}
	slices.SortStableFunc(out, func(a, b Watched) int { return int(b.Epoch) - int(a.Epoch) })
	return out
}

// endedForEver reports that the epoch is known to have no instance any more.
func endedForEver(v View, epoch fleet.Epoch) bool {
	if gone(v, epoch) {
		return true
	}
	return slices.ContainsFunc(v.Status.Evidence, func(e fleet.Evidence) bool {
		return e.Epoch == epoch && (e.Method.EndsInstance() || e.Method == fleet.NeverStarted)
	})
}

// seenOf says what the last look shows of an epoch, or is empty.
func seenOf(v View, epoch fleet.Epoch) string {
	for _, i := range v.Observed.Instances {
		if i.Epoch == epoch && !i.State.Gone() {
			return fmt.Sprintf("%s on %s", i.State, orUnknown(i.Host))
		}
	}
	for _, a := range v.Observed.Addresses {
		if a.Rival != "" && a.Holder == v.Status.Epoch && epoch < v.Status.Epoch {
			return fmt.Sprintf("somebody else than %s answers for %s (%s)", orUnknown(a.Host), a.IP, a.Rival)
		}
		if a.Holder == epoch {
			return fmt.Sprintf("it claims %s on %s", a.IP, orUnknown(a.Host))
		}
	}
	return ""
}

// String says it in a sentence.
func (w Watched) String() string {
	where := ""
	if w.Host != "" {
		where = " on " + w.Host
	}
	seen := "nobody has seen it end"
	if w.Seen != "" {
		seen = "it is seen: " + w.Seen
	}
	return fmt.Sprintf("watching for epoch %d%s: %s; %s", w.Epoch, where, w.Fenced, seen)
}
