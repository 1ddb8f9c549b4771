package controller

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"relight/internal/core/decide"
	"relight/internal/core/event"
	"relight/internal/core/fleet"
	"relight/internal/provider"
	"relight/internal/provider/sim"
	"relight/internal/store"
	"relight/internal/store/mem"
	"relight/internal/world"
)

// rig is a whole site on one thread: a world, a store, and one controller at a
// time, all in virtual time.
type rig struct {
	t     *testing.T
	clock *world.Virtual
	world *world.World
	store store.Store
	opts  sim.Options
	hooks mem.Hooks
	specs []string
	live  *life
	lives int
}

// life is one controller's, from its start to its crash.
type life struct {
	journal   *Journal
	state     *State
	reign     *Reigning
	collector *Collector
	viewer    *Viewer
	healer    *Healer
	chronicle *Chronicle
	provider  provider.Provider
}

var errCrash = errors.New("the controller was killed here")

const siteYAML = `
apiVersion: relight/v1alpha1
kind: Policy
metadata: {name: default}
spec:
  mode: auto
  isolatedFor: 10s
  health: {check: {http: "http://127.0.9.1:80/health", interval: 100ms, timeout: 200ms}, suspectAfter: 1s, downAfter: 1s, impairedAfter: 1s, startupGrace: 5s}
  ladder: {verifyWithin: 10s, backOff: 1s, maxBackOff: 10s, window: 1h}
`

func serverYAML(name, ip string) string {
	return fmt.Sprintf(`
apiVersion: relight/v1alpha1
kind: Server
metadata: {name: %s}
spec:
  provider: sim
  identity:
    volumes: [{name: data, path: /v/%s, reach: machine}]
    addresses: [{ip: %s}]
  template: {sim: {}}
`, name, name, ip)
}

func newRig(t *testing.T, opts sim.Options, servers ...string) *rig {
	t.Helper()
	clock := world.NewVirtual(time.Date(2031, 5, 1, 12, 0, 0, 0, time.UTC))
	r := &rig{t: t, clock: clock, opts: opts}
	r.world = world.New(world.Config{Clock: clock, WriteEvery: 50 * time.Millisecond, Delays: world.Delays{
		Start: world.Span{Min: 100 * time.Millisecond}, App: world.Span{Min: 100 * time.Millisecond}, Stop: world.Span{Min: 100 * time.Millisecond},
	}})
	r.world.Lock()
	r.world.AddSite(world.Site{Name: "rack-1", Kind: fleet.SiteRack})
	for _, h := range []string{"host-1", "host-2", "host-3"} {
		r.world.AddHost(world.Host{Name: h, Parent: "rack-1", Units: 8, Power: true})
	}
	r.world.Unlock()
	r.store = mem.New(mem.Options{Now: clock.Now, Hooks: mem.Hooks{
		BeforeCommit: func(txn store.Txn) error { return r.hook(r.hooks.BeforeCommit, txn) },
		AfterCommit:  func(txn store.Txn) error { return r.hook(r.hooks.AfterCommit, txn) },
	}})
	r.specs = []string{siteYAML}
	for i, name := range servers {
		r.specs = append(r.specs, serverYAML(name, fmt.Sprintf("127.0.9.%d", i+1)))
	}
	r.specs = append(r.specs, "apiVersion: relight/v1alpha1\nkind: Site\nmetadata: {name: rack-1}\nspec: {kind: rack}\n")
	for _, h := range []string{"host-1", "host-2", "host-3"} {
		r.specs = append(r.specs, fmt.Sprintf("apiVersion: relight/v1alpha1\nkind: Site\nmetadata: {name: %s}\nspec: {kind: host, parent: rack-1, power: {command: [/bin/false], plug: %s}}\n", h, h))
	}
	r.start()
	r.apply()
	for _, s := range r.live.state.Servers() {
		sim.Declare(r.world, s, "host-1")
	}
	return r
}

func (r *rig) hook(f func(store.Txn) error, txn store.Txn) error {
	if f == nil {
		return nil
	}
	return f(txn)
}

// start is the birth of a controller: it knows what the store knows.
func (r *rig) start() {
	r.t.Helper()
	ctx := context.Background()
	r.lives++
	state := NewState()
	if err := state.Load(ctx, r.store); err != nil {
		r.t.Fatalf("load: %v", err)
	}
	l := &life{state: state, journal: NewJournal(state, r.store)}
	l.reign = NewReigning(l.journal, r.clock, fmt.Sprintf("controller-%d", r.lives), time.Hour)
	if err := l.reign.Begin(ctx); r.dead(err) {
		r.start() // killed while it took the term: the next one does
		return
	} else if err != nil {
		r.t.Fatalf("begin: %v", err)
	}
	var err error
	if l.chronicle, err = NewChronicle(ctx, r.store, state, ""); err != nil {
		r.t.Fatalf("chronicle: %v", err)
	}
	l.journal.Listen(l.chronicle.Add)
	l.collector = NewCollector(r.clock.Now(), time.Second)
	inner := sim.New(r.world, r.opts)
	l.provider = provider.WithAuthority(inner, l.reign.Allowed)
	l.viewer = &Viewer{
		State: state, Collector: l.collector, Traits: map[string]fleet.Traits{"sim": inner.Traits()},
		Authority: l.reign.Authority, Trouble: func() string { return "" },
	}
	l.healer = &Healer{
		Journal: l.journal, Viewer: l.viewer, Collector: l.collector, Providers: map[string]provider.Provider{"sim": l.provider},
		Clock: r.clock, Log: slog.New(slog.DiscardHandler),
	}
	r.live = l
}

func (r *rig) apply() {
	r.t.Helper()
	for _, text := range r.specs {
		if err := applyText(r.live.journal, r.clock.Now(), text); err != nil {
			r.t.Fatalf("apply: %v", err)
		}
	}
}

// turn is one beat of all loops: the world goes on, everything is observed, each
// server is carried as far as it goes.
func (r *rig) turn() error {
	r.world.Lock()
	r.world.Advance(50 * time.Millisecond)
	r.world.Unlock()
	r.live.collector.Tick(r.clock.Now())
	servers := r.live.state.Servers()
	if sweep, err := r.live.provider.Observe(context.Background(), servers); err == nil {
		r.live.collector.Take(sweep)
	} else if errors.Is(err, sim.ErrCrashed) {
		return err
	}
	for _, s := range servers {
		if _, err := r.live.healer.Pass(context.Background(), s.Name); err != nil {
			return err
		}
	}
	r.check()
	return nil
}

// check asks the world whether a promise was broken.
func (r *rig) check() {
	r.t.Helper()
	r.world.Lock()
	defer r.world.Unlock()
	for _, v := range r.world.Check() {
		r.t.Fatalf("at %s: %s", r.clock.Now().Format("15:04:05.000"), v)
	}
}

// until turns until the condition holds, at most the given virtual time.
func (r *rig) until(limit time.Duration, what string, done func() bool) {
	r.t.Helper()
	end := r.clock.Now().Add(limit)
	for !done() {
		if r.clock.Now().After(end) {
			r.dump()
			r.t.Fatalf("not within %s: %s", limit, what)
		}
		if err := r.turn(); err != nil {
			if r.dead(err) {
				r.start()
				continue
			}
			r.dump()
			r.t.Fatalf("turn: %v", err)
		}
	}
}

// dead reports that the controller was killed by a fault of the test.
func (r *rig) dead(err error) bool {
	return errors.Is(err, errCrash) || errors.Is(err, sim.ErrCrashed)
}

func (r *rig) dump() {
	for _, rec := range r.live.chronicle.Latest(60, func(event.Event) bool { return true }) {
		r.t.Logf("%s %-16s %-6s %s", rec.Event.At.Format("05.000"), rec.Event.Kind, rec.Event.Server, rec.Event.Message)
	}
	for _, s := range r.live.state.Servers() {
		v := r.live.viewer.View(s.Name, r.clock.Now())
		r.t.Logf("%s: %s %s; next: %s", s.Name, v.Finding.Verdict, v.Finding.Reason, decide.Next(v.View, r.clock.Now()).Reason)
	}
}

func (r *rig) healthy(names ...string) bool {
	for _, n := range names {
		v := r.live.viewer.View(n, r.clock.Now())
		if v.Finding.Verdict != fleet.Healthy || v.Status.Phase != fleet.PhaseRunning {
			return false
		}
	}
	return true
}

func (r *rig) status(name string) fleet.Status { return r.live.state.Status(name) }

// verifyAudit checks the chains and that each destructive step was announced.
func (r *rig) verifyAudit() {
	r.t.Helper()
	all, err := r.live.chronicle.Verify(context.Background())
	if err != nil {
		r.t.Fatalf("audit: %v", err)
	}
	for _, v := range all {
		if v.Err != nil {
			r.t.Fatalf("audit of shard %d: %v", v.Shard, v.Err)
		}
	}
}

// instanceOf returns the world's instance of the server's present epoch.
func (r *rig) instanceOf(name string) *world.Instance {
	r.t.Helper()
	i := r.world.Find(name, r.status(name).Epoch)
	if i == nil {
		r.t.Fatalf("the world has no instance of %s epoch %d", name, r.status(name).Epoch)
	}
	return i
}
