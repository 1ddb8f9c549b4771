package pace

import (
	"container/heap"
	"slices"
	"time"
)

// Work is one call that waits for its turn.
type Work struct {
	// ID is the caller's name of it; a second offer of the same ID is the first.
	ID     string `json:"id"`
	Server string `json:"server"`
	// Uses names the APIs that the work calls, each once. APIs without a limit may
	// be named.
	Uses []string `json:"uses"`
	// Cost is what the request takes of the resource buckets; 0 means 1.
	Cost int `json:"cost,omitempty"`
	// Priority orders, higher first; see Age. Since is when its server began to
	// wait for its recovery, not this work: zero means that it begins now.
	Priority int       `json:"priority"`
	Since    time.Time `json:"since"`
	// Rank orders works of equal urgency, lower first: the wave of a plan, say.
	Rank int `json:"rank,omitempty"`
	// Wave keeps the work back until all servers enlisted in lower waves are
	// finished; 0 keeps nothing back.
	Wave int `json:"wave,omitempty"`
	// Begins marks the work with which a server's recovery takes something: see
	// Config.InProgress.
	Begins bool `json:"begins,omitempty"`
	// Pool names the capacity that the work draws on, such as zone and type; see
	// Machine.Short.
	Pool string `json:"pool,omitempty"`
}

// Grant is one request that may go out now.
type Grant struct {
	Uses  []string
	Works []Work
}

// Config is what a Machine is made of.
type Config struct {
	APIs []API
	// InProgress bounds the servers that are begun and not finished, so that a mass
	// failure does not leave thousands half done; 0 sets no bound. A bound below
	// rate times duration of one recovery wastes tokens. The servers of the wave that
	// may go are begun all the same: else those of later waves, begun ahead, could
	// take all the room and wait for them for ever.
	InProgress int
}

// limits are the two buckets of one API.
type limits struct {
	API
	requests, resources *level
	// kept is the round in which a more urgent work keeps the buckets for itself.
	kept uint64
}

// Machine says which works may go, in one account and region. It is a step
// machine: it holds no clock and starts nothing. It is not safe for concurrent use.
type Machine struct {
	cfg    Config
	apis   map[string]*limits
	order  []*limits // by their place in Config
	queues []*queue
	byKey  map[string]*queue
	byID   map[string]*waiting
	seq    uint64
	// round counts the looks at the queues.
	round uint64

	begun map[string]bool
	waves waves
	pools map[string]*pool
}

// New returns a machine whose buckets are full at now.
func New(cfg Config, now time.Time) *Machine {
	m := &Machine{
		cfg: cfg, apis: map[string]*limits{}, byKey: map[string]*queue{}, byID: map[string]*waiting{},
		begun: map[string]bool{}, pools: map[string]*pool{}, waves: newWaves(),
	}
	for _, a := range cfg.APIs {
		l := &limits{API: a, requests: newLevel(a.Requests, now), resources: newLevel(a.Resources, now)}
		m.apis[a.Name] = l
		m.order = append(m.order, l)
	}
	return m
}

// Offer adds a work that waits from now on. It reports false if one of that ID
// waits already.
func (m *Machine) Offer(w Work, now time.Time) bool {
	if m.byID[w.ID] != nil {
		return false
	}
	if w.Since.IsZero() {
		w.Since = now
	}
	w.Cost = max(w.Cost, 1)
	// The second try of what was begun must not stand behind those that wait for room.
	w.Begins = w.Begins && !m.begun[w.Server]
	m.seq++
	e := &waiting{Work: w, urgency: urgency(w), seq: m.seq}
	m.byID[w.ID] = e
	if !m.waves.hold(e) {
		m.enqueue(e)
	}
	return true
}

func (m *Machine) enqueue(e *waiting) {
	e.room = e.Begins && m.cfg.InProgress > 0 && !m.waves.due(e.Server)
	key := keyOf(e)
	q := m.byKey[key]
	if q == nil {
		q = &queue{names: e.Uses, pool: e.Pool, room: e.room}
		for _, name := range e.Uses {
			if l := m.apis[name]; l != nil {
				q.uses = append(q.uses, l)
			}
		}
		m.byKey[key] = q
		m.queues = append(m.queues, q)
	}
	heap.Push(q, e)
}

// Withdraw takes back a work that waits.
func (m *Machine) Withdraw(id string) {
	if e := m.byID[id]; e != nil {
		e.gone = true // its queue drops it when it comes to its head
		delete(m.byID, id)
	}
}

// Waits reports whether a work of that ID waits.
func (m *Machine) Waits(id string) bool { return m.byID[id] != nil }

// Waiting counts the works that wait.
func (m *Machine) Waiting() int { return len(m.byID) }

// Begun counts the servers that are begun and not finished.
func (m *Machine) Begun() int { return len(m.begun) }

// Take returns the requests that may go now, the most urgent first. One that
// cannot go for want of a token keeps its buckets from those behind it: else a
// work that needs two buckets would starve behind works that need one.
func (m *Machine) Take(now time.Time) []Grant {
	m.fill(now)
	m.round++
	var out []Grant
	for {
		q := m.first()
		if q == nil {
			return out
		}
		if !m.open(q, now) {
			q.skipped = m.round // what waits for room or capacity keeps no token
			continue
		}
		if m.short(q) {
			m.keep(q)
			q.skipped = m.round
			continue
		}
		out = append(out, m.grant(q, now))
	}
}

// keep keeps the queue's buckets from those behind it, for this round.
func (m *Machine) keep(q *queue) {
	for _, l := range q.uses {
		l.kept = m.round
	}
}

// first is the queue with the most urgent head of those not skipped in this round.
func (m *Machine) first() *queue {
	var best *queue
	for _, q := range m.queues {
		if q.skipped == m.round {
			continue
		}
		if e := q.head(); e != nil && (best == nil || earlier(e, best.works[0]) < 0) {
			best = q
		}
	}
	return best
}

// head drops what was withdrawn and returns what is next, or nil.
func (q *queue) head() *waiting {
	for len(q.works) > 0 && q.works[0].gone {
		heap.Pop(q)
	}
	if len(q.works) == 0 {
		return nil
	}
	return q.works[0]
}

// short reports whether the queue's head must wait for a token.
func (m *Machine) short(q *queue) bool {
	cost := float64(q.works[0].Cost)
	return slices.ContainsFunc(q.uses, func(l *limits) bool {
		return l.kept == m.round || !l.requests.has(1) || !l.resources.has(cost)
	})
}

// grant takes the head of a queue and, if one request can carry more, those
// behind it for which there are tokens and room.
func (m *Machine) grant(q *queue, now time.Time) Grant {
	g := Grant{Uses: q.names}
	most := 1
	if len(q.uses) == 1 {
		most = max(q.uses[0].Batch, 1)
	}
	for _, l := range q.uses {
		l.requests.use(1)
	}
	for len(g.Works) < most {
		e := q.head()
		if e == nil || !m.open(q, now) {
			break
		}
		cost := float64(e.Cost)
		if slices.ContainsFunc(q.uses, func(l *limits) bool { return !l.resources.has(cost) }) {
			break
		}
		heap.Pop(q)
		for _, l := range q.uses {
			l.resources.use(cost)
		}
		delete(m.byID, e.ID)
		if e.Begins {
			m.begun[e.Server] = true
		}
		m.probed(q, now)
		g.Works = append(g.Works, e.Work)
	}
	return g
}

// Next is when Take may yield something though no news comes; the zero time if
// only news can.
func (m *Machine) Next(now time.Time) time.Time {
	m.fill(now)
	m.round++
	var next time.Time
	for q := m.first(); q != nil; q = m.first() {
		q.skipped = m.round
		at, ever := m.openAt(q, now)
		if !ever || slices.ContainsFunc(q.uses, func(l *limits) bool { return l.kept == m.round }) {
			continue // the one that keeps the bucket goes first
		}
		for _, l := range q.uses {
			wait := max(l.requests.missing(1), l.resources.missing(float64(q.works[0].Cost)))
			if t := now.Add(wait); t.After(at) {
				at = t
			}
		}
		if m.open(q, now) {
			m.keep(q)
		}
		if next.IsZero() || at.Before(next) {
			next = at
		}
	}
	return next
}

func (m *Machine) fill(now time.Time) {
	for _, l := range m.order {
		l.requests.fill(now)
		l.resources.fill(now)
	}
}

// Throttled notes that the platform refused a request of the API for want of
// tokens: fewer are there than was said, or others use them too.
func (m *Machine) Throttled(api string, now time.Time) {
	l := m.apis[api]
	if l == nil {
		return
	}
	if !l.requests.IsZero() {
		l.requests.throttled(now)
	}
}

// Rate is the rate of requests per second that is believed to be there now; 0 if
// the API is not limited.
func (m *Machine) Rate(api string) float64 {
	l := m.apis[api]
	if l == nil {
		return 0
	}
	return l.requests.PerSecond * l.requests.factor
}
