package oracle

import (
	"testing"
	"time"

	"relight/internal/core/event"
	"relight/internal/core/fleet"
)

// wish is a person's wish for a move, as the store takes it.
func (b *bench) wish(server, to string) {
	st := b.o.servers[server].status
	b.put(requestKeys+server, fleet.Request{Server: server, Epoch: st.Epoch, Host: to, By: "bob"})
	b.guard(Act{Verb: "moves", Server: server, Host: to})
}

// moves begins a planned move of a.
func (b *bench) moves(p fleet.Planned) {
	st := b.o.servers["a"].status
	st.Phase = fleet.PhaseRecovering
	st.Recovery = &fleet.Recovery{ID: "a.m", Rung: fleet.Relaunch, From: 1, Begun: b.clock.Now(), Requested: "bob", Planned: &p}
	b.put(statusKeys+"a", st)
	b.event(event.Event{Kind: event.RecoveryBegun, Server: "a"})
}

// A planned move goes where the person said, and ends nothing for a place that is none.
func TestMoveHistories(t *testing.T) {
	asked := func(to string, history func(*bench)) func(*bench) {
		return func(b *bench) {
			b.wish("a", to)
			b.moves(fleet.Planned{To: to, Home: "h1"})
			history(b)
		}
	}
	stormy := func(in *Intent) { in.Fleet.Spec.Storm = fleet.Storm{Hosts: 1, Window: fleet.Duration(time.Minute)} }
	stop := func(b *bench) { b.send(step(fleet.StepStop, "a", 1, "h1")) }
	tell(t, map[string]history{
		"as it was asked for":    {history: asked("h3", stop)},
		"S11 nobody asked":       {history: func(b *bench) { b.moves(fleet.Planned{To: "h3", Home: "h1"}) }, invariant: "S11", detail: "nobody has asked for"},
		"S11 another host":       {history: func(b *bench) { b.wish("a", "h3"); b.moves(fleet.Planned{To: "h2", Home: "h1"}) }, invariant: "S11", detail: "the person named h3"},
		"S11 back to nowhere":    {history: func(b *bench) { b.wish("a", "back"); b.moves(fleet.Planned{To: "h3", Home: "h1"}) }, invariant: "S11", detail: "where it has never run"},
		"S4 with a seal":         {history: asked("h3", func(b *bench) { b.send(step(fleet.StepSeal, "a", 1, "h1")) }), invariant: "S4", detail: "begins with seal"},
		"S15 to a closed host":   {history: asked("h3", func(b *bench) { _ = b.w.CloseHost("h3", "work"); b.pass(time.Minute); b.renew(); stop(b) }), invariant: "S15", detail: "closed since"},
		"S15 to a dead host":     {history: asked("h3", func(b *bench) { _ = b.w.KillHost("h3"); b.pass(time.Minute); b.renew(); stop(b) }), invariant: "S15", detail: "down since"},
		"S15 it died just now":   {history: asked("h3", func(b *bench) { _ = b.w.KillHost("h3"); b.pass(time.Second); stop(b) })},
		"S15 to no host":         {history: asked("h9", stop), invariant: "S15", detail: "does not exist"},
		"S15 to the wrong place": {change: func(in *Intent) { in.Servers[0].Spec.Placement.Sites = []string{"h1"} }, history: asked("h3", stop), invariant: "S15", detail: "in none of its sites"},
		"S15 beside its pair": {change: func(in *Intent) {
			in.Servers[0].Spec.Placement.Apart = []string{"p"}
			in.Servers[0].Labels, in.Servers[1].Labels = map[string]string{"p": "1"}, map[string]string{"p": "1"}
		}, history: asked("h2", stop), invariant: "S15", detail: "kept apart"},
		"S5 in a storm": {change: stormy, history: func(b *bench) {
			b.put(stormKey, fleet.StormRecord{ID: "storm-1", Reason: "2 hosts"})
			b.wish("a", "h3")
			b.moves(fleet.Planned{To: "h3", Home: "h1"})
		}, invariant: "S5", detail: "storm-1 holds all"},
		"S5 a storm that goes on": {change: stormy, history: func(b *bench) {
			b.put(stormKey, fleet.StormRecord{ID: "storm-1", Reason: "2 hosts", GoOn: &fleet.GoOn{By: "ann"}})
			b.wish("a", "h3")
			b.moves(fleet.Planned{To: "h3", Home: "h1"})
		}},
		"S14 called off too late": {history: asked("h3", func(b *bench) {
			c := b.send(step(fleet.StepStop, "a", 1, "h1"))
			b.o.Executed(c)
			b.event(event.Event{Kind: event.MoveCalledOff, Server: "a", Message: "m"})
		}), invariant: "S14", detail: "ended nothing"},
		"a wish that is dropped is none": {history: func(b *bench) {
			b.wish("a", "h3")
			b.drop(requestKeys + "a")
			stop(b)
		}, invariant: "S4", detail: "works in everybody's sight"},
	})
}

// What needs another waits for it, and no longer than it takes.
func TestOrderHistories(t *testing.T) {
	needs := func(in *Intent) { in.Servers[0].Spec.After = []string{"b"} }
	failed := func(b *bench, server string) {
		st := b.o.servers[server].status
		st.Verdict, st.VerdictSince, st.AilingSince = fleet.Down, b.clock.Now(), b.clock.Now()
		b.put(statusKeys+server, st)
		b.event(event.Event{Kind: event.VerdictChanged, Server: server, Verdict: fleet.Down})
	}
	both := func(b *bench) {
		for _, name := range []string{"a", "b"} {
			_ = b.w.Reap(b.w.Find(name, 1), "it crashed")
		}
		b.pass(10 * time.Second)
		failed(b, "b")
		failed(b, "a")
	}
	begin := func(b *bench) {
		b.putPhase("a", fleet.PhaseRecovering)
		b.event(event.Event{Kind: event.RecoveryBegun, Server: "a"})
	}
	tell(t, map[string]history{
		"L4 before what it needs":    {change: needs, history: func(b *bench) { both(b); begin(b) }, invariant: "L4", detail: "b, which it needs, is down"},
		"L4 it is needed by nobody":  {history: func(b *bench) { both(b); begin(b) }},
		"L4 it works":                {change: needs, history: func(b *bench) { _ = b.w.Reap(b.w.Find("a", 1), "it crashed"); failed(b, "a"); begin(b) }},
		"L4 it had its time":         {change: needs, history: func(b *bench) { both(b); b.pass(time.Minute); begin(b) }},
		"L4 it needs a person":       {change: needs, history: func(b *bench) { both(b); b.putPhase("b", fleet.PhaseNeedsPerson); begin(b) }},
		"L4 a person asks":           {change: needs, history: func(b *bench) { both(b); b.wish("a", ""); begin(b) }},
		"L4 it is deleted meanwhile": {change: needs, history: func(b *bench) { both(b); b.o.Declare(Intent{Servers: []fleet.Server{spec("a")}}); begin(b) }},
	})
}

func (b *bench) putPhase(server string, p fleet.Phase) {
	st := b.o.servers[server].status
	st.Phase = p
	b.put(statusKeys+server, st)
}
