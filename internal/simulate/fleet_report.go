package simulate

import (
	"context"
	"fmt"
	"hash/fnv"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"relight/internal/core/fleet"
	"relight/internal/world"
)

// FleetReport is what the run of a large fleet came to.
type FleetReport struct {
	Servers int    `json:"servers"`
	Hosts   int    `json:"hosts"`
	Fault   string `json:"fault"`
	Seed    uint64 `json:"seed"`
	// Build is how long world and store took to make, Load how long the controller
	// took to read them; both are wall time.
	Build time.Duration `json:"build"`
	Load  time.Duration `json:"load"`
	// Begun is the virtual time at which the steady phase began.
	Begun  time.Time    `json:"begun"`
	Phases []FleetPhase `json:"phases"`
	// Bytes is the heap after a collection, before the first phase.
	Bytes FleetBytes `json:"bytes"`
	// Peak is the largest size of the process, as the system counts it.
	Peak uint64 `json:"peak"`
	// Scan is one scan of all deadlines, of which none is due, Sweep the look at
	// every server once; both are wall time.
	Scan  time.Duration `json:"scan"`
	Sweep time.Duration `json:"sweep"`
	// FirstBegun and LastHealed are when the first recovery began and the last one was
	// healed; Throttled is the share of the calls that the platform's quotas refused.
	FirstBegun time.Time `json:"firstBegun"`
	LastHealed time.Time `json:"lastHealed"`
	Throttled  float64   `json:"throttled"`
	// Verdicts counts the servers at the end, by their recorded verdict.
	Verdicts map[fleet.Verdict]int `json:"verdicts"`
	// Held counts those that are not healthy and verified at the end by the gate that
	// holds them: one that passes its check and lacks a volume is among them.
	Held map[string]Held `json:"held"`
	// Stuck counts servers that are neither healthy nor held by anything, nor being
	// healed: there must be none.
	Stuck      int               `json:"stuck"`
	Violations []world.Violation `json:"violations"`
	// Trace is equal for equal runs.
	Trace uint64 `json:"trace"`
}

// FleetBytes is a heap by its parts, in bytes for the whole fleet.
type FleetBytes struct {
	World      uint64 `json:"world"`
	Store      uint64 `json:"store"`
	Controller uint64 `json:"controller"`
}

// Held is how many servers a gate holds, with the reason of one of them.
type Held struct {
	Servers int    `json:"servers"`
	Because string `json:"because"`
}

// FleetWork counts what was done.
type FleetWork struct {
	// Events are those of the world, Sights the looks at a server, Passes the
	// decisions about one, Calls the steps sent to the platform, Commits the events
	// that were journaled.
	Events, Sights, Passes, Calls, Commits int
	// Begun, Healed and GaveUp count recoveries, Asked those that a person asked for.
	Begun, Healed, GaveUp, Asked int
}

// FleetPhase is one part of the run.
type FleetPhase struct {
	Name    string        `json:"name"`
	Virtual time.Duration `json:"virtual"`
	Wall    time.Duration `json:"wall"`
	CPU     time.Duration `json:"cpu"`
	FleetWork
}

// All is the number of all that was processed in the phase.
func (p FleetPhase) All() int { return p.Events + p.Sights + p.Passes }

// PerSecond is how much of it was processed in a second of wall time.
func (p FleetPhase) PerSecond() float64 { return float64(p.All()) / max(p.Wall.Seconds(), 1e-9) }

// PerServerHour is the processor's time for one server and one hour.
func (p FleetPhase) PerServerHour(servers int) time.Duration {
	return time.Duration(float64(p.CPU) / float64(servers) / max(p.Virtual.Hours(), 1e-9))
}

// phase lets virtual time go by and notes what it cost.
func (r *fleetRun) phase(name string, d time.Duration) {
	if d <= 0 || r.err != nil {
		return
	}
	if strings.HasPrefix(name, "asked") {
		r.asked = 0
		r.round++
		r.world.After(0, r.ask)
	}
	before, wall, cpu := r.count, time.Now(), cpuTime()
	until := r.clock.Now().Add(d)
	for r.err == nil && len(r.world.Check()) == 0 {
		at, more := r.world.Next()
		if !more || at.After(until) {
			break
		}
		r.world.Step()
		r.count.Events++
	}
	r.world.RunUntil(r.clock.Now()) // the clock stands where the last event left it
	if r.clock.Now().Before(until) && len(r.world.Check()) == 0 {
		r.world.RunUntil(until)
	}
	p := FleetPhase{Name: name, Virtual: d, Wall: time.Since(wall), CPU: cpuTime() - cpu, FleetWork: r.count.since(before)}
	r.report.Phases = append(r.report.Phases, p)
	r.line("%s for %s: wall %s, CPU %s, %.0f events/s, %d passes, %d calls, %d journaled, %d begun, %d healed", name, d,
		p.Wall.Round(time.Millisecond), p.CPU.Round(time.Millisecond), p.PerSecond(), p.Passes, p.Calls, p.Commits, p.Begun, p.Healed)
}

func (c FleetWork) since(b FleetWork) FleetWork {
	return FleetWork{
		Events: c.Events - b.Events, Sights: c.Sights - b.Sights, Passes: c.Passes - b.Passes, Calls: c.Calls - b.Calls, Commits: c.Commits - b.Commits,
		Begun: c.Begun - b.Begun, Healed: c.Healed - b.Healed, GaveUp: c.GaveUp - b.GaveUp, Asked: c.Asked - b.Asked,
	}
}

// measure takes what can be measured only while nothing happens: a sweep of the
// whole fleet, so that the controller knows everything, its heap, and a scan.
func (r *fleetRun) measure() {
	begun := time.Now()
	for seen := 0; seen < r.opt.Servers && r.err == nil; {
		n, err := r.solo.SweepNext(context.Background(), "sim", r.sweepPart())
		r.fail(err)
		seen += n
	}
	r.report.Sweep = time.Since(begun)
	for _, name := range r.solo.Due() {
		r.advance(name)
	}
	with := heapNow()
	solo := r.solo
	r.report.Bytes.Controller = with - min(with, r.base+r.report.Bytes.World+r.report.Bytes.Store)
	begun = time.Now()
	if due := solo.Due(); len(due) > 0 {
		for _, name := range due {
			r.advance(name)
		}
	}
	r.report.Scan = time.Since(begun)
	r.line("heap per server: world %d, store %d, controller %d bytes; a sweep takes %s, a scan %s",
		r.report.Bytes.World/uint64(r.opt.Servers), r.report.Bytes.Store/uint64(r.opt.Servers), r.report.Bytes.Controller/uint64(r.opt.Servers),
		r.report.Sweep.Round(time.Millisecond), r.report.Scan)
}

// finish counts how the servers ended.
func (r *fleetRun) finish() error {
	rep := &r.report
	rep.Throttled = r.throttledShare()
	rep.Violations = r.world.Check()
	sum := fnv.New64a()
	for _, name := range r.solo.State.ServerNames() {
		st := r.solo.State.Status(name)
		rep.Verdicts[st.Verdict]++
		fmt.Fprintf(sum, "%s %s %s %d %s\n", name, st.Phase, st.Verdict, st.Epoch, st.Host)
		if st.Verdict == fleet.Healthy && st.Phase == fleet.PhaseRunning {
			continue
		}
		look := r.solo.Look(name)
		gate := look.Gate
		switch {
		case gate != "":
		case st.Recovery != nil:
			gate = "under way"
		default:
			rep.Stuck++
			gate = "nothing"
		}
		h := rep.Held[gate]
		h.Servers++
		if h.Because == "" {
			h.Because = name + ": " + look.Reason
		}
		rep.Held[gate] = h
	}
	rep.Trace = r.world.Trace() ^ sum.Sum64()
	rep.Peak = peakMemory()
	return nil
}

// Print writes the report for people.
func (rep FleetReport) Print() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d servers on %d hosts, fault %s, seed %d, trace %016x\n", rep.Servers, rep.Hosts, rep.Fault, rep.Seed, rep.Trace)
	each := func(n uint64) uint64 { return n / uint64(rep.Servers) }
	fmt.Fprintf(&b, "heap per server: world %d B, store %d B, controller %d B; process at most %d MiB\n",
		each(rep.Bytes.World), each(rep.Bytes.Store), each(rep.Bytes.Controller), rep.Peak>>20)
	fmt.Fprintf(&b, "made in %s, read by the controller in %s; a sweep of all takes %s, a scan of all deadlines %s\n",
		rep.Build.Round(time.Millisecond), rep.Load.Round(time.Millisecond), rep.Sweep.Round(time.Millisecond), rep.Scan.Round(time.Microsecond))
	for _, p := range rep.Phases {
		fmt.Fprintf(&b, "%-13s %6s virtual %9s wall %9s CPU %9.0f events/s %8d passes %8d calls %8d begun %8d healed %8d given up %8d asked for\n",
			p.Name, p.Virtual, p.Wall.Round(time.Millisecond), p.CPU.Round(time.Millisecond), p.PerSecond(), p.Passes, p.Calls, p.Begun, p.Healed, p.GaveUp, p.Asked)
	}
	for _, v := range sortedVerdicts(rep.Verdicts) {
		fmt.Fprintf(&b, "%-13s %d\n", v, rep.Verdicts[v])
	}
	for _, gate := range sortedGates(rep.Held) {
		fmt.Fprintf(&b, "held by %s: %d, such as %s\n", gate, rep.Held[gate].Servers, rep.Held[gate].Because)
	}
	for _, v := range rep.Violations {
		fmt.Fprintf(&b, "violation %s\n", v)
	}
	return b.String()
}

func sortedVerdicts(m map[fleet.Verdict]int) []fleet.Verdict {
	var out []fleet.Verdict
	for v := range m { // sorted below
		out = append(out, v)
	}
	slices.Sort(out)
	return out
}

func sortedGates(m map[string]Held) []string {
	var out []string
	for g := range m { // sorted below
		out = append(out, g)
	}
	slices.Sort(out)
	return out
}

// heapNow is the live heap.
func heapNow() uint64 {
	runtime.GC()
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return s.HeapAlloc
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// peakMemory is the largest resident size of this process so far.
func peakMemory() uint64 {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return uint64(u.Maxrss) << 10
}
