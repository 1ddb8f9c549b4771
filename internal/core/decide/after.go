package decide

import (
	"fmt"
	"time"

	"relight/internal/core/fleet"
)

// Predecessor is a server that another one needs, as it stands now.
type Predecessor struct {
	Server  string
	Verdict fleet.Verdict
	Phase   fleet.Phase
	// Recovering is true while a recovery of it runs.
	Recovering bool
	// Held is what keeps people or itself from being brought back, or empty: then
	// nobody waits for it.
	Held string
	// Within is how long its start may take by its own spec.
	Within time.Duration
}

// waitBeyond is how long a server waits for one that it needs, beyond what that one's
// start may take: to be seen dead and to be fenced takes its time too.
const waitBeyond = time.Minute

// awaited says for how long the predecessor is awaited, and why, since the server
// itself has failed; zero if it is not.
func (p Predecessor) awaited() (time.Duration, string) {
	switch {
	case p.Held != "" || p.Phase == fleet.PhaseNeedsPerson:
		return 0, ""
	case p.Recovering:
		return p.Within + waitBeyond, "is being recovered"
	case p.Verdict == fleet.Healthy:
		return 0, ""
	case p.Phase == fleet.PhaseNew:
		return p.Within + waitBeyond, "was not started yet"
	default:
		return p.Within + waitBeyond, "is " + p.Verdict.String()
	}
}

// order holds a start until the servers that it needs work, or have had the time that
// it takes to bring them back (L4).
func (g *gatekeeper) order() {
	if len(g.v.After) == 0 {
		return
	}
	if g.v.Request != nil {
		g.pass(GateOrder, g.v.Request.By+" asked for it")
		return
	}
	since := g.v.Status.AilingSince
	if since.IsZero() {
		since = g.now
	}
	value := "all that it needs work"
	for _, p := range g.v.After {
		wait, why := p.awaited()
		ends := since.Add(wait)
		switch {
		case wait == 0 && p.Verdict != fleet.Healthy:
			value = fmt.Sprintf("%s does not come back by itself, so it is not awaited", p.Server)
		case wait > 0 && !g.now.Before(ends):
			value = fmt.Sprintf("%s %s, and was awaited for %s", p.Server, why, wait)
		case wait > 0:
			g.stop(Gate{Name: GateOrder, Value: p.Server + " " + why, ClearsAt: ends},
				Hold{Reason: fmt.Sprintf("it starts after %s, which %s; it waits no longer than until %s", p.Server, why, clockTime(ends))})
			g.look = earliest(g.look, inCrowd(g.v, lookShare, g.now, g.now.Add(progressPause)))
			return
		}
	}
	g.pass(GateOrder, value)
}
