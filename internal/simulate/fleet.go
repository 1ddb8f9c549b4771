package simulate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"relight/internal/audit"
	"relight/internal/controller"
	"relight/internal/core/event"
	"relight/internal/core/fleet"
	"relight/internal/provider"
	"relight/internal/provider/sim"
	"relight/internal/store"
	"relight/internal/store/mem"
	"relight/internal/world"
)

// FleetLeast is the smallest of large fleets.
const FleetLeast = 100

// FleetOptions describe the run of a large fleet.
type FleetOptions struct {
	// Servers is how many there are, at least [FleetLeast].
	Servers int
	// Fault is one of [FleetFaults]; empty means none.
	Fault string
	Seed  uint64
	// Budget is how many recoveries may begin within ten minutes; zero means 10,000,
	// or as many as there are servers.
	Budget int
	// Steady is how long nothing happens, For how long the fault lasts, and After
	// how long the run goes on once it is over; zero means 3, 10 and 10 minutes, or 3, 5
	// and 4 for more than 200,000 servers, and less than zero none.
	Steady, For, After time.Duration
	// Quotas puts the default quotas of one EC2 account and Region before all calls
	// that change something, gives the controller the pacing that is made for them, and
	// lets each effect take the same time and one call in a hundred fail; see
	// [QuotaFloor].
	Quotas bool
	// Progress gets a line as each phase ends; nil means nobody reads.
	Progress io.Writer
}

func (o FleetOptions) filled() FleetOptions {
	fill := func(d *time.Duration, otherwise time.Duration) {
		if *d == 0 {
			*d = otherwise
		}
	}
	steady, lasts, after := 3*time.Minute, 10*time.Minute, 10*time.Minute
	if o.Servers > fleetLarge {
		lasts, after = 5*time.Minute, 4*time.Minute
	}
	fill(&o.Steady, steady)
	fill(&o.For, lasts)
	fill(&o.After, after)
	if o.Budget == 0 {
		o.Budget = min(o.Servers, 10_000)
	}
	if o.Fault == "" {
		o.Fault = "none"
	}
	if o.Progress == nil {
		o.Progress = io.Discard
	}
	return o
}

// The paces of a large fleet: what is swept every half minute is told dead after a
// minute and a half of silence. They are the same at every size.
const (
	fleetTick  = 250 * time.Millisecond
	fleetSweep = 30 * time.Second
	fleetWrite = time.Minute
	// personAfter is how long a person takes to see a storm and to ask for the
	// recoveries, and personPace how many that person asks for in a second.
	personAfter = 2 * time.Minute
	personPace  = 500
	// fleetLarge is above how many servers a run is shorter: it must end while somebody
	// waits for it.
	fleetLarge = 200_000
	// fleetMemory is from where on the garbage collector works harder: a million
	// servers must fit beside others. They live in half of it: with less, collecting
	// would take more time than the fleet.
	fleetMemory = 14 << 30
	// fleetCompact is how often the store forgets what nobody reads: the records of a
	// lost zone change several times in a minute.
	fleetCompact = 15 * time.Second
)

// fleetRun is the run of a large fleet: one controller on one thread, on a world
// without agents, as a cloud has it.
type fleetRun struct {
	opt    FleetOptions
	clock  *world.Virtual
	world  *world.World
	store  *mem.Store
	solo   *controller.Solo
	rng    *rand.Rand
	busy   map[string]bool
	report FleetReport
	// brownout is the share of calls that the platform throttles.
	brownout float64
	// count is what has happened so far; see work.
	count FleetWork
	// asked is how far a person has come through the servers in this round of asking.
	asked, round int
	// base is the heap before anything was built.
	base uint64
	err  error
}

// Fleet runs the real controller over a generated fleet, in virtual time: three
// zones of a cloud with as many hosts as 20 servers each need, and as much room
// again. Half of the servers have a volume that never leaves its zone, half one that
// is reached from everywhere; all have an address and a check.
//
// It does not launch the fleet: world and store begin as a controller would have
// left them, with every server running at epoch 1. The documents come from the real
// parser, once for each shape, and are written for each server under its own names;
// the controller then reads them from the store as it does after each restart. The
// entries of its journal are counted and chained, and not kept.
//
// While it runs it makes the garbage collector keep the process small, and it
// measures this process: run nothing beside it. Its error is a mistake in the
// options or of the machinery, never a broken promise.
func Fleet(opt FleetOptions) (FleetReport, error) {
	opt = opt.filled()
	fault, err := fleetFaultOf(opt.Fault)
	if err != nil {
		return FleetReport{}, err
	}
	if opt.Servers < FleetLeast {
		return FleetReport{}, fmt.Errorf("a fleet has at least %d servers, not %d", FleetLeast, opt.Servers)
	}
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(fleetMemory))
	r := &fleetRun{opt: opt, clock: world.NewVirtual(Start), rng: rand.New(rand.NewPCG(opt.Seed, 0x666c656574)), busy: map[string]bool{}} //nolint:gosec // a seed that repeats
	r.report = FleetReport{Servers: opt.Servers, Fault: opt.Fault, Seed: opt.Seed, Held: map[string]Held{}, Verdicts: map[fleet.Verdict]int{}}
	if err := r.build(); err != nil {
		return r.report, err
	}
	return r.report, r.play(fault)
}

// play goes through the phases.
func (r *fleetRun) play(f fleetFault) error {
	r.measure()
	r.world.After(fleetTick, r.tick)
	r.world.After(leaseFor/4, r.renew)
	r.world.After(fleetCompact, r.compact)
	r.phase("steady", r.opt.Steady)
	if f.begin != nil && r.err == nil {
		r.line("%s", f.says)
		if err := f.begin(r); err != nil {
			return err
		}
		r.phase(f.name, min(personAfter, r.opt.For))
		r.phase("asked", r.opt.For-personAfter)
		if f.end != nil && r.err == nil {
			if err := f.end(r); err != nil {
				return err
			}
		}
		r.phase("over", min(personAfter, r.opt.After))
		r.phase("asked again", r.opt.After-personAfter)
	}
	if r.err != nil {
		return r.err
	}
	return r.finish()
}

// boot starts the controller on what the store holds.
func (r *fleetRun) boot() error {
	var prov provider.Provider = sim.New(r.world, sim.Options{Faults: r.faults()})
	turns := map[string]controller.Turner{}
	if r.opt.Quotas {
		paced := r.paced(prov)
		prov, turns["sim"] = paced, paced
	}
	solo, err := controller.NewSolo(context.Background(), controller.SoloOptions{
		Store: &unchronicled{Store: r.store, entries: audit.Prefix(0)[:len(audit.Prefix(0))-len("00000/")]}, Clock: r.clock, Providers: map[string]provider.Provider{"sim": prov},
		Owner: "c1", Lease: leaseFor, Contact: contactFor, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return err
	}
	r.solo, solo.Healer.Turns = solo, turns
	solo.Journal.Listen(r.told)
	return solo.Begin(context.Background())
}

// unchronicled is a store that acknowledges the entries of the journal and does not
// keep them: those of a lost zone alone would fill the memory.
type unchronicled struct {
	store.Store
	entries string
}

// Commit implements store.Store.
func (s *unchronicled) Commit(ctx context.Context, txn store.Txn) (store.Revision, error) {
	txn.Ops = slices.DeleteFunc(txn.Ops, func(op store.Op) bool { return strings.HasPrefix(op.Key, s.entries) })
	return s.Store.Commit(ctx, txn)
}

// faults throttles calls during a brownout, and errs now and then where there are
// quotas. Without either it is nil, so that the
// provider keeps no past for stale reads.
func (r *fleetRun) faults() sim.Faults {
	if r.opt.Quotas {
		return r.errs
	}
	if r.opt.Fault != "api-brownout" {
		return nil
	}
	return func(provider.Call, int) sim.Fault {
		if r.brownout > 0 && r.rng.Float64() < r.brownout {
			return sim.Fault{Kind: sim.Throttle}
		}
		return sim.Fault{}
	}
}

func (r *fleetRun) told(batch []controller.Recorded) {
	for _, one := range batch {
		r.count.Commits++
		switch one.Event.Kind {
		case event.RecoveryBegun:
			if r.count.Begun++; r.report.FirstBegun.IsZero() {
				r.report.FirstBegun = one.Event.At
			}
		case event.RecoveryHealed:
			r.count.Healed++
			r.report.LastHealed = one.Event.At
		case event.RecoveryGaveUp:
			r.count.GaveUp++
		default: // others are counted as commits only
		}
	}
}

// tick is one turn of the controller's scan, with its part of the sweep.
func (r *fleetRun) tick() {
	defer r.world.After(fleetTick, r.tick)
	ctx := context.Background()
	r.solo.AskStore(ctx)
	seen, err := r.solo.SweepNext(ctx, "sim", r.sweepPart())
	r.count.Sights += seen
	if err != nil && !errors.Is(err, provider.ErrThrottled) {
		r.fail(err)
	}
	due := r.solo.Due()
	for _, name := range due {
		if r.busy[name] {
			r.solo.Deadlines.Wake(name, r.clock.Now().Add(fleetTick))
			continue
		}
		r.advance(name)
	}
}

// sweepPart is how many servers are observed at each tick.
func (r *fleetRun) sweepPart() int {
	every := fleetSweep
	if r.opt.Quotas {
		every = quotaSweep
	}
	return (r.opt.Servers*int(fleetTick) + int(every) - 1) / int(every)
}

func (r *fleetRun) renew() {
	r.fail(r.solo.Reign.Renew(context.Background()))
	r.world.After(leaseFor/4, r.renew)
}

func (r *fleetRun) advance(name string) {
	r.count.Passes++
	w, _, err := r.solo.Advance(context.Background(), name)
	r.fail(err)
	if w == nil {
		return
	}
	r.busy[name] = true
	r.world.After(r.latency(), func() {
		r.count.Calls++
		out, stepErr := r.solo.Healer.Perform(context.Background(), w)
		r.world.After(r.latency(), func() {
			delete(r.busy, name)
			r.fail(r.solo.Finish(context.Background(), w, out, stepErr))
			r.advance(name)
		})
	})
}

// longestWay is the longest of a request to the platform or back.
const longestWay = 100 * time.Millisecond

// latency is a request's way to the platform or back.
func (r *fleetRun) latency() time.Duration {
	return 5*time.Millisecond + time.Duration(r.rng.Int64N(int64(longestWay-5*time.Millisecond)))
}

func (r *fleetRun) fail(err error) {
	if err != nil && r.err == nil {
		r.err = err
	}
}

func (r *fleetRun) compact() {
	if _, rev, err := r.store.List(context.Background(), "relight/none/"); err == nil {
		r.store.Compact(rev)
	}
	r.world.After(fleetCompact, r.compact)
}

// line tells the reader of the progress.
func (r *fleetRun) line(format string, args ...any) {
	fmt.Fprintf(r.opt.Progress, "%8s %s\n", r.clock.Now().Sub(r.report.Begun).Round(time.Second), fmt.Sprintf(format, args...))
}
