package controller

import (
	"fmt"
	"time"

	"relight/internal/core/decide"
	"relight/internal/provider"
)

// Turner says whose turn it is with a platform that limits calls; provider.Paced is
// one.
type Turner interface {
	// Turn reports whether the call may go now; if not, it waits without its caller.
	Turn(call provider.Call, since time.Time) bool
	// Due names the servers whose turn has come since it was last asked.
	Due() []string
	// Waiting counts the calls that wait.
	Waiting() int
}

// turnLook is how soon a server that waits for its turn is looked at though its
// turn has not come: as rarely as one that rests, so that a mass failure costs no
// more passes than a quiet fleet.
const turnLook = time.Minute

// awaitTurn holds a step until its turn with the platform has come. The intent is
// written only then: what waits for an hour takes no budget, no place and no
// worker, its proof does not grow stale, and it is decided afresh when it goes.
func (h *Healer) awaitTurn(v viewed, d decide.Decision, now time.Time) decide.Decision {
	turns := h.Turns[v.Server.Spec.Provider]
	if turns == nil || d.Step == nil || d.Step.Kind.Record() {
		return d
	}
	since := now
	switch r := v.Status.Recovery; {
	case r != nil:
		since = r.DownSince
	case d.Begins != nil:
		since = d.Begins.DownSince
	}
	if turns.Turn(h.call(v, d), since) {
		return d
	}
	reason := fmt.Sprintf("it waits for its turn: %d calls wait for the quotas of %s", turns.Waiting(), v.Server.Spec.Provider)
	d.Gates = append(d.Gates, decide.Gate{Name: decide.GateProgress, Value: reason})
	d.Hold = &decide.Hold{Gate: decide.GateProgress, Reason: reason}
	d.Reason = reason + "; then: " + d.Reason
	d.Step, d.Begins, d.Takes, d.LookAgainAt = nil, nil, decide.Takes{}, now.Add(turnLook)
	return d
}

// wakeDue makes the servers due whose turn has come.
func (l *Loops) wakeDue(now time.Time) {
	for _, name := range sortedKeys(l.Healer.Turns) {
		for _, server := range l.Healer.Turns[name].Due() {
			l.Deadlines.Wake(server, now)
		}
	}
}

var _ Turner = (*provider.Paced)(nil)
