package oracle

import (
	"fmt"
	"testing"
	"time"

	"relight/internal/core/event"
	"relight/internal/core/fleet"
	"relight/internal/provider"
	"relight/internal/world"
)

// Who is called healed or comes to rest, is.
func TestRestHistories(t *testing.T) {
	tell(t, map[string]history{
		"S14 healed and dead": {history: func(b *bench) {
			down(b)
			b.pass(time.Minute)
			b.o.Told("c1", b.event(event.Event{Kind: event.RecoveryHealed, Server: "a", Epoch: 1}))
		}, invariant: "S14", detail: "has not worked since"},
		"S14 healed and never run": {history: func(b *bench) {
			b.o.Told("c1", b.event(event.Event{Kind: event.RecoveryHealed, Server: "a", Epoch: 2}))
		}, invariant: "S14", detail: "never run"},
		"S14 healed without its address": {change: func(in *Intent) {
			in.Servers[0].Spec.Identity.Addresses = []fleet.Address{{IP: "10.0.0.9"}}
		}, history: func(b *bench) {
			b.w.AddAddress(world.Address{IP: "10.0.0.9", Server: "a"})
			b.o.Told("c1", b.event(event.Event{Kind: event.RecoveryHealed, Server: "a", Epoch: 1}))
		}, invariant: "S14", detail: "does not hold address"},
		"L1 called healthy": {history: func(b *bench) {
			down(b)
			b.rest(End{Server: "a", Phase: fleet.PhaseRunning, Verdict: fleet.Healthy, Epoch: 1})
		}, invariant: "L1", detail: "in truth it does not work"},
		"L1 not at rest":       {history: func(b *bench) { b.rest(End{Server: "a", Phase: fleet.PhaseRecovering, Epoch: 1}) }, invariant: "L1", detail: "recovering"},
		"L1 no controller":     {history: func(b *bench) { b.o.Rest(nil) }, invariant: "L1", detail: "no controller"},
		"L1 needs a person":    {history: func(b *bench) { b.rest(End{Server: "a", Phase: fleet.PhaseNeedsPerson, Epoch: 1, Reason: "r"}) }},
		"L1 there was a place": {history: func(b *bench) { b.rest(End{Server: "a", NoPlace: true, Epoch: 1, Reason: "r"}) }, invariant: "L1", detail: "could take it"},
	})
}

// Nothing is tried too often or too soon.
func TestBackOffHistories(t *testing.T) {
	tell(t, map[string]history{
		"L2 too many tries": {history: func(b *bench) {
			_ = b.w.Reap(b.w.Find("a", 1), "it crashed")
			b.send(step(fleet.StepLaunch, "a", 2, "h3"))
			b.send(step(fleet.StepLaunch, "a", 3, "h3"))
		}, invariant: "L2", detail: "try 2 of relaunch"},
		"L2 no back-off": {history: func(b *bench) {
			down(b)
			for range 2 {
				c := b.send(step(fleet.StepStop, "a", 1, "h1"))
				c.Err = provider.Errorf(provider.Retry, c.Call, "no")
				b.o.Called(c)
				st := b.o.servers["a"].status
				r := *st.Recovery
				r.Last = &fleet.StepRecord{Step: c.Call.Step, State: fleet.StepFailed}
				st.Recovery = &r
				b.put(statusKeys+"a", st)
				b.pass(time.Second)
			}
		}, invariant: "L2", detail: "is asked again"},
		"L2 a failure that the store took":  {history: func(b *bench) { failsAndAgain(b, true) }, invariant: "L2", detail: "is asked again"},
		"L2 a failure that it did not take": {history: func(b *bench) { failsAndAgain(b, false) }},
		"L2 a hot loop": {history: func(b *bench) {
			down(b)
			for n := range hotCalls + 1 {
				b.send(step(fleet.StepDetach, "a", 1, fmt.Sprint("h", n)))
			}
		}, invariant: "L2", detail: "destructive calls within"},
	})
}

// failsAndAgain has a stop fail, then a seal be asked for, and the stop again at once.
func failsAndAgain(b *bench, taken bool) {
	down(b)
	stop := step(fleet.StepStop, "a", 1, "h1")
	c := b.send(stop)
	c.Err = provider.Errorf(provider.Retry, c.Call, "no")
	b.o.Called(c)
	if taken {
		st := b.o.servers["a"].status
		r := *st.Recovery
		r.Last = &fleet.StepRecord{Step: stop, State: fleet.StepFailed}
		st.Recovery = &r
		b.put(statusKeys+"a", st)
	}
	b.pass(time.Second)
	b.send(step(fleet.StepSeal, "a", 1, "h1"))
	b.pass(time.Second)
	b.send(stop)
}

// What fails is noticed, in turn, and again.
func TestLiveHistories(t *testing.T) {
	tell(t, map[string]history{
		"L3 nobody notices": {history: func(b *bench) {
			down(b)
			b.pass(time.Minute)
			b.pass(0)
		}, invariant: "L3", detail: "does not work since"},
		"L3 it is noticed": {history: func(b *bench) {
			down(b)
			b.pass(5 * time.Second)
			b.event(event.Event{Kind: event.VerdictChanged, Server: "a", Verdict: fleet.Impaired})
			b.pass(15 * time.Second)
		}},
		"L3 the store was down": {history: func(b *bench) {
			b.o.Trouble("store", true)
			down(b)
			b.pass(time.Minute)
		}},
		"L4 a lesser one passes": {change: func(in *Intent) {
			in.Fleet.Spec.Budget = fleet.Budget{Steps: 1, Window: fleet.Duration(time.Minute)}
			in.Servers[0].Spec.Priority = 5
		}, history: func(b *bench) {
			b.put(statusKeys+"a", fleet.Status{Server: "a", Epoch: 1, Verdict: fleet.Down, VerdictSince: b.clock.Now()})
			b.event(event.Event{Kind: event.Held, Server: "a", Gate: "budget"})
			b.pass(10 * time.Second)
			b.event(event.Event{Kind: event.RecoveryBegun, Server: "b"})
		}, invariant: "L4", detail: "1 of higher priority wait"},
		"L4 the other one waits for its host's": {change: func(in *Intent) {
			in.Fleet.Spec.Budget = fleet.Budget{Steps: 2, Window: fleet.Duration(time.Minute)}
			in.Servers[0].Spec.Priority = 5
			budgetOfHost("h1")(in)
		}, history: func(b *bench) {
			b.event(event.Event{Kind: event.RecoveryBegun, Server: "a"})
			b.put(statusKeys+"a", fleet.Status{Server: "a", Epoch: 1, Verdict: fleet.Down, VerdictSince: b.clock.Now()})
			b.event(event.Event{Kind: event.Held, Server: "a", Gate: "budget"})
			b.pass(10 * time.Second)
			b.event(event.Event{Kind: event.RecoveryBegun, Server: "b"})
		}},
		"L5 the second is not healed": {history: func(b *bench) {
			down(b)
			b.pass(5 * time.Second)
			b.event(event.Event{Kind: event.VerdictChanged, Server: "a", Verdict: fleet.Impaired})
			b.pass(15 * time.Second)
			b.pass(5 * time.Minute)
		}, invariant: "L5", detail: "no recovery has begun"},
	})
}
