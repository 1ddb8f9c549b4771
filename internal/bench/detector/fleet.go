package detector

import (
	"math/rand/v2"
	"time"

	"relight/internal/core/fleet"
)

// The pace of the agents and of the controller, as the product has it.
const (
	BeatEvery    = 200 * time.Millisecond
	reportEvery  = time.Second
	pingEvery    = time.Second
	pingRetry    = 200 * time.Millisecond
	probeEvery   = time.Second
	probeWithin  = 2 * time.Second
	storageEvery = time.Second
	storageStale = 7 * storageEvery / 2
	scanEvery    = 50 * time.Millisecond
	postWithin   = 2 * time.Second
	dialWithin   = time.Second
	firstBackOff = 20 * time.Millisecond
	lastBackOff  = time.Second
	// pingers and witnesses are how many hosts ask for each host and probe each
	// server; readers stand for the hosts that read its storage heartbeat, which are
	// all others: more than these shorten the suspicion no further.
	pingers, witnesses, readers = 2, 2, 4
)

// Segments of TCP that an exchange costs: a report with its answer and their
// acknowledgements; a probe that opens and closes a connection.
const (
	reportPackets = 4
	probePackets  = 7
)

type kind uint8

const (
	evBeat kind = iota
	evHeard
	evPing
	evPingEnd
	evProbe
	evProbeEnd
	evTick
	evRetry
	evArrive
	evSent
	evWrite
	evRead
	evSweep
	evScan
)

// happening is one event of the simulation. What a means depends on the kind.
type happening struct {
	at     time.Duration
	seq    uint64 // breaks ties by the order of scheduling
	kind   kind
	a      int
	answer fleet.Answer
	begun  time.Duration
	report *report
}

// queue is a binary heap; container/heap would box each event.
type queue []happening

func (q queue) before(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].seq < q[j].seq
}

func (q *queue) push(h happening) {
	*q = append(*q, h)
	list := *q
	for i := len(list) - 1; i > 0 && list.before(i, (i-1)/2); i = (i - 1) / 2 {
		list[i], list[(i-1)/2] = list[(i-1)/2], list[i]
	}
}

func (q *queue) pop() happening {
	list := *q
	first, last := list[0], len(list)-1
	list[0], list[last] = list[last], happening{}
	list = list[:last]
	for i := 0; ; {
		least := i
		for k := 2*i + 1; k <= 2*i+2 && k < last; k++ {
			if list.before(k, least) {
				least = k
			}
		}
		if least == i {
			break
		}
		list[i], list[least] = list[least], list[i]
		i = least
	}
	*q = list
	return first
}

// sight is what a host saw last of another, by that host's clock.
type sight struct {
	answer    fleet.Answer
	at, since time.Duration
	known     bool
}

// pair is a seer and the host that it looks at.
type pair struct {
	seer, target int
	saw          sight
	// Of a storage heartbeat: what was read last, and since when it stands still.
	content, first, changed time.Duration
	read, moved             bool
}

// report is what a host told the controller: the sights at the time of sending.
type report struct {
	sentAt                 time.Duration
	pings, probes, storage []sight // by the host's own lists
}

// agent is one host.
type agent struct {
	// Indices into the fleet's pairs.
	pings, probes, storage []int
	busy, news, linked     bool
	backOff                time.Duration
	wrote                  time.Duration
	// Seen by the controller.
	heard, reportAt time.Duration
	report          *report
}

// world is a fleet of hosts with one server each, and its controller, which is the
// network's end after the last host.
type world struct {
	plan       Plan
	net        *Network
	rng        *rand.Rand
	queue      queue
	seq        uint64
	now        time.Duration
	agents     []agent
	pings      []pair
	probes     []pair
	storage    []pair
	dead       [][]span
	observers  []*observer
	controller int
	packets    uint64
}

func newWorld(p Plan, n *Network) *world {
	w := &world{
		plan: p, net: n, rng: rand.New(rand.NewPCG(p.Seed, 5)), agents: make([]agent, p.Members), //nolint:gosec // a simulation repeats itself by its seed
		dead: make([][]span, p.Members), controller: p.Members,
	}
	if w.plan.BeatEvery == 0 {
		w.plan.BeatEvery = BeatEvery
	}
	for i := range p.Members {
		seers := w.others(i, max(pingers, witnesses, readers))
		for _, s := range seers[:min(pingers, len(seers))] {
			w.agents[s].pings = append(w.agents[s].pings, len(w.pings))
			w.pings = append(w.pings, pair{seer: s, target: i})
		}
		for _, s := range seers[max(0, len(seers)-witnesses):] {
			w.agents[s].probes = append(w.agents[s].probes, len(w.probes))
			w.probes = append(w.probes, pair{seer: s, target: i})
		}
		for _, s := range seers[:min(readers, len(seers))] {
			w.agents[s].storage = append(w.agents[s].storage, len(w.storage))
			w.storage = append(w.storage, pair{seer: s, target: i})
		}
	}
	for _, s := range p.Settings {
		w.observers = append(w.observers, newObserver(w, s))
	}
	w.begin()
	return w
}

// others draws n hosts other than i.
func (w *world) others(i, n int) []int {
	var out []int
	for _, k := range w.rng.Perm(w.plan.Members) {
		if k != i && len(out) < n {
			out = append(out, k)
		}
	}
	return out
}

// begin lets everything start at a random phase.
func (w *world) begin() {
	phase := func(d time.Duration) time.Duration { return time.Duration(w.rng.Int64N(int64(d))) }
	for i := range w.agents {
		w.agents[i].linked = true
		w.push(happening{at: phase(w.plan.BeatEvery), kind: evBeat, a: i})
		w.push(happening{at: phase(reportEvery), kind: evTick, a: i})
		w.push(happening{at: phase(storageEvery), kind: evWrite, a: i})
		w.push(happening{at: phase(storageEvery), kind: evRead, a: i})
	}
	for k := range w.pings {
		w.push(happening{at: phase(pingEvery), kind: evPing, a: k})
	}
	for k := range w.probes {
		w.push(happening{at: phase(probeEvery), kind: evProbe, a: k})
	}
	for k, o := range w.observers {
		w.push(happening{at: phase(o.sweepEvery), kind: evSweep, a: k})
	}
	w.push(happening{at: phase(scanEvery), kind: evScan})
}

func (w *world) push(h happening) {
	h.seq = w.seq
	w.seq++
	w.queue.push(h)
}

// run turns the world until the moment.
func (w *world) run(until time.Duration) {
	for len(w.queue) > 0 && w.queue[0].at <= until {
		h := w.queue.pop()
		w.now = h.at
		w.step(h)
	}
	w.now = until
}

// isDead reports whether the host is dead at the moment.
func (w *world) isDead(i int, at time.Duration) bool {
	_, ok := within(w.dead[i], at)
	return ok
}

// ready is the first moment from at on in which the host runs.
func (w *world) ready(i int, at time.Duration) time.Duration {
	for {
		s, dead := within(w.dead[i], at)
		if !dead {
			if next := w.net.Awake(i, at); next != at {
				at = next
				continue
			}
			return at
		}
		at = s.to
	}
}

// step does what is due, or puts it off while the one who does it does not run.
func (w *world) step(h happening) {
	who := -1
	switch h.kind {
	case evBeat, evTick, evRetry, evWrite, evRead, evSent:
		who = h.a
	case evPing, evPingEnd:
		who = w.pings[h.a].seer
	case evProbe, evProbeEnd:
		who = w.probes[h.a].seer
	case evHeard, evArrive, evSweep, evScan:
		if at := w.net.Awake(w.controller, w.now); at != w.now {
			h.at = at
			w.push(h)
			return
		}
	}
	if who >= 0 {
		if at := w.ready(who, w.now); at != w.now {
			h.at = at
			w.push(h)
			return
		}
	}
	w.do(h)
}

func (w *world) do(h happening) {
	switch h.kind {
	case evBeat:
		w.beat(h.a)
	case evHeard:
		w.agents[h.a].heard = w.now
	case evPing:
		w.ping(h.a)
	case evPingEnd:
		w.put(&w.pings[h.a], h.answer)
		w.push(happening{at: max(h.begun+pingEvery, w.now+time.Millisecond), kind: evPing, a: h.a})
	case evProbe:
		w.probe(h.a)
	case evProbeEnd:
		w.put(&w.probes[h.a], h.answer)
		w.push(happening{at: max(h.begun+probeEvery, w.now+time.Millisecond), kind: evProbe, a: h.a})
	case evTick:
		w.push(happening{at: w.now + reportEvery, kind: evTick, a: h.a})
		w.tell(h.a)
	case evRetry:
		w.send(h.a)
	case evArrive:
		w.take(h)
	case evSent:
		w.sent(h)
	case evWrite:
		w.agents[h.a].wrote = w.now
		w.push(happening{at: w.now + storageEvery, kind: evWrite, a: h.a})
	case evRead:
		w.readStorage(h.a)
		w.push(happening{at: w.now + storageEvery, kind: evRead, a: h.a})
	case evSweep:
		o := w.observers[h.a]
		o.sweep()
		w.push(happening{at: w.now + o.sweepEvery, kind: evSweep, a: h.a})
	case evScan:
		for _, o := range w.observers {
			o.scan()
		}
		w.push(happening{at: w.now + scanEvery, kind: evScan})
	}
}
