package controller

import (
	"context"
	"time"

	"relight/internal/core/decide"
	"relight/internal/core/event"
)

// toldHold is a hold that was told.
type toldHold struct {
	gate, of string
	person   bool
	at       time.Time
}

// retellAfter is how soon the same gate is told again for another thing that it waits
// for: two budgets that run out by turns would fill the journal in the middle of a
// mass failure.
const retellAfter = time.Minute

// noteHold tells that something due is not done, and why: once, and again when it is
// another gate, when only now a person is needed, or when the gate waits for
// something else than before.
func (h *Healer) noteHold(ctx context.Context, v viewed, d decide.Decision, now time.Time) error {
	if held := d.Hold != nil; held != v.held {
		h.Collector.Hold(v.Server.Name, held)
	}
	hold := d.Hold
	if hold != nil && (hold.Gate == decide.GateProgress || hold.Gate == decide.GateVerdict && !hold.NeedsPerson) {
		hold = nil
	}
	if !h.holdsAnew(v.Server.Name, hold, now) || hold.Gate == decide.GateAuthority {
		return nil
	}
	return h.tellHold(ctx, v, d, now)
}

// holdsAnew remembers the hold of a server, nil for none, and reports whether it was
// not told yet.
func (h *Healer) holdsAnew(name string, hold *decide.Hold, now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if hold == nil {
		delete(h.holds, name)
		return false
	}
	if h.holds == nil {
		h.holds = map[string]toldHold{}
	}
	told, ok := h.holds[name]
	anew := !ok || told.gate != hold.Gate || hold.NeedsPerson && !told.person || told.of != hold.Of && now.Sub(told.at) >= retellAfter
	if anew {
		h.holds[name] = toldHold{gate: hold.Gate, of: hold.Of, person: hold.NeedsPerson, at: now}
	}
	return anew
}

// homeless names the servers that wait for a place.
func (h *Healer) homeless() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var names []string
	for name, told := range h.holds { // sorted by the caller
		if told.gate == decide.GatePlacement {
			names = append(names, name)
		}
	}
	return names
}

func (h *Healer) tellHold(ctx context.Context, v viewed, d decide.Decision, now time.Time) error {
	why := d.Hold.Reason
	if d.Hold.Gate == decide.GateMode || d.Hold.Gate == decide.GateApproval {
		why = d.Reason // whoever is to consent must read to what
	}
	return h.Journal.Do(ctx, now, func(tx *Tx) error {
		tx.Emit(event.Event{Kind: event.Held, Server: v.Server.Name, Host: v.Status.Host, Incident: v.Status.Incident, Epoch: v.Status.Epoch, Gate: d.Hold.Gate, Message: d.Hold.Gate + ": " + why})
		return nil
	})
}
