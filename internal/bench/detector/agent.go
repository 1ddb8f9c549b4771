package detector

import (
	"time"

	"relight/internal/core/fleet"
)

// beat sends one beat, and its ack comes back or not: nothing that is judged here
// depends on the ack.
func (w *world) beat(i int) {
	every := w.plan.BeatEvery
	w.push(happening{at: w.now + every - every/10 + time.Duration(w.rng.Int64N(int64(every/5)+1)), kind: evBeat, a: i})
	w.packets++
	if w.net.Lost(i, w.controller, w.now) {
		return
	}
	w.packets++ // the ack
	if at := w.net.Awake(w.controller, w.now); at != w.now {
		w.push(happening{at: at, kind: evHeard, a: i})
		return
	}
	w.agents[i].heard = w.now
}

// ping makes a round of requests, each sent again until one is answered.
func (w *world) ping(k int) {
	p := w.pings[k]
	end := w.now + pingEvery
	for at := w.now; at < end; at += pingRetry {
		if w.ready(p.seer, at) != at {
			continue
		}
		w.packets++
		if w.isDead(p.target, at) || w.net.Lost(p.seer, p.target, at) {
			continue
		}
		there := w.net.Awake(p.target, at)
		w.packets++
		if w.isDead(p.target, there) || w.net.Lost(p.target, p.seer, there) {
			continue
		}
		if back := w.ready(p.seer, there); back < end {
			w.push(happening{at: back, kind: evPingEnd, a: k, answer: fleet.Yes, begun: w.now})
			return
		}
	}
	w.push(happening{at: end, kind: evPingEnd, a: k, answer: fleet.No, begun: w.now})
}

// probe opens a TCP connection to the server.
func (w *world) probe(k int) {
	p := w.probes[k]
	limit := w.now + probeWithin
	w.packets += probePackets
	open, ok := w.net.Connect(p.seer, p.target, w.now, limit)
	if ok && !w.isDead(p.target, w.now) && !w.isDead(p.target, open) {
		w.push(happening{at: open, kind: evProbeEnd, a: k, answer: fleet.Yes, begun: w.now})
		return
	}
	w.push(happening{at: limit, kind: evProbeEnd, a: k, answer: fleet.No, begun: w.now})
}

// put keeps what a host saw; a new answer is news.
func (w *world) put(p *pair, answer fleet.Answer) {
	changed := !p.saw.known || p.saw.answer != answer
	if changed {
		p.saw.since = w.now
	}
	p.saw.answer, p.saw.at, p.saw.known = answer, w.now, true
	if changed {
		w.tell(p.seer)
	}
}

// readStorage tells from one reading which hosts' heartbeats move.
func (w *world) readStorage(i int) {
	for _, k := range w.agents[i].storage {
		p := &w.storage[k]
		switch wrote := w.agents[p.target].wrote; {
		case !p.read:
			p.read, p.content, p.first = true, wrote, w.now
		case p.content != wrote:
			p.content, p.changed, p.moved = wrote, w.now, true
		}
		switch still := w.now - max(p.changed, p.first); {
		case p.moved && w.now-p.changed <= storageStale:
			w.put(p, fleet.Yes)
		case still > storageStale:
			w.put(p, fleet.No)
		default:
			w.put(p, fleet.CannotTell)
		}
	}
}

// tell has the host report, now or as soon as its last report is through.
func (w *world) tell(i int) {
	if w.agents[i].busy {
		w.agents[i].news = true
		return
	}
	w.send(i)
}

// send posts a report over the open connection, or over a new one.
func (w *world) send(i int) {
	a := &w.agents[i]
	a.busy, a.news = true, false
	r := &report{sentAt: w.now, pings: sights(w.pings, a.pings), probes: sights(w.probes, a.probes), storage: sights(w.storage, a.storage)}
	limit := w.now + postWithin
	w.packets += reportPackets
	at, ok := w.now, true
	if !a.linked {
		at, ok = w.dial(i, limit)
	}
	if ok {
		at, ok = w.net.Deliver(i, w.controller, at, limit)
	}
	if !ok {
		w.push(happening{at: min(at, limit), kind: evSent, a: i, answer: fleet.No})
		return
	}
	w.push(happening{at: at, kind: evArrive, a: i, begun: limit, report: r})
	if taken := w.net.Awake(w.controller, at); taken >= limit {
		w.push(happening{at: limit, kind: evSent, a: i, answer: fleet.No})
	} else if back, ok := w.net.Deliver(w.controller, i, taken, limit); ok {
		w.push(happening{at: back, kind: evSent, a: i, answer: fleet.Yes})
	} else {
		w.push(happening{at: limit, kind: evSent, a: i, answer: fleet.No})
	}
}

// dial opens a connection and shakes hands over it, each within its time.
func (w *world) dial(i int, limit time.Duration) (time.Duration, bool) {
	w.packets += probePackets
	at, ok := w.net.Connect(i, w.controller, w.now, min(limit, w.now+dialWithin))
	if !ok {
		return at, false
	}
	end := min(limit, at+dialWithin)
	for range 2 { // a hello each way
		if at, ok = w.net.Deliver(i, w.controller, at, end); !ok {
			return at, false
		}
		if at = w.net.Awake(w.controller, at); at >= end {
			return end, false
		}
		if at, ok = w.net.Deliver(w.controller, i, at, end); !ok {
			return at, false
		}
	}
	w.agents[i].linked = true
	return at, true
}

// sent ends a report: the next goes out if there is news, and a failed one is tried
// again over a new connection.
func (w *world) sent(h happening) {
	a := &w.agents[h.a]
	if h.answer == fleet.Yes {
		a.busy, a.backOff = false, firstBackOff
		if a.news {
			w.send(h.a)
		}
		return
	}
	a.linked = false
	back := max(a.backOff, firstBackOff)
	a.backOff = min(2*back, lastBackOff)
	w.push(happening{at: w.now + back/2 + time.Duration(w.rng.Int64N(int64(back/2)+1)), kind: evRetry, a: h.a})
}

// take is the controller's end of a report.
func (w *world) take(h happening) {
	a := &w.agents[h.a]
	if a.report != nil && a.report.sentAt >= h.report.sentAt {
		return
	}
	a.heard, a.reportAt, a.report = w.now, w.now, h.report
}

func sights(pairs []pair, of []int) []sight {
	out := make([]sight, len(of))
	for i, k := range of {
		out[i] = pairs[k].saw
	}
	return out
}
