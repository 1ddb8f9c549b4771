package simulate

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"time"
)

// Hunt says which seeds are to be run, and how.
type Hunt struct {
	// First is the first seed. Seeds is how many, 0 for as many as fit into For;
	// both zero is one seed.
	First uint64
	Seeds uint64
	For   time.Duration
	// Workers is how many runs go on at once; each is a thread of its own.
	Workers int
	// Make makes the scenario of a seed; nil means Random.
	Make func(seed uint64) Scenario
	// Progress, if set, is called about once a second and at the end.
	Progress func(Report)
}

// Report is what a hunt has come to.
type Report struct {
	Seeds     uint64
	Simulated time.Duration
	Wall      time.Duration
	Events    int
	// Covered counts, for each pair of a kind of fault and a step, the runs in
	// which the step began while the fault was in force.
	Covered map[string]int
	// Broken are the first runs that broke a promise, Violations counts all of them.
	Broken     []Result
	Violations int
}

// keepBroken is how many broken runs a report carries: more of the same tell nothing.
const keepBroken = 20

// Go runs the hunt until it is through or ctx ends. Its error is a scenario that
// cannot be run, which is a mistake of its maker.
func (h Hunt) Go(ctx context.Context) (Report, error) {
	if h.Make == nil {
		h.Make = Random
	}
	if h.Seeds == 0 && h.For == 0 {
		h.Seeds = 1
	}
	begun := time.Now()
	defer collectSeldom()()
	if h.For > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, h.For)
		defer cancel()
	}
	seeds, results := make(chan uint64), make(chan outcome)
	go h.feed(ctx, seeds)
	var wg sync.WaitGroup
	for range max(h.Workers, 1) {
		wg.Go(func() {
			for seed := range seeds {
				results <- h.play(seed)
			}
		})
	}
	go func() { wg.Wait(); close(results) }()
	return h.gather(begun, results)
}

// collectSeldom has the garbage collector wait for more: a run leaves little behind
// and makes much, and a third of a hunt went into looking for it. Who has chosen a
// pace of their own (GOGC) keeps it. With more than this the heap outgrows the caches, and a run
// takes longer again. It returns how to end this.
func collectSeldom() func() {
	const usual, seldom = 100, 400
	was := debug.SetGCPercent(seldom)
	if was != usual {
		debug.SetGCPercent(was)
	}
	return func() { debug.SetGCPercent(was) }
}

type outcome struct {
	seed uint64
	Result
	err error
}

// play runs one seed. A panic of the product is told with its seed, and the others go on:
// nothing of a run outlives it.
func (h Hunt) play(seed uint64) (o outcome) {
	defer func() {
		if p := recover(); p != nil {
			o = outcome{seed: seed, err: fmt.Errorf("it panics: %v\n%s", p, debug.Stack())}
		}
	}()
	r, err := Run(h.Make(seed))
	return outcome{seed, r, err}
}

func (h Hunt) feed(ctx context.Context, seeds chan<- uint64) {
	defer close(seeds)
	for n := uint64(0); h.Seeds == 0 || n < h.Seeds; n++ {
		select {
		case seeds <- h.First + n:
		case <-ctx.Done():
			return
		}
	}
}

func (h Hunt) gather(begun time.Time, results <-chan outcome) (Report, error) {
	report := Report{Covered: map[string]int{}}
	var failed error
	last := begun
	for o := range results {
		if o.err != nil && failed == nil {
			failed = fmt.Errorf("seed %d: %w", o.seed, o.err)
		}
		report.add(o)
		report.Wall = time.Since(begun)
		if h.Progress != nil && time.Since(last) >= time.Second {
			last = time.Now()
			h.Progress(report)
		}
	}
	if h.Progress != nil {
		h.Progress(report)
	}
	return report, failed
}

func (r *Report) add(o outcome) {
	r.Seeds++
	r.Simulated += o.Simulated
	r.Events += o.Events
	for pair := range o.Covered { // counts: the order is all one
		r.Covered[pair]++
	}
	if len(o.Violations) == 0 {
		return
	}
	if r.Violations++; len(r.Broken) < keepBroken {
		r.Broken = append(r.Broken, o.Result)
	}
}

// Coverage is the share of the pairs of lasting faults and steps that a hunt has
// seen, of all that can meet.
func (r Report) Coverage() float64 {
	seen, all := 0, 0
	for _, pair := range Pairs() {
		all++
		if r.Covered[pair] > 0 {
			seen++
		}
	}
	return float64(seen) / float64(all)
}
