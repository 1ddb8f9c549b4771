package massheal

import (
	"math/rand/v2"
	"time"
)

// The naive way: each worker takes a server and makes its calls in order, with the
// back-off and the waiters of an SDK. An SDK makes three tries, each after a wait
// that is evenly drawn up to twice the last bound; then the worker's own loop waits
// and begins again.
const (
	// Workers is how many naive workers there are.
	Workers      = 256
	sdkTries     = 3
	sdkMost      = 20 * time.Second
	sdkWaits     = 15 * time.Second // between two looks of a waiter
	workerPauses = 5 * time.Second
)

// naive is workers that do not know of each other.
type naive struct {
	*engine
	p     *platform
	fleet []server
	rng   *rand.Rand
	waves bool
	queue []int
	wave  int
	alive int
	res   Result
	then  []func()
}

// RunNaive heals the zone with naive workers. With waves they wait for each wave
// before they begin the next; without, they ignore what depends on what.
func RunNaive(s Scenario, waves bool) Result {
	e := newEngine()
	fleet := zone(s)
	n := &naive{
		engine: e, p: newPlatform(e, s, fleet), fleet: fleet, waves: waves,
		rng: rand.New(rand.NewPCG(s.Seed, 3)), then: make([]func(), len(fleet)), //nolint:gosec // a seed that repeats
	}
	n.p.ready = func(i int) {
		n.res.Finished++
		n.res.Total = n.since()
		if important(s, n.fleet[i]) {
			n.res.Top = n.since()
		}
		n.then[i]()
	}
	if !waves {
		n.queue = make([]int, len(fleet))
		for i := range fleet {
			n.queue[i] = i
		}
		n.alive = Workers
		for range Workers {
			n.work()
		}
	} else {
		n.nextWave()
	}
	e.run(200*time.Hour, func() bool { return n.res.Finished == len(fleet) })
	n.res.Throttled, n.res.Calls, n.res.Early = n.p.tally.throttledShare(), n.p.tally.calls, n.p.tally.early
	return n.res
}

func (n *naive) nextWave() {
	n.wave++
	n.queue = n.queue[:0]
	for i, s := range n.fleet {
		if s.wave == n.wave {
			n.queue = append(n.queue, i)
		}
	}
	n.alive = min(Workers, len(n.queue))
	for range n.alive {
		n.work()
	}
}

// work takes the next server.
func (n *naive) work() {
	if len(n.queue) == 0 {
		if n.alive--; n.alive == 0 && n.waves && n.wave < n.p.s.Waves {
			n.nextWave()
		}
		return
	}
	i := n.queue[0]
	n.queue = n.queue[1:]
	n.then[i] = n.work
	give := func() {
		n.call(attach, i, 0, func() { n.call(attach, i, 1, func() { n.call(plug, i, 0, func() {}) }) })
	}
	n.call(terminate, i, 0, func() {
		n.wait(i, func(s sight) bool { return s.terminated }, func() {
			n.call(launch, i, 0, func() {
				n.wait(i, func(s sight) bool { return s.running }, give)
			})
		})
	})
}

// call makes one call until it is accepted.
func (n *naive) call(api string, i, object int, then func()) { n.try(api, i, object, 1, then) }

func (n *naive) try(api string, i, object, tries int, then func()) {
	n.p.send(api, []int{i}, object, func(a answer) {
		switch {
		case a == accepted:
			then()
		case tries%sdkTries == 0 || a == noCapacity || a == notFound || a == wrongState:
			n.after(workerPauses, func() { n.try(api, i, object, 1, then) })
		default:
			n.after(n.backOff(tries), func() { n.try(api, i, object, tries+1, then) })
		}
	})
}

func (n *naive) backOff(tries int) time.Duration {
	bound := min(sdkMost, time.Second<<tries)
	return time.Duration(n.rng.Float64() * float64(bound))
}

// wait looks again and again, as an SDK's waiter does.
func (n *naive) wait(i int, is func(sight) bool, then func()) {
	n.p.send(describe, []int{i}, 0, func(a answer) {
		if a == accepted && is(n.p.look(i)) {
			then()
			return
		}
		n.after(sdkWaits, func() { n.wait(i, is, then) })
	})
}
