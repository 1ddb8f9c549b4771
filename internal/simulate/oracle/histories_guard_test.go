package oracle

import (
	"testing"
	"time"

	"relight/internal/core/event"
	"relight/internal/core/fleet"
	"relight/internal/world"
)

// Nothing that works in everybody's sight is stopped, by a step or by its host.
func TestUnknownHistories(t *testing.T) {
	tell(t, map[string]history{
		"S4 a healthy one is stopped": {history: func(b *bench) { b.send(step(fleet.StepStop, "a", 1, "h1")) }, invariant: "S4", detail: "works in everybody's sight"},
		"S4 one that is cut off is stopped": {history: func(b *bench) {
			b.cut("h1")
			b.send(step(fleet.StepStop, "a", 1, "h1"))
		}},
		"S4 one that came back a moment ago is stopped": {history: func(b *bench) {
			down(b)
			b.pass(time.Second)
			b.w.SetApp(b.w.Find("a", 1), world.AppOK)
			b.pass(time.Second)
			b.send(step(fleet.StepStop, "a", 1, "h1"))
		}},
		"S4 a neighbour is switched off": {history: func(b *bench) {
			_ = b.w.Reap(b.w.Find("b", 1), "it crashed")
			b.start("b", 2, "h1")
			b.pass(time.Minute)
			b.renew()
			down(b)
			b.send(step(fleet.StepPowerOff, "a", 1, "h1"))
		}, invariant: "S4", detail: "its host h1 was to be switched off for a"},
		"S16 stopped for want of a lease": {history: func(b *bench) {
			b.cut("h1")
			_ = b.w.Reap(b.w.Find("a", 1), "stopped by its host, which is isolated")
		}, invariant: "S16", detail: "onIsolation: run"},
		"S16 its peers could be asked": {change: func(in *Intent) { in.Servers[0].Spec.OnIsolation = fleet.IsolationStop }, history: func(b *bench) {
			_ = b.w.CutHost("h1", world.Cut{Control: true})
			b.pass(20 * time.Second)
			_ = b.w.Reap(b.w.Find("a", 1), "stopped by its host, which is isolated")
		}, invariant: "S16", detail: "could be asked"},
		"S16 its peers could not be asked": {change: func(in *Intent) { in.Servers[0].Spec.OnIsolation = fleet.IsolationStop }, history: func(b *bench) {
			b.cut("h1")
			b.pass(20 * time.Second)
			_ = b.w.Reap(b.w.Find("a", 1), "stopped by its host, which is isolated")
		}},
		"S16 nobody asked": {history: func(b *bench) { _ = b.w.Reap(b.w.Find("a", 1), "stopped") }, invariant: "S16", detail: "no call asked"},
	})
}

// What the fleet allows at once, and where an instance may go.
func TestBudgetHistories(t *testing.T) {
	tell(t, map[string]history{
		"S5 too many begin": {change: func(in *Intent) {
			in.Fleet.Spec.Budget = fleet.Budget{Steps: 1, Window: fleet.Duration(time.Minute)}
		}, history: func(b *bench) {
			b.event(event.Event{Kind: event.RecoveryBegun, Server: "a"})
			b.pass(50 * time.Second)
			b.event(event.Event{Kind: event.RecoveryBegun, Server: "b"})
		}, invariant: "S5", detail: "the budget is 1"},
		"S5 as many as may": {change: func(in *Intent) {
			in.Fleet.Spec.Budget = fleet.Budget{Steps: 1, Window: fleet.Duration(time.Minute)}
		}, history: func(b *bench) {
			b.event(event.Event{Kind: event.RecoveryBegun, Server: "a"})
			b.pass(time.Minute)
			b.event(event.Event{Kind: event.RecoveryBegun, Server: "b"})
		}},
		"S5 too few are kept alive": {change: func(in *Intent) { in.Fleet.Spec.Budget.KeepAlive = 2 }, history: func(b *bench) {
			b.event(event.Event{Kind: event.VerdictChanged, Server: "a", Verdict: fleet.Isolated})
			b.event(event.Event{Kind: event.RecoveryBegun, Server: "a"})
		}, invariant: "S5", detail: "2 must be kept alive"},
		"S5 the other one declares no check": {change: func(in *Intent) {
			in.Fleet.Spec.Budget.KeepAlive = 1
			in.Servers[1].Spec.Health.Check = fleet.Check{}
		}, history: func(b *bench) {
			b.w.SetApp(b.w.Find("b", 1), world.AppDead)
			b.pass(time.Minute)
			b.event(event.Event{Kind: event.VerdictChanged, Server: "a", Verdict: fleet.Isolated})
			b.event(event.Event{Kind: event.RecoveryBegun, Server: "a"})
		}},
		"S5 the other one declares no check and is gone": {change: func(in *Intent) {
			in.Fleet.Spec.Budget.KeepAlive = 1
			in.Servers[1].Spec.Health.Check = fleet.Check{}
		}, history: func(b *bench) {
			_ = b.w.Reap(b.w.Find("b", 1), "it crashed")
			b.pass(time.Minute)
			b.event(event.Event{Kind: event.VerdictChanged, Server: "a", Verdict: fleet.Isolated})
			b.event(event.Event{Kind: event.RecoveryBegun, Server: "a"})
		}, invariant: "S5", detail: "1 must be kept alive"},
		"S5 a try was sent to another host": {change: budgetOfHost("h1"), history: func(b *bench) {
			b.event(event.Event{Kind: event.RecoveryBegun, Server: "a"})
			b.send(step(fleet.StepAttach, "a", 2, "h3"))
			b.event(event.Event{Kind: event.RecoveryBegun, Server: "a"})
		}},
		"S5 two tries were sent to another host": {change: budgetOfHost("h3"), history: func(b *bench) {
			b.event(event.Event{Kind: event.RecoveryBegun, Server: "a"})
			b.send(step(fleet.StepAttach, "a", 2, "h3"))
			b.event(event.Event{Kind: event.RecoveryBegun, Server: "a"})
			b.event(event.Event{Kind: event.RecoveryBegun, Server: "a"})
		}, invariant: "S5", detail: "the budget is 1"},
		"S5 a platform shows no hosts": {change: func(in *Intent) {
			in.Fleet.Spec.Storm = fleet.Storm{Hosts: 1, Window: fleet.Duration(time.Minute)}
		}, history: func(b *bench) {
			b.o.around.Cloud = true
			_, _ = b.w.FreezeHost("h1"), b.w.FreezeHost("h2")
			b.pass(time.Minute)
			b.event(event.Event{Kind: event.RecoveryBegun, Server: "a"})
		}},
		"S5 in a storm": {change: func(in *Intent) {
			in.Fleet.Spec.Storm = fleet.Storm{Hosts: 1, Window: fleet.Duration(time.Minute)}
		}, history: func(b *bench) {
			_, _ = b.w.FreezeHost("h1"), b.w.FreezeHost("h2")
			b.pass(time.Minute)
			b.event(event.Event{Kind: event.RecoveryBegun, Server: "a"})
		}, invariant: "S5", detail: "in a storm"},
		"S15 another site": {change: func(in *Intent) { in.Servers[0].Spec.Placement.Sites = []string{"h1"} }, history: func(b *bench) {
			b.relaunch("a", 2, "h3")
		}, invariant: "S15", detail: "none of [h1]"},
		"S15 too near": {change: func(in *Intent) {
			for n := range in.Servers {
				in.Servers[n].Labels, in.Servers[n].Spec.Placement.Apart = map[string]string{"pair": "x"}, []string{"pair"}
			}
		}, history: func(b *bench) { b.relaunch("a", 2, "h2") }, invariant: "S15", detail: "kept apart from b"},
	})
}

// budgetOfHost lets one recovery begin on that host within a minute.
func budgetOfHost(name string) func(*Intent) {
	return func(in *Intent) {
		for n := range in.Sites {
			if in.Sites[n].Name == name {
				in.Sites[n].Spec.Budget = fleet.Budget{Steps: 1, Window: fleet.Duration(time.Minute)}
			}
		}
	}
}

// askTwo has a ask two people.
func askTwo(in *Intent) { in.Servers[0].Spec.Mode, in.Servers[0].Spec.Approvals = fleet.Ask, 2 }

// What people forbid or must approve.
func TestConsentHistories(t *testing.T) {
	tell(t, map[string]history{
		"S11 while frozen": {history: func(b *bench) {
			down(b)
			b.guard(Act{Verb: "freezes"})
			b.send(step(fleet.StepStop, "a", 1, "h1"))
		}, invariant: "S11", detail: "the fleet is frozen"},
		"S11 thawed": {history: func(b *bench) {
			down(b)
			b.guard(Act{Verb: "freezes"})
			b.guard(Act{Verb: "unfreezes"})
			b.send(step(fleet.StepStop, "a", 1, "h1"))
		}},
		"S11 while paused": {history: func(b *bench) {
			down(b)
			b.guard(Act{Verb: "pauses", Server: "a"})
			b.send(step(fleet.StepStop, "a", 1, "h1"))
		}, invariant: "S11", detail: "it is paused"},
		"S11 in a window": {history: func(b *bench) {
			down(b)
			b.guard(Act{Verb: "maintains", Scope: "site rack-1", Until: b.clock.Now().Add(time.Minute)})
			b.send(step(fleet.StepStop, "a", 1, "h1"))
		}, invariant: "S11", detail: "window is open for site rack-1"},
		"S11 after the window": {history: func(b *bench) {
			down(b)
			b.guard(Act{Verb: "maintains", Scope: "fleet", Until: b.clock.Now().Add(5 * time.Second)})
			b.pass(5 * time.Second)
			b.send(step(fleet.StepStop, "a", 1, "h1"))
		}},
		"S11 in mode observe": {change: func(in *Intent) { in.Sites[0].Spec.Mode = fleet.Observe }, history: func(b *bench) {
			down(b)
			b.send(step(fleet.StepStop, "a", 1, "h1"))
		}, invariant: "S11", detail: "mode observe"},
		"S11 one person twice": {change: func(in *Intent) { in.Servers[0].Spec.Mode, in.Servers[0].Spec.Approvals = fleet.Ask, 2 }, history: func(b *bench) {
			down(b)
			b.guard(Act{Verb: "approves", Server: "a"})
			b.guard(Act{Verb: "approves", Server: "a"})
			b.send(step(fleet.StepStop, "a", 1, "h1"))
		}, invariant: "S11", detail: "1 of 2 approvals"},
		"S11 the second answer got lost": {change: askTwo, history: func(b *bench) {
			down(b)
			b.guard(Act{Verb: "approves", Server: "a"})
			b.guard(Act{Verb: "approves", Server: "a", By: "ann", Maybe: true})
			b.send(step(fleet.StepStop, "a", 1, "h1"))
		}},
		"S11 the second word got lost": {change: askTwo, history: func(b *bench) {
			down(b)
			b.guard(Act{Verb: "approves", Server: "a"})
			b.o.Acted(Act{Verb: "approves", Server: "a", By: "ann", At: b.clock.Now(), Accepted: true, Maybe: true})
			b.send(step(fleet.StepStop, "a", 1, "h1"))
		}, invariant: "S11", detail: "1 of 2 approvals"},
		"S11 two people": {change: func(in *Intent) { in.Servers[0].Spec.Mode, in.Servers[0].Spec.Approvals = fleet.Ask, 2 }, history: func(b *bench) {
			down(b)
			b.guard(Act{Verb: "approves", Server: "a"})
			b.guard(Act{Verb: "approves", Server: "a", By: "ann"})
			b.send(step(fleet.StepStop, "a", 1, "h1"))
		}},
	})
}
