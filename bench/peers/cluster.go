package peers

import (
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"

	"relight/internal/bench/detector"
)

// plan is what one cluster goes through.
type plan struct {
	scenario detector.Scenario
	members  int
	seed     uint64
	tune     func(*memberlist.Config)
	// length is how long false positives are counted, from the end of settle on.
	settle, length time.Duration
	// kills members die after that, one by one.
	kills int
}

// tally is what was seen. Times of detection are in the order of the kills.
type tally struct {
	memberHours float64
	// any and most count the mistakes: a live member was held dead by at least one
	// observer, or by more than half of all. healthy leaves out those about members
	// that were starved themselves.
	any, most, anyHealthy, mostHealthy int
	// lasted and mostLasted are the lengths of the mistakes of any and of most.
	lasted, mostLasted []time.Duration
	// first, median and all are when so many of the others held a killed one dead.
	first, median, all []time.Duration
	missed             int
	packets            float64 // sent by a member in a second
}

// book keeps who holds whom dead.
type book struct {
	mu    sync.Mutex
	ether *ether
	// live counts observers; held is by member the set of observers that hold it dead.
	live  int
	held  []map[int]bool
	wrong []bool // in a mistake of most of them
	since []time.Duration
	// mostSince is when a mistake of most began.
	mostSince []time.Duration
	killed    []bool
	deaths    [][]time.Duration // of a killed member: when each observer held it dead
	diedAt    []time.Duration
	counts    bool
	scoring   *tally
	network   *detector.Network
}

// watcher is one observer's memberlist.EventDelegate.
type watcher struct {
	book *book
	self int
}

// NotifyJoin implements memberlist.EventDelegate.
func (w watcher) NotifyJoin(n *memberlist.Node) { w.book.note(w.self, n, false) }

// NotifyLeave implements memberlist.EventDelegate.
func (w watcher) NotifyLeave(n *memberlist.Node) { w.book.note(w.self, n, true) }

// NotifyUpdate implements memberlist.EventDelegate.
func (w watcher) NotifyUpdate(*memberlist.Node) {}

func (b *book) note(observer int, n *memberlist.Node, dead bool) {
	member, err := memberAt(n.Address())
	if err != nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.killed[observer] {
		return
	}
	now := b.ether.now()
	if b.killed[member] {
		if dead {
			b.deaths[member] = append(b.deaths[member], now-b.diedAt[member])
		}
		return
	}
	switch {
	case dead && len(b.held[member]) == 0:
		b.since[member] = now
		b.count(member, &b.scoring.any, &b.scoring.anyHealthy)
	case !dead && len(b.held[member]) == 1 && b.held[member][observer] && b.counts:
		b.scoring.lasted = append(b.scoring.lasted, now-b.since[member])
	}
	if dead {
		b.held[member][observer] = true
	} else {
		delete(b.held[member], observer)
	}
	most := len(b.held[member]) > b.live/2
	switch {
	case most && !b.wrong[member]:
		b.mostSince[member] = now
		b.count(member, &b.scoring.most, &b.scoring.mostHealthy)
	case !most && b.wrong[member] && b.counts:
		b.scoring.mostLasted = append(b.scoring.mostLasted, now-b.mostSince[member])
	}
	b.wrong[member] = most
}

func (b *book) count(member int, all, healthy *int) {
	if !b.counts {
		return
	}
	*all++
	if !b.network.Starved(member) {
		*healthy++
	}
}

// run runs a cluster in the virtual time of the bubble that it is called in.
func run(p plan) (*tally, error) {
	total := p.settle + p.length + time.Duration(p.kills)*killPace + time.Hour
	e := &ether{net: detector.NewNetwork(p.scenario, p.members, 0, total, p.seed), begun: time.Now()}
	t := &tally{}
	b := &book{
		ether: e, live: p.members, held: make([]map[int]bool, p.members), wrong: make([]bool, p.members),
		since: make([]time.Duration, p.members), mostSince: make([]time.Duration, p.members), killed: make([]bool, p.members), diedAt: make([]time.Duration, p.members),
		deaths: make([][]time.Duration, p.members), scoring: t, network: e.net,
	}
	var lists []*memberlist.Memberlist
	for i := range p.members {
		b.held[i] = map[int]bool{}
		e.ends = append(e.ends, newEnd(e, i))
	}
	rng := rand.New(rand.NewPCG(p.seed, 3))
	for i := range p.members {
		// Their timers must not tick as one.
		time.Sleep(time.Duration(rng.Int64N(int64(300 * time.Millisecond))))
		m, err := join(p, b, i)
		if err != nil {
			return nil, err
		}
		lists = append(lists, m)
	}
	for complete := false; !complete; {
		time.Sleep(10 * time.Second)
		complete = !slices.ContainsFunc(lists, func(m *memberlist.Memberlist) bool { return m.NumMembers() != p.members })
	}
	e.begun = time.Now()
	e.bad.Store(true)
	time.Sleep(p.settle)
	b.setCounts(true)
	before := e.packets.Load()
	time.Sleep(p.length)
	t.packets = float64(e.packets.Load()-before) / float64(p.members) / max(p.length.Seconds(), 1)
	b.setCounts(false)
	t.memberHours = p.length.Hours() * float64(p.members)
	b.kill(p, lists)
	for _, m := range lists {
		if err := m.Shutdown(); err != nil {
			return nil, err
		}
	}
	time.Sleep(5 * time.Minute) // until everything that waits has timed out
	return t, nil
}

func (b *book) setCounts(on bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.counts = on
}

func join(p plan, b *book, i int) (*memberlist.Memberlist, error) {
	c := memberlist.DefaultLANConfig()
	c.Name, c.Transport, c.Events = fmt.Sprintf("m%03d", i), b.ether.ends[i], watcher{b, i}
	c.Logger = log.New(io.Discard, "", 0)
	c.EnableCompression = false // the network doesn't count bytes; it would only cost processor time
	if p.tune != nil {
		p.tune(c)
	}
	m, err := memberlist.Create(c)
	if err != nil {
		return nil, err
	}
	if i > 0 {
		if _, err := m.Join([]string{fmt.Sprintf("%s:%d", addrOf(i/2), port)}); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// killWait is how long a death may take to be known by all before it counts as
// missed, and killPace is the most that one costs.
const (
	killWait = 120 * time.Second
	killPace = killWait + 10*time.Second
)

// kill kills members one by one at random phases.
func (b *book) kill(p plan, lists []*memberlist.Memberlist) {
	rng := rand.New(rand.NewPCG(p.seed, 77))
	// A starved one would not do: it may be held dead before it dies.
	var may []int
	for _, i := range rng.Perm(p.members) {
		if !b.network.Starved(i) {
			may = append(may, i)
		}
	}
	for _, i := range may[:min(p.kills, len(may))] {
		phase := time.Duration(rng.Int64N(int64(10 * time.Second)))
		time.Sleep(phase)
		b.mu.Lock()
		b.killed[i], b.diedAt[i] = true, b.ether.now()
		heldBefore := len(b.held[i]) > 0
		b.live--
		b.mu.Unlock()
		b.ether.ends[i].dead.Store(true)
		_ = lists[i].Shutdown()
		var seen []time.Duration
		for waited := time.Duration(0); waited < killWait; waited += time.Second {
			time.Sleep(time.Second)
			b.mu.Lock()
			seen = slices.Sorted(slices.Values(b.deaths[i]))
			b.mu.Unlock()
			if len(seen) >= b.live {
				break
			}
		}
		switch {
		case heldBefore: // it was taken for dead when it died: nothing to measure
		case len(seen) < b.live:
			b.scoring.missed++
		default:
			t := b.scoring
			t.first, t.median, t.all = append(t.first, seen[0]), append(t.median, seen[len(seen)/2]), append(t.all, seen[b.live-1])
		}
	}
}
