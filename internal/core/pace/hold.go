package pace

import "time"

// waves keep works back until all servers of lower waves are finished.
type waves struct {
	of   map[string]int
	left map[int]int
	// open is the lowest wave with a server that is not finished; last the highest
	// enlisted one.
	open, last int
	held       map[int][]*waiting
}

func newWaves() waves {
	return waves{of: map[string]int{}, left: map[int]int{}, held: map[int][]*waiting{}}
}

// hold takes a work whose wave has not begun.
func (w *waves) hold(e *waiting) bool {
	if e.Wave <= w.open || w.last == 0 {
		return false
	}
	w.held[e.Wave] = append(w.held[e.Wave], e)
	return true
}

// Enlist says that a server belongs to a wave, from 1; all are enlisted before
// the first work is offered. The works of a wave begin when every server of the
// waves below is Finished.
func (m *Machine) Enlist(server string, wave int) {
	w := &m.waves
	if _, known := w.of[server]; known || wave < 1 {
		return
	}
	w.of[server] = wave
	w.left[wave]++
	w.last = max(w.last, wave)
	if w.open == 0 || wave < w.open {
		w.open = wave
	}
}

// Finished says that a server is verified, or given up: it is in progress no
// more, and its wave no longer waits for it.
func (m *Machine) Finished(server string) {
	delete(m.begun, server)
	w := &m.waves
	wave, ok := w.of[server]
	if !ok {
		return
	}
	delete(w.of, server)
	w.left[wave]--
	for w.open <= w.last && w.left[w.open] <= 0 {
		w.open++
		for _, e := range w.held[w.open] {
			if !e.gone {
				m.enqueue(e)
			}
		}
		delete(w.held, w.open)
		m.giveRoom()
	}
}

// due reports whether the server's wave may go.
func (w *waves) due(server string) bool {
	wave, enlisted := w.of[server]
	return enlisted && wave <= w.open
}

// giveRoom lets those of the open wave begin that wait for room.
func (m *Machine) giveRoom() {
	for id, e := range m.byID { // order: their queue puts them in order again
		if e.room && m.waves.due(e.Server) {
			again := *e
			e.gone = true
			m.byID[id] = &again
			m.enqueue(&again)
		}
	}
}

// Wave is the wave that may go now; 0 if none was enlisted.
func (m *Machine) Wave() int { return m.waves.open }

// A pool without capacity is asked again after askAgain: the one work that asks
// costs a token that others could use.
const askAgain = 10 * time.Second

// pool is capacity that ran out.
type pool struct {
	// asks is when one work may ask again; asking is true while its answer is out.
	asks   time.Time
	asking bool
}

// Short says that the pool had no capacity for a work of the server, which is not
// begun then. Others of the pool wait, and one asks again after a while; the caller
// offers the refused work anew.
func (m *Machine) Short(name, server string, now time.Time) {
	delete(m.begun, server)
	if name != "" {
		m.pools[name] = &pool{asks: now.Add(askAgain)}
	}
}

// Fits says that the pool has capacity again.
func (m *Machine) Fits(name string) { delete(m.pools, name) }

// open reports whether the head of the queue may go, tokens aside.
func (m *Machine) open(q *queue, now time.Time) bool {
	at, ever := m.openAt(q, now)
	return ever && !at.After(now)
}

// openAt is when the head of the queue may go, tokens aside; false if only news
// can tell.
func (m *Machine) openAt(q *queue, now time.Time) (time.Time, bool) {
	if q.room && len(m.begun) >= m.cfg.InProgress {
		return time.Time{}, false
	}
	p := m.pools[q.pool]
	switch {
	case p == nil || q.pool == "":
		return now, true
	case p.asking && now.Before(p.asks.Add(askAgain)):
		// An answer that never comes must not close the pool for ever.
		return p.asks.Add(askAgain), true
	case p.asks.After(now):
		return p.asks, true
	default:
		return now, true
	}
}

// probed notes that a work of the queue has gone to ask for capacity.
func (m *Machine) probed(q *queue, now time.Time) {
	if p := m.pools[q.pool]; p != nil && q.pool != "" {
		p.asks, p.asking = now, true
	}
}
