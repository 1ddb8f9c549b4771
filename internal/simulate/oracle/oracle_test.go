package oracle

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"relight/internal/core/event"
	"relight/internal/core/fence"
	"relight/internal/core/fleet"
	"relight/internal/provider"
	"relight/internal/store"
	"relight/internal/world"
)

// bench is a world of three hosts and the servers a and b, with the oracle over it
// and a store that is written by hand.
type bench struct {
	t     *testing.T
	w     *world.World
	clock *world.Virtual
	o     *Oracle
	heads map[string]link
}

func spec(name string) fleet.Server {
	var s fleet.Server
	s.Name = name
	s.Spec.Identity.Volumes = []fleet.Volume{{Name: "data", Path: "/v/" + name, Reach: fleet.ReachMachine}}
	s.Spec.Mode, s.Spec.Fence, s.Spec.OnIsolation = fleet.Auto, fleet.FenceStorage, fleet.IsolationRun
	s.Spec.Placement.Units = 1
	h := &s.Spec.Health
	h.Check.HTTP = "http://127.0.9.1/health"
	h.SuspectAfter, h.DownAfter, h.ImpairedAfter = fleet.Duration(4*time.Second), fleet.Duration(4*time.Second), fleet.Duration(4*time.Second)
	s.Spec.Ladder = fleet.Ladder{
		Rungs: []fleet.RungSpec{{Rung: fleet.Relaunch, Tries: 1}}, Window: fleet.Duration(time.Hour),
		BackOff: fleet.Duration(8 * time.Second), MaxBackOff: fleet.Duration(time.Minute),
	}
	return s
}

// newBench starts with epoch 1 of a on h1 and of b on h2, both working for a minute.
func newBench(t *testing.T, change ...func(*Intent)) *bench {
	clock := world.NewVirtual(time.Date(2031, 1, 1, 0, 0, 0, 0, time.UTC))
	w := world.New(world.Config{Clock: clock})
	b := &bench{t: t, w: w, clock: clock, heads: map[string]link{}}
	w.AddSite(world.Site{Name: "rack-1", Kind: fleet.SiteRack})
	in := Intent{Servers: []fleet.Server{spec("a"), spec("b")}, Sites: []fleet.Site{{Name: "rack-1"}}}
	for _, h := range []string{"h1", "h2", "h3"} {
		w.AddHost(world.Host{Name: h, Parent: "rack-1", Units: 4, Power: true})
		in.Sites = append(in.Sites, fleet.Site{Name: h, Spec: fleet.SiteSpec{Kind: fleet.SiteHost, Parent: "rack-1"}})
	}
	for _, f := range change {
		f(&in)
	}
	b.o = New(w)
	b.o.Declare(in)
	for _, s := range in.Servers {
		w.AddVolume(world.Volume{ID: s.Name + "/data", Server: s.Name, Reach: fleet.ReachMachine})
	}
	b.put(termKey, map[string]any{"term": 1})
	b.renew()
	b.start("a", 1, "h1")
	b.start("b", 1, "h2")
	b.pass(time.Minute)
	b.renew()
	if v := b.o.Check(); len(v) > 0 {
		t.Fatalf("the beginning is broken: %v", v)
	}
	return b
}

func (b *bench) renew() { b.put(leaseKey, map[string]any{"term": 1, "for": "10s"}) }

func (b *bench) pass(d time.Duration) {
	b.o.Check()
	b.w.Advance(d)
	b.o.Check()
}

func (b *bench) put(key string, v any) {
	raw, err := json.Marshal(v)
	if err != nil {
		b.t.Fatal(err)
	}
	b.o.Committed(store.Txn{Ops: []store.Op{{Key: key, Value: raw}}})
}

// start makes an instance with its volume, healed by the product's word.
func (b *bench) start(server string, e fleet.Epoch, host string) *world.Instance {
	i, err := b.w.Prepare(world.Request{Server: server, Epoch: e, Host: host, Style: world.Process, Units: 1})
	if err != nil {
		b.t.Fatal(err)
	}
	if err := b.w.Attach(server+"/data", i); err != nil {
		b.t.Fatal(err)
	}
	if err := b.w.Start(i); err != nil {
		b.t.Fatal(err)
	}
	b.o.Check()
	b.put(statusKeys+server, fleet.Status{Server: server, Epoch: e, Host: host, Phase: fleet.PhaseRunning, Verdict: fleet.Healthy})
	b.event(event.Event{Kind: event.RecoveryHealed, Server: server, Epoch: e})
	return i
}

// event makes an event durable, as the one entry of a chain by its server's name.
func (b *bench) event(ev event.Event) event.Event {
	ev.At = b.clock.Now()
	raw, _ := json.Marshal(ev)
	shard := fmt.Sprintf("%05d", len(ev.Server))
	last := b.heads[shard]
	e := stored{V: 1, Shard: uint64(len(ev.Server)), Seq: last.seq + 1, Prev: hex.EncodeToString(last.hash[:]), Event: raw}
	sum := e.sum()
	b.heads[shard] = link{seq: e.Seq, hash: sum}
	e.Hash = hex.EncodeToString(sum[:])
	value, _ := json.Marshal(e)
	b.o.Committed(store.Txn{Ops: []store.Op{{Key: fmt.Sprintf("%s%s/%020d", entryKeys, shard, e.Seq), Value: value}}})
	return ev
}

// intend claims a step in the store and announces it.
func (b *bench) intend(step fleet.Step) {
	st := b.o.servers[step.Server].status
	st.Phase = fleet.PhaseRecovering
	r := fleet.Recovery{ID: step.Server + ".r", Rung: fleet.Relaunch, From: st.Epoch, Begun: b.clock.Now()}
	if st.Recovery != nil {
		r = *st.Recovery
	}
	r.Last = &fleet.StepRecord{Step: step, State: fleet.StepIntended}
	st.Recovery = &r
	b.put(statusKeys+step.Server, st)
	b.event(event.Event{Kind: event.StepIntended, Server: step.Server, Epoch: step.Epoch, Recovery: r.ID, Destructive: true, Step: r.Last})
}

func call(step fleet.Step) Call {
	return Call{By: "c1", Call: provider.Call{Step: step, Term: 1}}
}

// send announces and sends a step.
func (b *bench) send(step fleet.Step) Call {
	b.intend(step)
	c := call(step)
	c.At = b.clock.Now()
	b.o.Sent(c)
	return c
}

func step(kind fleet.StepKind, server string, e fleet.Epoch, host string) fleet.Step {
	return fleet.Step{Kind: kind, Server: server, Epoch: e, Host: host, Rung: fleet.Relaunch, Token: fmt.Sprint(kind, server, e, host)}
}

// breaks wants exactly the invariant to be broken, or none if it is "".
func (b *bench) breaks(invariant, detail string) {
	b.t.Helper()
	found := b.o.Check()
	if invariant == "" && len(found) > 0 {
		b.t.Errorf("broken: %v", found)
	}
	for _, v := range found {
		if v.Invariant == invariant && strings.Contains(v.Detail, detail) {
			return
		}
	}
	if invariant != "" {
		b.t.Errorf("found %v, want %s %q", found, invariant, detail)
	}
}

func (b *bench) cut(host string) { _ = b.w.CutHost(host, world.Cut{Control: true, Peers: true}) }

// accept lets an executor take a call, with the proof of evidence about the epoch
// before.
func (b *bench) accept(st fleet.Step, evidence ...fleet.Evidence) {
	c := call(st)
	if len(evidence) > 0 {
		c.Call.Proof, _ = fence.Prove(spec(st.Server), st.Epoch-1, evidence[0].Host, evidence, b.clock.Now())
	}
	b.o.Executed(c)
}

// Each history breaks one promise, or comes near it and breaks none.
func TestHistories(t *testing.T) {
	down := func(b *bench) { b.w.SetApp(b.w.Find("a", 1), world.AppDead) }
	sealed := fleet.Evidence{Method: fleet.Sealed, Server: "a", Epoch: 1, Volume: "data", By: "agent@h2", At: time.Date(2031, 1, 1, 0, 1, 0, 0, time.UTC)}
	reaped := fleet.Evidence{Method: fleet.Reaped, Server: "a", Epoch: 1, By: "agent@h1", At: sealed.At}
	for name, row := range map[string]struct {
		change            func(*Intent)
		history           func(*bench)
		invariant, detail string
	}{
		"S2 started beside a living one": {history: func(b *bench) {
			b.accept(step(fleet.StepLaunch, "a", 2, "h3"), reaped)
		}, invariant: "S2", detail: "holds volume data"},
		"S2 evidence that is not true": {history: func(b *bench) {
			b.accept(step(fleet.StepLaunch, "a", 2, "h3"), sealed)
		}, invariant: "S2", detail: "volume data is not sealed"},
		"S2 a dead one": {history: func(b *bench) {
			_ = b.w.Reap(b.w.Find("a", 1), "it crashed")
			b.accept(step(fleet.StepLaunch, "a", 2, "h3"), reaped)
		}},
		"S2 an old epoch comes to life": {history: func(b *bench) {
			_ = b.w.Reap(b.w.Find("a", 1), "it crashed")
			old, _ := b.w.Prepare(world.Request{Server: "a", Epoch: 2, Host: "h2", Style: world.Process, Units: 1})
			b.start("a", 3, "h3")
			_ = b.w.Start(old)
		}, invariant: "S2", detail: "came to life"},
		"S3 the store forgets an epoch": {history: func(b *bench) {
			b.put(statusKeys+"a", fleet.Status{Server: "a"})
		}, invariant: "S3", detail: "fell from 1 to 0"},
		"S3 an epoch is taken twice": {history: func(b *bench) {
			b.put(statusKeys+"a", fleet.Status{Server: "a", Epoch: 1, Recovery: &fleet.Recovery{ID: "x", To: 1}})
		}, invariant: "S3", detail: "was taken though"},
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
		"S5 in a storm": {change: func(in *Intent) {
			in.Fleet.Spec.Storm = fleet.Storm{Hosts: 1, Window: fleet.Duration(time.Minute)}
		}, history: func(b *bench) {
			_, _ = b.w.FreezeHost("h1"), b.w.FreezeHost("h2")
			b.pass(time.Minute)
			b.event(event.Event{Kind: event.RecoveryBegun, Server: "a"})
		}, invariant: "S5", detail: "in a storm"},
		"S6 without a claim": {history: func(b *bench) {
			down(b)
			b.send(step(fleet.StepStop, "a", 1, "h1"))
			b.o.Sent(call(step(fleet.StepSeal, "a", 1, "h2")))
		}, invariant: "S6", detail: "does not name"},
		"S6 one replaces another": {history: func(b *bench) {
			b.put(statusKeys+"a", fleet.Status{Server: "a", Epoch: 1, Recovery: &fleet.Recovery{ID: "x"}})
			b.put(statusKeys+"a", fleet.Status{Server: "a", Epoch: 1, Recovery: &fleet.Recovery{ID: "y"}})
		}, invariant: "S6", detail: "had not ended"},
		"S7 two of one epoch": {history: func(b *bench) {
			_ = b.w.Reap(b.w.Find("a", 1), "it crashed")
			for _, h := range []string{"h2", "h3"} {
				_, _ = b.w.Prepare(world.Request{Server: "a", Epoch: 2, Host: h, Style: world.Process, Units: 1})
			}
			b.accept(step(fleet.StepAttach, "a", 2, "h3"), reaped)
		}, invariant: "S7", detail: "2 instances of epoch 2"},
		"S8 a leak at rest": {history: func(b *bench) {
			b.o.Rest([]End{{Server: "a", Phase: fleet.PhaseRunning, Verdict: fleet.Healthy, Epoch: 2}, {Server: "b", Phase: fleet.PhaseRunning, Verdict: fleet.Healthy, Epoch: 1}})
		}, invariant: "S8", detail: "current is epoch 2"},
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
		"S11 two people": {change: func(in *Intent) { in.Servers[0].Spec.Mode, in.Servers[0].Spec.Approvals = fleet.Ask, 2 }, history: func(b *bench) {
			down(b)
			b.guard(Act{Verb: "approves", Server: "a"})
			b.guard(Act{Verb: "approves", Server: "a", By: "ann"})
			b.send(step(fleet.StepStop, "a", 1, "h1"))
		}},
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
		"S13 a stranger's evidence": {history: func(b *bench) {
			_ = b.w.Reap(b.w.Find("a", 1), "it crashed")
			e := reaped
			e.By = "agent@h2"
			b.accept(step(fleet.StepLaunch, "a", 2, "h3"), e)
		}, invariant: "S13", detail: "never ran there"},
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
		"S15 another site": {change: func(in *Intent) { in.Servers[0].Spec.Placement.Sites = []string{"h1"} }, history: func(b *bench) {
			b.relaunch("a", 2, "h3")
		}, invariant: "S15", detail: "none of [h1]"},
		"S15 too near": {change: func(in *Intent) {
			for n := range in.Servers {
				in.Servers[n].Labels, in.Servers[n].Spec.Placement.Apart = map[string]string{"pair": "x"}, []string{"pair"}
			}
		}, history: func(b *bench) { b.relaunch("a", 2, "h2") }, invariant: "S15", detail: "kept apart from b"},
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
		"L1 called healthy": {history: func(b *bench) {
			down(b)
			b.rest(End{Server: "a", Phase: fleet.PhaseRunning, Verdict: fleet.Healthy, Epoch: 1})
		}, invariant: "L1", detail: "in truth it does not work"},
		"L1 not at rest":       {history: func(b *bench) { b.rest(End{Server: "a", Phase: fleet.PhaseRecovering, Epoch: 1}) }, invariant: "L1", detail: "recovering"},
		"L1 no controller":     {history: func(b *bench) { b.o.Rest(nil) }, invariant: "L1", detail: "no controller"},
		"L1 needs a person":    {history: func(b *bench) { b.rest(End{Server: "a", Phase: fleet.PhaseNeedsPerson, Epoch: 1, Reason: "r"}) }},
		"L1 there was a place": {history: func(b *bench) { b.rest(End{Server: "a", NoPlace: true, Epoch: 1, Reason: "r"}) }, invariant: "L1", detail: "could take it"},
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
		"L2 a hot loop": {history: func(b *bench) {
			down(b)
			for n := range hotCalls + 1 {
				b.send(step(fleet.StepDetach, "a", 1, fmt.Sprint("h", n)))
			}
		}, invariant: "L2", detail: "destructive calls within"},
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
		"L5 the second is not healed": {history: func(b *bench) {
			down(b)
			b.pass(5 * time.Second)
			b.event(event.Event{Kind: event.VerdictChanged, Server: "a", Verdict: fleet.Impaired})
			b.pass(15 * time.Second)
			b.pass(5 * time.Minute)
		}, invariant: "L5", detail: "no recovery has begun"},
	} {
		t.Run(name, func(t *testing.T) {
			change := func(*Intent) {}
			if row.change != nil {
				change = row.change
			}
			b := newBench(t, change)
			row.history(b)
			b.breaks(row.invariant, row.detail)
		})
	}
}

// guard is an act that was acknowledged, with its entry.
func (b *bench) guard(a Act) {
	if a.By == "" {
		a.By = "bob"
	}
	b.event(event.Event{Kind: event.GuardSet, By: a.By, Server: a.Server})
	a.At, a.Accepted = b.clock.Now(), true
	b.o.Acted(a)
}

func (b *bench) relaunch(server string, e fleet.Epoch, host string) {
	_ = b.w.Reap(b.w.Find(server, e-1), "it crashed")
	b.start(server, e, host)
	b.accept(step(fleet.StepLaunch, server, e, host), fleet.Evidence{Method: fleet.Reaped, Server: server, Epoch: e - 1, By: "agent@h1", At: b.clock.Now()})
}

// rest comes to rest with a as given and b healthy.
func (b *bench) rest(a End) {
	b.o.Rest([]End{a, {Server: "b", Phase: fleet.PhaseRunning, Verdict: fleet.Healthy, Epoch: 1}})
}
