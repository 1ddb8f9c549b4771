package massheal

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"time"

	"relight/internal/controller"
	"relight/internal/core/fleet"
	"relight/internal/provider"
	"relight/internal/spec"
	"relight/internal/store"
)

// Growth is what the controller itself costs per second, in CPU, while nothing
// happens, in the seconds in which half the fleet falls silent, and while that half
// is held by the budget of recoveries.
type Growth struct {
	Steady, Fall, Held time.Duration
	// SteadyPasses and HeldPasses are passes per second.
	SteadyPasses, FallPasses, HeldPasses float64
}

// The times of a fleet that is swept each second; a slower pace multiplies all but the
// scan's.
const (
	contact      = 4 * time.Second
	suspectAfter = 6 * time.Second
	scanEvery    = 250 * time.Millisecond
	settle       = 10 * time.Second
	watched      = 60 * time.Second
	fallen       = 30 * time.Second // until the last verdict is recorded
)

// passTakes is what time a pass is given: in no time at all, thousands of incidents
// would open within one millisecond, as they never do.
const passTakes = 10 * time.Microsecond

const growthPolicy = `
apiVersion: relight/v1alpha1
kind: Policy
metadata: {name: default}
spec:
  mode: auto
  oneSource: fence
  health: {check: {http: "http://127.0.9.1:80/health"}, suspectAfter: %s}
  budget: {steps: 10, window: 10m}
`

// quiet is a controller over a fleet that is only looked at: no platform, and a
// store that keeps nothing.
type quiet struct {
	*engine
	names     []string
	state     *controller.State
	collector *controller.Collector
	deadlines *controller.Deadlines
	healer    *controller.Healer
	sweep     provider.Sweep
	silent    int // the first so many servers
	passes    int
	cpu       time.Duration
	contact   time.Duration
}

// MeasureGrowth runs a fleet of n in virtual time, on one thread. A pace above 1 sweeps
// it so many times less often, and is as much more patient: nobody looks at a million
// servers each second.
func MeasureGrowth(ctx context.Context, n, pace int) (Growth, error) {
	q, err := newQuiet(ctx, n, time.Duration(pace))
	if err != nil {
		return Growth{}, err
	}
	runtime.LockOSThread() // CPU time is counted by thread
	defer runtime.UnlockOSThread()
	var g Growth
	per := func(d time.Duration) (time.Duration, float64, error) {
		d *= time.Duration(pace)
		q.cpu, q.passes = 0, 0
		err := q.live(ctx, d)
		return time.Duration(float64(q.cpu) / d.Seconds()), float64(q.passes) / d.Seconds(), err
	}
	if _, _, err := per(settle); err != nil {
		return g, err
	}
	if g.Steady, g.SteadyPasses, err = per(watched); err != nil {
		return g, err
	}
	q.silent = n / 2
	if g.Fall, g.FallPasses, err = per(fallen); err != nil {
		return g, err
	}
	g.Held, g.HeldPasses, err = per(watched)
	return g, err
}

func newQuiet(ctx context.Context, n int, pace time.Duration) (*quiet, error) {
	q := &quiet{contact: contact * pace, engine: newEngine(), state: controller.NewState(), deadlines: controller.NewDeadlines()}
	journal := controller.NewJournal(q.state, &forgetful{})
	q.collector = controller.NewCollector(q.now, q.contact)
	traits := fleet.Traits{Provider: "sim", Rungs: []fleet.Rung{fleet.Relaunch}}
	until := q.now.Add(24 * time.Hour)
	viewer := &controller.Viewer{
		State: q.state, Collector: q.collector, Traits: map[string]fleet.Traits{"sim": traits},
		Authority: func() fleet.Authority { return fleet.Authority{Term: 1, Until: until} }, Trouble: func() string { return "" },
	}
	q.healer = &controller.Healer{
		Journal: journal, Viewer: viewer, Collector: q.collector, Providers: map[string]provider.Provider{"sim": untouched{q, traits}},
		Clock: q.engine, Log: slog.New(slog.DiscardHandler),
	}
	if err := q.declare(ctx, journal, n, fmt.Sprintf(growthPolicy, suspectAfter*pace)); err != nil {
		return nil, err
	}
	for i, name := range q.names {
		q.sweep.Servers = append(q.sweep.Servers, sightOf(name))
		q.deadlines.Set(name, q.now.Add(time.Duration(i%1000)*pace*time.Millisecond))
	}
	return q, nil
}

func (q *quiet) declare(ctx context.Context, journal *controller.Journal, n int, rules string) error {
	parsed := func(text string) (json.RawMessage, error) {
		docs, err := spec.Parse(spec.File{Name: "growth.yaml", Data: []byte(text)})
		if err != nil {
			return nil, err
		}
		return docs[0].Raw, nil
	}
	policy, err := parsed(rules)
	if err != nil {
		return err
	}
	model, err := parsed("apiVersion: relight/v1alpha1\nkind: Server\nmetadata: {name: the-model}\nspec:\n  provider: sim\n  template: {sim: {}}\n")
	if err != nil {
		return err
	}
	err = journal.Do(ctx, q.now, func(tx *controller.Tx) error {
		tx.Put("policy", "default", controller.Document{Raw: policy})
		return nil
	})
	if err != nil {
		return err
	}
	const step = 1000
	for first := 0; first < n; first += step {
		err := journal.Do(ctx, q.now, func(tx *controller.Tx) error {
			for i := first; i < min(first+step, n); i++ {
				name := fmt.Sprintf("server-%07d", i)
				q.names = append(q.names, name)
				tx.Put("server", name, controller.Document{Raw: json.RawMessage(strings.ReplaceAll(string(model), "the-model", name))})
				tx.Put("status", name, fleet.Status{
					Server: name, Phase: fleet.PhaseRunning, Epoch: 1, LaunchedAt: q.now, VerifiedAt: q.now, Verdict: fleet.Healthy, VerdictSince: q.now, Cause: "server " + name,
				})
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// sightOf is what a cloud shows of a server: its record, its guest's beats and its
// own check.
func sightOf(name string) provider.ServerSight {
	from := func(c fleet.Channel, asked fleet.Question) fleet.Signal {
		return fleet.Signal{Source: fleet.Source{Channel: c, Vantage: "controller"}, Question: asked, Epoch: 1, Answer: fleet.Yes, Since: start}
	}
	return provider.ServerSight{
		Observed: fleet.Observed{Server: name, Complete: true, Instances: []fleet.Instance{{Server: name, Epoch: 1, State: fleet.InstanceRunning, Since: start}}},
		Signals:  []fleet.Signal{from(fleet.ChannelProvider, fleet.Alive), from(fleet.ChannelBeat, fleet.Alive), from(fleet.ChannelApp, fleet.Works)},
	}
}

// live turns the loops as controller.Loops does, for some virtual time.
func (q *quiet) live(ctx context.Context, d time.Duration) error {
	swept := time.Time{}
	next := q.now
	for end := q.now.Add(d); q.now.Before(end); next = next.Add(scanEvery) {
		if next.After(q.now) {
			q.now = next
		}
		if q.now.Sub(swept) >= q.contact/4 {
			swept = q.now
			q.look()
		}
		begun := threadTime()
		q.collector.Tick(q.now)
		for _, name := range q.deadlines.Take(q.now) {
			q.passes++
			q.now = q.now.Add(passTakes)
			d, err := q.healer.Pass(ctx, name)
			if err != nil {
				return fmt.Errorf("pass over %s: %w", name, err)
			}
			if !d.LookAgainAt.IsZero() {
				q.deadlines.Wake(name, d.LookAgainAt)
			}
		}
		q.cpu += threadTime() - begun
	}
	return nil
}

// look sweeps the fleet: the silent ones' guests say nothing, and their status
// check fails. Making the sights is no part of the cost; taking them is.
func (q *quiet) look() {
	q.sweep.At = q.now
	for i := range q.sweep.Servers {
		q.refresh(i)
	}
	begun := threadTime()
	for _, name := range q.collector.Take(q.sweep) {
		q.deadlines.Wake(name, q.now)
	}
	q.cpu += threadTime() - begun
}

func (q *quiet) refresh(i int) {
	s := &q.sweep.Servers[i]
	s.Observed.At, s.Observed.Instances[0].At = q.now, q.now
	if i >= q.silent {
		for k := range s.Signals {
			s.Signals[k].At = q.now
		}
		return
	}
	record := &s.Signals[0]
	if record.At = q.now; record.Answer != fleet.No {
		record.Answer, record.Since = fleet.No, q.now
	}
}

// untouched is a provider that shows its fleet and refuses each step.
type untouched struct {
	q      *quiet
	traits fleet.Traits
}

// Traits implements provider.Provider.
func (u untouched) Traits() fleet.Traits { return u.traits }

// Wakes implements provider.Provider.
func (u untouched) Wakes() <-chan string { return nil }

// Observe implements provider.Provider.
func (u untouched) Observe(_ context.Context, servers []fleet.Server) (provider.Sweep, error) {
	sweep := provider.Sweep{At: u.q.now}
	for _, s := range servers {
		var i int
		if _, err := fmt.Sscanf(s.Name, "server-%d", &i); err != nil {
			return sweep, err
		}
		u.q.refresh(i)
		sweep.Servers = append(sweep.Servers, u.q.sweep.Servers[i])
	}
	return sweep, nil
}

// Do implements provider.Provider.
func (u untouched) Do(_ context.Context, call provider.Call) (provider.Outcome, error) {
	return provider.Outcome{}, provider.Errorf(provider.Retry, call, "%w", provider.ErrThrottled)
}

// forgetful is a store that keeps nothing: only the controller's own work counts.
type forgetful struct {
	store.Store
	rev store.Revision
}

// List implements store.Store.
func (f *forgetful) List(context.Context, string) ([]store.Record, store.Revision, error) {
	return nil, f.rev, nil
}

// Commit implements store.Store.
func (f *forgetful) Commit(context.Context, store.Txn) (store.Revision, error) {
	f.rev++
	return f.rev, nil
}
