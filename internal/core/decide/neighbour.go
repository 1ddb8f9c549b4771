package decide

import (
	"fmt"
	"time"

	"relight/internal/core/fleet"
)

// NeighbourOn says what a power-off of the host would do to the server in the
// view, of which Server, Status, Traits, Guards and Around are looked at; false if
// no instance of it is there to be harmed. Its recorded verdict stands for it: who
// is not known to be down, or given up by a recovery or by its own isolatedFor,
// must live on (S5).
func NeighbourOn(host string, v View, now time.Time) (fleet.Neighbour, bool) {
	st := v.Status
	if st.Epoch == 0 || st.Host != host || ended(st) {
		return fleet.Neighbour{}, false
	}
	n := fleet.Neighbour{Server: v.Server.Name, Verdict: st.Verdict}
	if st.Verdict == fleet.Down {
		return n, true
	}
	n.Spare = st.Verdict.String()
	ending := st.Recovery != nil && st.Recovery.To == 0 && !inPlaceRung(st.Recovery.Rung, v.Traits)
	if st.Verdict == fleet.Isolated && !ending {
		wait := v.Server.Spec.IsolatedFor.Std()
		ends := st.VerdictSince.Add(wait)
		switch {
		case wait == 0:
			n.Spare = "isolated, stays running until a person decides"
			return n, true
		case now.Before(ends):
			n.Spare = "isolated, stays running until " + clockTime(ends)
			return n, true
		case Strictest(v.Guards.Modes).Mode != fleet.Auto:
			n.Spare = fmt.Sprintf("isolated, its mode is %s", Strictest(v.Guards.Modes).Mode)
			return n, true
		}
		ending = true
	}
	if !ending {
		return n, true
	}
	// A person's stop holds what others do to it as well (S11).
	g := &gatekeeper{v: v, now: now}
	g.consent()
	if r := st.Recovery; (r == nil || r.Requested == "") && Strictest(v.Guards.Modes).Mode == fleet.Observe {
		g.mode("", st.Epoch)
	}
	n.Spare = ""
	if g.hold != nil {
		n.Spare = n.Verdict.String() + ", " + g.hold.Reason
	}
	return n, true
}

// ended reports stored evidence that alone shows that no instance of the present
// epoch is left.
func ended(st fleet.Status) bool {
	for _, e := range st.Evidence {
		if e.Epoch == st.Epoch && e.Method.EndsInstance() {
			return true
		}
	}
	return false
}

// spared names the neighbours that must live on, with why.
func spared(list []fleet.Neighbour, self string) []string {
	var out []string
	for _, n := range list {
		if n.Server != self && n.Spare != "" {
			out = append(out, fmt.Sprintf("%s (%s)", n.Server, n.Spare))
		}
	}
	return out
}
