package oracle

import (
	"crypto/sha256"
	"testing"
	"time"

	"relight/internal/core/event"
	"relight/internal/core/fleet"
)

// Who may act, and what is claimed before.
func TestClaimHistories(t *testing.T) {
	tell(t, map[string]history{
		"S6 without a claim": {history: func(b *bench) {
			down(b)
			b.send(step(fleet.StepStop, "a", 1, "h1"))
			b.o.Sent(call(step(fleet.StepSeal, "a", 1, "h2")))
		}, invariant: "S6", detail: "does not name"},
		"S6 one replaces another": {history: func(b *bench) {
			b.put(statusKeys+"a", fleet.Status{Server: "a", Epoch: 1, Recovery: &fleet.Recovery{ID: "x"}})
			b.put(statusKeys+"a", fleet.Status{Server: "a", Epoch: 1, Recovery: &fleet.Recovery{ID: "y"}})
		}, invariant: "S6", detail: "had not ended"},
		"S8 a leak at rest": {history: func(b *bench) {
			b.o.Rest([]End{{Server: "a", Phase: fleet.PhaseRunning, Verdict: fleet.Healthy, Epoch: 2}, {Server: "b", Phase: fleet.PhaseRunning, Verdict: fleet.Healthy, Epoch: 1}})
		}, invariant: "S8", detail: "current is epoch 2"},
		"S10 after the lease": {history: func(b *bench) {
			down(b)
			b.pass(11 * time.Second)
			b.send(step(fleet.StepStop, "a", 1, "h1"))
		}, invariant: "S10", detail: "was last renewed"},
		"S10 with an old term": {history: func(b *bench) {
			down(b)
			b.put(termKey, map[string]any{"term": 2})
			b.send(step(fleet.StepStop, "a", 1, "h1"))
		}, invariant: "S10", detail: "while term 2 reigns"},
		"S10 an executor goes back": {history: func(b *bench) {
			c := call(step(fleet.StepStop, "a", 1, "h1"))
			c.Call.Term = 3
			b.o.Executed(c)
			b.o.Executed(call(step(fleet.StepStop, "a", 1, "h1")))
		}, invariant: "S10", detail: "after term 3"},
		"S10 terms fall": {history: func(b *bench) { b.put(termKey, map[string]any{"term": 1}) }, invariant: "S10", detail: "was taken after"},
	})
}

// What is durable before it is told, and what is in the audit.
func TestAuditHistories(t *testing.T) {
	tell(t, map[string]history{
		"S9 told and not durable": {history: func(b *bench) { b.o.Told("c1", event.Event{Kind: event.Held, Server: "a"}) }, invariant: "S9", detail: "not acknowledged"},
		"S9 told twice": {history: func(b *bench) {
			ev := b.event(event.Event{Kind: event.Held, Server: "a"})
			b.o.Told("c1", ev)
			b.o.Told("c1", ev)
		}, invariant: "S9", detail: "not in that order"},
		"S9 told": {history: func(b *bench) { b.o.Told("c1", b.event(event.Event{Kind: event.Held, Server: "a"})) }},
		"S9 restored to something else": {history: func(b *bench) {
			b.o.Restored("c1", map[string]fleet.Status{"a": {Server: "a", Epoch: 7}, "b": b.o.servers["b"].status})
		}, invariant: "S9", detail: "another status"},
		"S9 an act that left nothing": {history: func(b *bench) { b.o.Acted(Act{At: b.clock.Now(), By: "bob", Verb: "freezes", Accepted: true}) }, invariant: "S9", detail: "left no entry"},
		"S9 the store lost a record":  {history: func(b *bench) { b.o.Ended(nil) }, invariant: "S9", detail: "are gone"},
		"S12 without an entry": {history: func(b *bench) {
			down(b)
			b.o.Sent(call(step(fleet.StepStop, "a", 1, "h1")))
		}, invariant: "S12", detail: "without an audit entry"},
		"S12 one entry for two calls": {history: func(b *bench) {
			down(b)
			b.o.Sent(b.send(step(fleet.StepStop, "a", 1, "h1")))
		}, invariant: "S12", detail: "without an audit entry"},
		"S12 a gap": {history: func(b *bench) {
			last := b.heads["00001"]
			b.heads["00001"] = link{seq: last.seq + 1, hash: last.hash}
			b.event(event.Event{Kind: event.Held, Server: "a"})
		}, invariant: "S12", detail: "it follows entry"},
		"S12 another hash": {history: func(b *bench) {
			b.heads["00001"] = link{seq: b.heads["00001"].seq, hash: sha256.Sum256(nil)}
			b.event(event.Event{Kind: event.Held, Server: "a"})
		}, invariant: "S12", detail: "names another hash"},
	})
}
