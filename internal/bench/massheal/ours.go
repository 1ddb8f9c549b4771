package massheal

import (
	"fmt"
	"runtime"
	"time"

	"relight/internal/core/pace"
)

// inProgress bounds the servers that are begun and not finished: a shortage of
// several minutes in one wave must not stop the launches of the next.
const inProgress = 800

const (
	// sweepEvery is how often the most important of what is under way is described, one
	// full batch, and restEvery after how many of these all the rest is: what is seen
	// late is launched late. Both together stay within the quota of describes.
	sweepEvery = 150 * time.Millisecond
	restEvery  = 7
	// pause is the wait after an error that is no refusal for want of tokens.
	pause = 200 * time.Millisecond
)

// Result is what one run came to.
type Result struct {
	Finished int
	// Total is until the last server worked and that was known; Top until the last
	// of the most important ones did, see Important.
	Total, Top time.Duration
	// Throttled is the part of the calls that change something which was refused.
	Throttled float64
	// Early counts what was given to a server whose wave had not begun; Inversions
	// counts launches that went before a more important one that could have gone.
	Early, Inversions int
	// Compile and Schedule are what planning and pacing themselves took, on one
	// thread; Foretold is the plan's own word on Total.
	Compile, Schedule, Foretold time.Duration
	Calls                       map[string]int
}

// Important is how many servers Result.Top is about: the lowest waves, which have
// the highest priorities.
const Important = 100

// healer drives the recovery of the zone through a pace.Machine.
type healer struct {
	*engine
	p       *platform
	s       Scenario
	fleet   []server
	placed  map[string]pace.Placed
	machine *pace.Machine
	wake    time.Time
	busy    bool
	pending map[int]string // what the sweep waits for: terminated or running
	offered map[int]bool   // launches that wait, for the count of inversions
	watch   bool
	left    [][]bool // what is still to be given to each server
	res     Result
	names   map[string]int
	inOrder []int // the fleet in the order of the plan
	sweeps  int
	tune    tuning
}

// tuning lets tests make the scheduler worse.
type tuning struct {
	config func(*pace.Config)
	work   func(*pace.Work)
}

// Run heals the zone through our scheduler.
func Run(s Scenario) (Result, error) {
	return run(s, tuning{config: func(*pace.Config) {}, work: func(*pace.Work) {}})
}

func run(s Scenario, tune tuning) (Result, error) {
	e := newEngine()
	fleet := zone(s)
	p := newPlatform(e, s, fleet)
	h := &healer{
		engine: e, p: p, s: s, fleet: fleet, placed: map[string]pace.Placed{}, pending: map[int]string{},
		offered: map[int]bool{}, watch: s.Servers <= 1000, names: map[string]int{}, tune: tune,
	}
	runtime.LockOSThread() // CPU time is counted by thread
	defer runtime.UnlockOSThread()
	begun := threadTime()
	plan, err := pace.Compile(nodes(fleet), h.legs(), Quotas())
	if err != nil {
		return Result{}, err
	}
	h.res.Compile, h.res.Foretold = threadTime()-begun, plan.Back
	cfg := pace.Config{InProgress: inProgress}
	for _, q := range Quotas() {
		// Two requests that overtake each other on their way must not meet an empty
		// bucket: as much is left in it as they can be apart.
		q.Requests.Burst -= q.Requests.PerSecond * (roundTrip / 2).Seconds()
		cfg.APIs = append(cfg.APIs, q)
	}
	tune.config(&cfg)
	h.machine = pace.New(cfg, e.now)
	for _, placed := range plan.Order {
		h.placed[placed.Server] = placed
		h.machine.Enlist(placed.Server, placed.Wave)
	}
	for i, srv := range fleet {
		h.names[srv.name] = i
		h.left = append(h.left, make([]bool, volumes+1))
	}
	for _, placed := range plan.Order {
		h.inOrder = append(h.inOrder, h.names[placed.Server])
	}
	p.ready = h.ready
	for i := range fleet {
		h.offer(i, terminate, 0)
	}
	h.sweep()
	h.turn()
	e.run(200*time.Hour, func() bool { return h.res.Finished == len(fleet) })
	h.res.Throttled, h.res.Calls, h.res.Early = p.tally.throttledShare(), p.tally.calls, p.tally.early
	return h.res, nil
}

// legs are the calls of one server for the plan.
func (h *healer) legs() []pace.Leg {
	legs := []pace.Leg{
		{Uses: []string{terminate}, Takes: terminateTakes},
		{Uses: []string{launch}, Takes: bootTakes, Gated: h.s.Strict},
	}
	for range volumes {
		legs = append(legs, pace.Leg{Uses: []string{attach}, Gated: true})
	}
	return append(legs, pace.Leg{Uses: []string{plug}, Takes: attachTakes + appTakes, Gated: true})
}

// offer hands a call to the machine.
func (h *healer) offer(i int, api string, object int) {
	placed := h.placed[h.fleet[i].name]
	w := pace.Work{
		ID: fmt.Sprintf("%s/%d/%d", api, i, object), Server: h.fleet[i].name, Uses: []string{api},
		Priority: placed.Priority, Since: start, Rank: placed.Wave,
	}
	switch api {
	case launch:
		w.Begins, w.Pool = true, fmt.Sprint("type-", h.fleet[i].kind)
		if h.s.Strict {
			w.Wave = placed.Wave
		}
		h.offered[i] = true
	case attach, plug:
		w.Wave = placed.Wave
	}
	h.tune.work(&w)
	h.timed(func() { h.machine.Offer(w, h.now) })
}

func (h *healer) timed(do func()) {
	begun := threadTime()
	do()
	h.res.Schedule += threadTime() - begun
}

// turn sends what may go and comes back when more may.
func (h *healer) turn() {
	var grants []pace.Grant
	var next time.Time
	h.timed(func() {
		grants = h.machine.Take(h.now)
		next = h.machine.Next(h.now)
	})
	for _, g := range grants {
		h.send(g)
	}
	if next.IsZero() || (h.busy && !next.Before(h.wake)) {
		return
	}
	h.busy, h.wake = true, next
	h.at(next, func() {
		if h.busy && h.wake.Equal(next) {
			h.busy = false
			h.turn()
		}
	})
}

func (h *healer) send(g pace.Grant) {
	api := g.Uses[0]
	servers := make([]int, len(g.Works))
	for n, w := range g.Works {
		servers[n] = h.names[w.Server]
	}
	object := 0
	if api == attach {
		object = int(g.Works[0].ID[len(g.Works[0].ID)-1] - '0')
	}
	if api == launch {
		h.countInversions(servers[0])
	}
	h.p.send(api, servers, object, func(a answer) {
		h.answered(api, servers, object, a)
		h.turn()
	})
}

func (h *healer) answered(api string, servers []int, object int, a answer) {
	again := func(d time.Duration) {
		h.after(d, func() {
			for _, i := range servers {
				h.offer(i, api, object)
			}
			h.turn()
		})
	}
	pool := fmt.Sprint("type-", h.fleet[servers[0]].kind)
	switch a {
	case throttled:
		h.machine.Throttled(api, h.now)
		again(0)
		return
	case noCapacity:
		h.machine.Short(pool, h.fleet[servers[0]].name, h.now)
		again(0)
		return
	case accepted:
	default:
		again(pause)
		return
	}
	for _, i := range servers {
		switch api {
		case terminate:
			h.pending[i] = terminate
		case launch:
			h.machine.Fits(pool)
			h.pending[i] = launch
		}
	}
}

// sweep describes what is under way, in full batches, the most important first.
func (h *healer) sweep() {
	var all []int
	most := batch
	if h.sweeps%restEvery == 0 {
		most = len(h.fleet)
	}
	h.sweeps++
	for _, i := range h.inOrder {
		if h.pending[i] != "" {
			all = append(all, i)
		}
		if len(all) == most {
			break
		}
	}
	for len(all) > 0 {
		n := min(batch, len(all))
		some := all[:n:n]
		all = all[n:]
		h.p.send(describe, some, 0, func(a answer) {
			if a == accepted {
				h.saw(some)
			}
		})
	}
	h.after(sweepEvery, h.sweep)
}

func (h *healer) saw(some []int) {
	for _, i := range some {
		sight := h.p.look(i)
		switch {
		case h.pending[i] == terminate && sight.terminated:
			delete(h.pending, i)
			h.offer(i, launch, 0)
		case h.pending[i] == launch && sight.running:
			delete(h.pending, i)
			for v := range volumes {
				h.offer(i, attach, v)
			}
			h.offer(i, plug, 0)
		}
	}
	h.turn()
}

// ready hears that a server's application works.
func (h *healer) ready(i int) {
	h.res.Finished++
	h.res.Total = h.since()
	if h.important(i) {
		h.res.Top = h.since()
	}
	h.timed(func() { h.machine.Finished(h.fleet[i].name) })
	h.turn()
}

func (h *healer) important(i int) bool { return important(h.s, h.fleet[i]) }

// important reports whether the server is in the lowest waves that hold Important
// servers.
func important(s Scenario, srv server) bool {
	return srv.wave <= (Important*s.Waves+s.Servers-1)/s.Servers
}

// countInversions counts those that are more important than the one that is
// launched and wait all the same, though their type has capacity.
func (h *healer) countInversions(i int) {
	delete(h.offered, i)
	if !h.watch {
		return
	}
	mine := h.placed[h.fleet[i].name]
	for other := range h.offered { // order: a count
		p := h.placed[h.fleet[other].name]
		if p.Priority > mine.Priority && (!h.s.Strict || p.Wave <= h.machine.Wave()) && h.fits(h.fleet[other].kind) {
			h.res.Inversions++
		}
	}
}

// fits reports that the type has had capacity for long enough to be known.
func (h *healer) fits(kind int) bool {
	for _, s := range h.s.Shortages {
		if s.Type == kind && h.since() >= s.From && h.since() < s.To+30*time.Second {
			return false
		}
	}
	return true
}
