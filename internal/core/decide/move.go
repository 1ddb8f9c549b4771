package decide

import (
	"fmt"
	"strings"
	"time"

	"relight/internal/core/fleet"
)

// NoMove says why the server in the view cannot be moved to the host by plan now, with
// a snapshot of its LUNs or without, or is empty. A planned move ends a server that
// works: everything that could keep it from starting on the other side is asked before,
// not after.
func NoMove(v View, host string, snapshot bool) string {
	if why := cannotLeave(v); why != "" {
		return why
	}
	if why := noSnapshot(v); snapshot && why != "" {
		return why
	}
	if host == v.Status.Host {
		return "it runs on " + host + " already"
	}
	h := hostByName(v.Hosts, host)
	if h == nil {
		return fmt.Sprintf("there is no host %q; there are: %s", host, hostNames(v.Hosts))
	}
	v.Status.Recovery = &fleet.Recovery{
		Rung: MoveRung(v, host), From: v.Status.Epoch, FromHost: v.Status.Host,
		Planned: &fleet.Planned{To: host, Home: v.Status.Host},
	}
	if why := refusal(v, *h); why != "" {
		return host + ": " + why
	}
	return ""
}

// cannotLeave says why a planned move cannot end the server where it runs, or is
// empty: what does not work is healed, not moved, and what cannot be stopped through
// its own host would have to be fenced.
func cannotLeave(v View) string {
	switch {
	case !v.Traits.Places:
		return "provider " + v.Traits.Provider + " chooses the place of a server itself"
	case v.Status.Epoch == 0:
		return "it was never started"
	case v.Finding.Verdict != fleet.Healthy && v.Finding.Verdict != fleet.Impaired:
		return fmt.Sprintf("it is %s, and only what runs can be moved by plan: %s", v.Finding.Verdict, v.Finding.Reason)
	case contactWith(v, v.Status.Host) != fleet.Yes:
		return fmt.Sprintf("the agent of %s cannot be asked to stop it", orUnknown(v.Status.Host))
	default:
		return ""
	}
}

// MoveRung is the rung that a planned move to the host amounts to: a relaunch within
// the site, a move out of it.
func MoveRung(v View, host string) fleet.Rung {
	from, to := hostByName(v.Hosts, v.Status.Host), hostByName(v.Hosts, host)
	if from == nil || to == nil || len(from.Sites) == 0 || len(to.Sites) == 0 || from.Sites[0] == to.Sites[0] {
		return fleet.Relaunch
	}
	return fleet.Move
}

func hostNames(hosts []fleet.Host) string {
	names := make([]string, 0, len(hosts))
	for _, h := range hosts {
		names = append(names, h.Name)
	}
	return strings.Join(names, ", ")
}

// asksMove reports that a person's wish for a planned move is in the view, and that no
// recovery runs that has taken it up.
func asksMove(v View) bool {
	return v.Request != nil && v.Request.Host != "" && v.Status.Recovery == nil
}

// goalOf is the host that a planned move goes to, asked for or under way; empty if
// there is none.
func goalOf(v View) string {
	if r := v.Status.Recovery; r != nil {
		return r.Planned.Goal()
	}
	if asksMove(v) {
		return v.Request.Host
	}
	return ""
}

// callOff ends a planned move that has ended nothing yet and cannot go on as planned:
// the server stays where it is, and if it fails that is for its ladder.
func callOff(v View) (Decision, bool) {
	r := v.Status.Recovery
	if r.Planned == nil || pastReturn(r) {
		return Decision{}, false
	}
	why := cannotLeave(v)
	for _, t := range r.Fences {
		if t.Failed > 0 {
			why = t.Source + " failed: " + t.Error
		}
	}
	if h := hostByName(v.Hosts, r.Planned.To); why == "" && h != nil {
		if refused := refusal(v, *h); refused != "" {
			why = h.Name + ": " + refused
		}
	}
	if why == "" {
		return Decision{}, false
	}
	return record(v, fleet.StepCallOff, fmt.Sprintf("the move to %s is called off before anything was ended: %s", r.Planned.To, why)), true
}

// calledOff returns the status as it was before a planned move that did nothing.
func calledOff(s fleet.Status, step fleet.Step) fleet.Status {
	s.Phase, s.Recovery, s.Message = fleet.PhaseRunning, nil, step.Why
	return s
}

// climbPlanned records that a planned move failed. It goes back the same path to where
// it came from, at once; if that fails too the server is as dead as any, and its ladder
// brings it back wherever there is a place.
func climbPlanned(v View, now time.Time, why string) Decision {
	r := v.Status.Recovery
	if r.Planned.Back != "" {
		free := *r
		free.Planned = nil
		v.Status.Recovery = &free
		return climb(v, now, why, elsewhere)
	}
	d := climbTo(v, why, r.Rung, 0)
	d.Step.Host = r.Planned.Home
	d.Step.Why = fmt.Sprintf("the move to %s failed: %s; it goes back to %s", r.Planned.To, why, r.Planned.Home)
	d.Reason = d.Step.Why
	return d
}

// replanned is where a planned move goes after a climb; nil once its ladder decides.
func replanned(p *fleet.Planned, step fleet.Step) *fleet.Planned {
	if p == nil || step.Host == "" {
		return nil
	}
	back := *p
	back.Back = step.Why
	return &back
}
