package simulate

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"relight/internal/core/decide"
	"relight/internal/core/event"
	"relight/internal/core/fleet"
	"relight/internal/provider/sim"
	"relight/internal/simulate/oracle"
	"relight/internal/spec"
	"relight/internal/store"
	"relight/internal/store/mem"
	"relight/internal/world"
)

// Start is when every simulated run begins.
var Start = time.Date(2031, 5, 1, 12, 0, 0, 0, time.UTC)

// The paces of the simulated controller and agents.
const (
	tickEvery  = 250 * time.Millisecond
	sweepEvery = time.Second
	beatEvery  = time.Second
	// contactFor is the silence after which a host counts as out of contact.
	contactFor = 3 * time.Second
	// leaseFor is the controller's lease, beatLease that of the hosts.
	leaseFor  = 10 * time.Second
	beatLease = 10 * time.Second
	// restartAfter is how long a supervisor takes to start a dead controller again.
	restartAfter = 2 * time.Second
	compactEvery = 5 * time.Minute
)

// Result is what a run came to.
type Result struct {
	Scenario   Scenario
	Violations []oracle.Violation
	// Trace is equal for equal runs.
	Trace uint64
	// Simulated is how much time went by in the world.
	Simulated time.Duration
	Events    int
	Timeline  []Line
	// Covered counts the steps during which each kind of fault was in force, as
	// "class verb/step".
	Covered map[string]int
	End     []EndState
}

// EndState is how a server ended.
type EndState struct {
	Server  string
	Phase   fleet.Phase
	Verdict fleet.Verdict
	Epoch   fleet.Epoch
	Host    string
	Reason  string
	// Gate is what holds it, NeedsPerson whether only a person can lift that.
	Gate        string
	NeedsPerson bool
}

// engine is one run.
type engine struct {
	sc    Scenario
	clock *world.Virtual
	world *world.World
	rng   *rand.Rand
	store *mem.Store
	// quorum is how the store's members agree on what it holds; nil if it has only one.
	quorum   *quorum
	oracle   *oracle.Oracle
	brains   []*brain
	agents   []*agent
	mischief mischief
	// isolations and volumes are what the agents know of the servers.
	isolations map[string]fleet.OnIsolation
	volumes    map[string][]string
	// applied are the documents as they were at first, docs those in force now, and
	// wanted those in force once the store has taken a document; see asks.
	applied, docs []spec.Doc
	wanted        map[string][]spec.Doc
	// fleeting is true if no fault asks for what was seen before.
	fleeting bool
	// jumps is true if a fault sets a clock: then times carry a monotonic reading.
	jumps   bool
	lines   []Line
	force   map[string]int // faults in force, by class and verb
	covered map[string]int
	ends    []func() // what ends the faults in force
	backups []backup
	events  int
	err     error
	// watch, if set, sees each decision; for tests that look into a run.
	watch func(server string, d decide.Decision, err error)
}

// Run plays a scenario to its end or to the first violation. Its error is a
// mistake in the scenario, never a violation.
func Run(sc Scenario) (Result, error) {
	e, err := newEngine(sc)
	if err != nil {
		return Result{}, err
	}
	return e.play()
}

func (e *engine) play() (Result, error) {
	sc := e.sc
	e.turn(Start.Add(sc.For))
	if sc.Settle > 0 && e.ok() {
		e.calm()
		e.settle(Start.Add(sc.For + sc.Settle))
		e.pause()
		if e.ok() {
			e.rest()
		}
	}
	return e.result(), e.err
}

func newEngine(sc Scenario) (*engine, error) {
	if len(sc.Hosts) == 0 {
		return nil, errors.New("a world has at least one host")
	}
	clock := world.NewVirtual(Start)
	e := &engine{
		sc: sc, clock: clock, rng: rand.New(rand.NewPCG(sc.Seed, 0x72656c69676874)), //nolint:gosec // a seed that repeats
		force: map[string]int{}, covered: map[string]int{},
		isolations: map[string]fleet.OnIsolation{}, volumes: map[string][]string{},
	}
	span := func(s Span) world.Span { return world.Span{Min: s.Min, Max: s.Max} }
	e.world = world.New(world.Config{
		Clock: clock, Rand: rand.New(rand.NewPCG(sc.Seed, 1)), WriteEvery: time.Second, WriteLatency: 10 * time.Millisecond, //nolint:gosec // a seed that repeats
		Delays: world.Delays{
			Start: span(sc.Delays.Start), App: span(sc.Delays.App), Stop: span(sc.Delays.Stop), Terminate: span(sc.Delays.Stop),
			Attach: span(sc.Delays.Attach), LockLease: span(sc.Delays.LockLease),
		},
	})
	for _, s := range sc.Sites {
		e.world.AddSite(world.Site{Name: s.Name, Kind: s.Kind, Parent: s.Parent})
	}
	for _, h := range sc.Hosts {
		e.world.AddHost(world.Host{Name: h.Name, Parent: h.Parent, Units: h.Units, Power: h.Power})
	}
	e.store = mem.New(mem.Options{Now: clock.Now})
	if sc.Members > 1 {
		e.quorum = newQuorum(e, sc.Members)
	}
	e.oracle = e.watchOver()
	if err := e.declare(); err != nil {
		return nil, err
	}
	if err := e.plan(); err != nil {
		return nil, err
	}
	e.startAgents()
	for n := range max(sc.Controllers, 1) {
		e.brains = append(e.brains, newBrain(e, fmt.Sprintf("c%d", n+1)))
	}
	e.brains[0].boot()
	e.world.After(compactEvery, e.compact)
	return e, nil
}

// zoneOf is where zone and host volumes of a server lie: its first site, or the
// first host or zone of the world.
func (e *engine) zoneOf(s fleet.Server) string {
	if len(s.Spec.Placement.Sites) > 0 {
		return s.Spec.Placement.Sites[0]
	}
	for _, v := range s.Spec.Identity.Volumes {
		if v.Reach == fleet.ReachHost {
			return e.sc.Hosts[0].Name
		}
	}
	for _, site := range e.sc.Sites {
		if site.Kind == fleet.SiteZone {
			return site.Name
		}
	}
	return ""
}

// plan puts the faults into the queue.
func (e *engine) plan() error {
	e.fleeting = true
	if e.jumps = e.sc.jumps(); e.jumps {
		if err := readings(); err != nil {
			return err
		}
	}
	backups := false
	for _, f := range e.sc.Faults {
		k, err := kindOf(f)
		if err != nil {
			return fmt.Errorf("%s: %w", f, err)
		}
		e.world.After(f.At, func() { e.strike(k, f) })
		e.fleeting = e.fleeting && f.Verb != string(sim.StaleRead)
		backups = backups || f.Verb == "restored"
	}
	if backups {
		e.world.After(backupEvery, e.backUp)
	}
	return nil
}

// strike makes a fault happen, and ends it when its time is over.
func (e *engine) strike(k kind, f Fault) {
	end, err := k.apply(e, f)
	if err != nil {
		e.fail(fmt.Errorf("%s: %w", f, err))
		return
	}
	e.line("fault", f.Words())
	e.troubles(k, f, true)
	name := k.class + " " + k.verb
	e.force[name]++
	over := false
	finish := func() {
		if over {
			return
		}
		over = true
		e.force[name]--
		if end != nil {
			end()
		}
		e.troubles(k, f, false)
	}
	if !k.lasts {
		// A moment's fault counts for the steps of the half minute after it.
		e.world.After(30*time.Second, func() { e.force[name]-- })
		e.troubles(k, f, false)
		return
	}
	e.ends = append(e.ends, finish)
	if f.For > 0 {
		e.world.After(f.For, func() {
			if !over {
				e.line("ended", f.Words())
			}
			finish()
		})
	}
}

// turn processes events until the time or the first violation.
func (e *engine) turn(until time.Time) {
	for e.ok() {
		at, more := e.world.Next()
		if !more || at.After(until) {
			e.world.RunUntil(until)
			return
		}
		e.world.Step()
		e.events++
	}
}

func (e *engine) ok() bool { return e.err == nil && len(e.oracle.Check()) == 0 }

func (e *engine) fail(err error) {
	if e.err == nil {
		e.err = err
	}
}

func (e *engine) result() Result {
	e.oracleEnds()
	r := Result{
		Scenario: e.sc, Violations: e.oracle.Check(), Trace: e.world.Trace(), Simulated: e.clock.Now().Sub(Start),
		Events: e.events, Timeline: e.lines, Covered: e.covered,
	}
	if b := e.reigning(); b != nil {
		for _, s := range b.solo.State.Servers() {
			r.End = append(r.End, e.endOf(b, s.Name))
		}
	}
	return r
}

// reigning returns the controller that is up with a term, or nil.
func (e *engine) reigning() *brain {
	for n := len(e.brains) - 1; n >= 0; n-- {
		if b := e.brains[n]; b.reigns() {
			return b
		}
	}
	return nil
}

func (e *engine) draw(s Span) time.Duration {
	if s.Max <= s.Min {
		return s.Min
	}
	return s.Min + time.Duration(e.rng.Int64N(int64(s.Max-s.Min)+1))
}

// chance reports whether something of that probability happens.
func (e *engine) chance(p float64) bool { return p > 0 && e.rng.Float64() < p }

// compact drops the history of the store that nobody reads.
func (e *engine) compact() {
	if _, rev, err := e.store.List(context.Background(), "relight/none/"); err == nil {
		e.store.Compact(rev)
	}
	e.world.After(compactEvery, e.compact)
}

// told gets every event that a controller has told its readers.
func (e *engine) told(by string, ev event.Event) {
	e.oracle.Told(by, ev)
	e.tell(ev)
}

func (e *engine) committed(txn store.Txn, written time.Time) {
	e.committedDocs(txn)
	e.oracle.Committed(txn, written)
}

var errCrash = errors.New("the controller is killed here")
