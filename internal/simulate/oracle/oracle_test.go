package oracle

import (
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
	b.o.Committed(store.Txn{Ops: []store.Op{{Key: key, Value: raw}}}, b.w.Now())
}

// drop deletes a record.
func (b *bench) drop(key string) {
	b.o.Committed(store.Txn{Ops: []store.Op{{Key: key, Delete: true}}}, b.w.Now())
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
	b.o.Committed(store.Txn{Ops: []store.Op{{Key: fmt.Sprintf("%s%s/%020d", entryKeys, shard, e.Seq), Value: value}}}, b.w.Now())
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

// history breaks one promise, or comes near it and breaks none.
type history struct {
	change            func(*Intent)
	history           func(*bench)
	invariant, detail string
}

// tell runs each history on a bench of its own.
func tell(t *testing.T, histories map[string]history) {
	for name, row := range histories {
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

// down kills the application of a; its instance stays.
func down(b *bench) { b.w.SetApp(b.w.Find("a", 1), world.AppDead) }

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
