package world

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"relight/internal/core/fleet"
)

// Span is how long something takes: drawn evenly between Min and Max, or Min if
// Max is not larger. The zero Span means at once, within the call.
type Span struct{ Min, Max time.Duration }

// Delays say how long the world's changes take. All zero is useful: what is then
// measured is the product's own overhead.
type Delays struct {
	Start     Span // pending to running
	App       Span // running to an application that works
	Stop      Span // stopping to stopped
	Terminate Span // stopping to terminated
	Attach    Span // asked to usable, machines only
	Hard      Span // stopping to stopped or terminated without the guest's shutdown
	Detach    Span // asked to detached, machines only
	Snapshot  Span // asked to completed
	Copy      Span // a volume from a snapshot, until it can be attached
	DNS       Span // a record's change, until name servers answer so
	LockLease Span // a shared volume's lock that lost its host, until it is free
}

// Config is what a world is made of. Clock is required; Rand may be nil as long
// as no Span has a Max, and Lag and Replies are zero.
type Config struct {
	Clock  Clock
	Rand   *rand.Rand
	Delays Delays
	// WriteEvery makes each working instance write to each of its volumes that
	// often; zero means that only Write calls write. WriteLatency is how long a
	// write is in flight: it completes or fails at its end.
	WriteEvery   time.Duration
	WriteLatency time.Duration

	// Lag is how old the state may be that a platform's describe call tells, for
	// each object by itself. Unless ReadsGoBack, an object is never seen older
	// than it was seen before.
	Lag         time.Duration
	ReadsGoBack bool
	// Forget is how long a platform still tells of a terminated machine; zero
	// means for ever.
	Forget  time.Duration
	Replies Replies
	Checks  Checks
	// AutoRecover is how long a platform takes to move a machine by itself whose
	// host has failed, if the machine asks for it.
	AutoRecover Span
}

// World is the truth. It is not safe for concurrent use by itself: whoever shares
// it between goroutines brackets each use with Lock and Unlock.
type World struct {
	mu  sync.Mutex
	cfg Config

	queue queue
	seq   uint64

	sites     map[string]Site
	hosts     map[string]*Host
	hostNames []string
	instances map[string]*Instance
	byServer  map[string][]*Instance
	onHost    map[string][]*Instance // not gone
	volumes   map[string]*Volume
	addresses map[string]*Address
	buckets   map[bucketKey]*bucket
	calls     map[string]Calls
	losing    map[string]int // calls whose replies are to be lost, by API
	pools     map[poolKey]*pool
	tokens    map[string]tokenUse
	searched  map[search]int  // where the last search for room ended, in hostNames
	full      map[search]bool // searches that found no room since any was freed
	snapshots map[string]*Snapshot
	deleted   map[string]*Volume // their acknowledged writes still count as lost
	arrays    map[string]*Array

	interfaces map[string]*Interface
	byIP       map[string]*Interface
	records    map[string]record
	groups     map[string]*Group
	served     map[string]fleet.Epoch // the newest epoch that acknowledged a client, by server

	detached   []string    // outposts without their service link, sorted
	severed    [][2]string // pairs of places that do not reach each other
	brokenAPIs []string    // sites whose API fails, sorted

	// Registry is what the executors remember; see Registry.
	Registry Registry

	highest map[string]fleet.Epoch
	byToken map[string]string
	// touched is what Check must look at again, in the order of the changes.
	touched    []checked
	violations []Violation

	log     []Event
	trace   digest
	watcher func(Event)
}

// New returns an empty world.
func New(cfg Config) *World {
	return &World{
		cfg:       cfg,
		sites:     map[string]Site{},
		hosts:     map[string]*Host{},
		instances: map[string]*Instance{},
		byServer:  map[string][]*Instance{},
		onHost:    map[string][]*Instance{},
		volumes:   map[string]*Volume{},
		addresses: map[string]*Address{},
		buckets:   map[bucketKey]*bucket{},
		calls:     map[string]Calls{},
		losing:    map[string]int{},
		pools:     map[poolKey]*pool{},
		tokens:    map[string]tokenUse{},
		searched:  map[search]int{},
		full:      map[search]bool{},
		snapshots: map[string]*Snapshot{},
		deleted:   map[string]*Volume{},
		arrays:    map[string]*Array{},

		interfaces: map[string]*Interface{},
		byIP:       map[string]*Interface{},
		records:    map[string]record{},
		groups:     map[string]*Group{},
		served:     map[string]fleet.Epoch{},
		Registry:   newRegistry(),
		highest:    map[string]fleet.Epoch{},
		byToken:    map[string]string{},
		trace:      digestStart,
	}
}

// Lock takes the world for one goroutine.
func (w *World) Lock() { w.mu.Lock() }

// Unlock gives it back.
func (w *World) Unlock() { w.mu.Unlock() }

// Now returns the world's time.
func (w *World) Now() time.Time { return w.cfg.Clock.Now() }

// After runs fn d from now, as an event of the world.
func (w *World) After(d time.Duration, fn func()) {
	w.seq++
	w.queue.push(event{at: w.Now().Add(d), seq: w.seq, fn: fn})
}

// afterSpan runs fn at the end of the span; at once if the span is zero.
func (w *World) afterSpan(s Span, fn func()) {
	d := w.draw(s)
	if d <= 0 {
		fn()
		return
	}
	w.After(d, fn)
}

func (w *World) draw(s Span) time.Duration {
	if s.Max <= s.Min {
		return s.Min
	}
	return s.Min + time.Duration(w.cfg.Rand.Int64N(int64(s.Max-s.Min)+1))
}

// Step moves the clock to the next event and processes it. It reports false if
// nothing is to come.
func (w *World) Step() bool {
	if len(w.queue) == 0 {
		return false
	}
	e := w.queue.pop()
	w.moveClock(e.at)
	e.fn()
	return true
}

// Next returns when the next event is due; false if nothing is to come.
func (w *World) Next() (time.Time, bool) {
	if len(w.queue) == 0 {
		return time.Time{}, false
	}
	return w.queue[0].at, true
}

// RunUntil processes every event that is due by t, in order, and moves the clock
// to t. With a wall clock, call it with the present time before each look.
func (w *World) RunUntil(t time.Time) {
	for len(w.queue) > 0 && !w.queue[0].at.After(t) {
		w.Step()
	}
	w.moveClock(t)
}

// Advance is RunUntil d from now.
func (w *World) Advance(d time.Duration) { w.RunUntil(w.Now().Add(d)) }

func (w *World) moveClock(t time.Time) {
	if c, ok := w.cfg.Clock.(interface{ Set(time.Time) }); ok {
		c.Set(t)
	}
}

type event struct {
	at  time.Time
	seq uint64
	fn  func()
}

// queue is a heap of events by time, then by the order in which they were made:
// ties must not depend on anything else, or a seed would not repeat. It holds the
// events themselves: a million of them behind pointers are a million objects for
// the collector to visit.
type queue []event

func (q queue) less(i, j int) bool {
	if !q[i].at.Equal(q[j].at) {
		return q[i].at.Before(q[j].at)
	}
	return q[i].seq < q[j].seq
}

func (q *queue) push(e event) {
	*q = append(*q, e)
	h := *q
	for i := len(h) - 1; i > 0; {
		parent := (i - 1) / 2
		if !h.less(i, parent) {
			return
		}
		h[i], h[parent] = h[parent], h[i]
		i = parent
	}
}

func (q *queue) pop() event {
	h := *q
	first, last := h[0], len(h)-1
	h[0], h[last] = h[last], event{} // what the event holds is free once it has happened
	h = h[:last]
	*q = h
	for i := 0; ; {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < last; child++ {
			if h.less(child, least) {
				least = child
			}
		}
		if least == i {
			return first
		}
		h[i], h[least] = h[least], h[i]
		i = least
	}
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
