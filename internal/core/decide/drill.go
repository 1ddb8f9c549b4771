package decide

import (
	"fmt"
	"time"

	"relight/internal/core/fleet"
)

// NoDrill says why the server in the view may not be drilled now, or is empty: a drill
// breaks something in the trust that it is healed at once, so whatever would hold that,
// and whatever is broken already, refuses it. until is when that is over by itself, zero if
// nobody can say.
func NoDrill(v View, now time.Time) (why string, until time.Time) {
	if why = notDrilled(v, now); why != "" {
		return why, time.Time{}
	}
	switch rung, ladder := pickRung(asDown(v), now, ""); {
	case rung == "":
		return "no rung of its ladder is left: " + join(ladder.skipped), time.Time{}
	case now.Before(ladder.notBefore):
		return fmt.Sprintf("%s was tried lately: its recovery would back off until %s", rung, clockTime(ladder.notBefore)), ladder.notBefore
	default:
		return "", time.Time{}
	}
}

// notDrilled is what refuses a drill whatever the ladder says.
func notDrilled(v View, now time.Time) string {
	g := &gatekeeper{v: v, now: now}
	g.v.Request = nil
	g.authority()
	g.consent()
	g.storm()
	if g.hold != nil {
		return g.hold.Reason
	}
	switch m := Strictest(v.Guards.Modes); {
	case m.Mode != fleet.Auto:
		return fmt.Sprintf("its mode is %s (set for %s), so nobody would bring it back without a person", m.Mode, m.Scope)
	case v.Status.Recovery != nil:
		return "a recovery of it runs"
	case v.Finding.Verdict != fleet.Healthy:
		return fmt.Sprintf("it is %s: %s", v.Finding.Verdict, v.Finding.Reason)
	}
	g.budget(true)
	if g.hold != nil {
		return g.hold.Reason
	}
	if len(v.Around.Domains) > 0 {
		if all := v.Around.Domains[0]; all.Healthy < all.Total {
			return fmt.Sprintf("%d of %d servers do not work; a drill waits until all do", all.Total-all.Healthy, all.Total)
		}
	}
	return ""
}

// asDown is the view as it would be if the server had failed.
func asDown(v View) View {
	v.Request, v.Finding.Verdict = nil, fleet.Down
	return v
}
