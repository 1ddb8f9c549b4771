package controller

import (
	"time"

	"relight/internal/core/decide"
	"relight/internal/core/fleet"
)

// after looks at the servers that the one in the view needs before it is started.
func (w *Viewer) after(server fleet.Server, now time.Time) []decide.Predecessor {
	var out []decide.Predecessor
	for _, name := range server.Spec.After {
		v := w.own(name, now, &Known{})
		if !v.known {
			continue // it was deleted since
		}
		p := decide.Predecessor{
			Server: name, Verdict: v.Finding.Verdict, Phase: v.Status.Phase, Recovering: v.Status.Recovery != nil,
			Within: v.Server.Spec.Ladder.VerifyWithin.Std() + v.Server.Spec.Health.StartupGrace.Std(),
		}
		g := w.guards(v.Server, v.Status)
		switch {
		case len(g.Pauses) > 0:
			p.Held = "it is paused"
		case decide.Strictest(g.Modes).Mode == fleet.Observe && !p.Recovering:
			p.Held = "its mode is observe"
		}
		out = append(out, p)
	}
	return out
}
