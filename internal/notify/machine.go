package notify

import (
	"slices"
	"time"
)

// The pace of delivery. None has had a user who wants another value.
const (
	// window is how long the first event of an incident waits for others.
	window = 2 * time.Second
	// maxBatch is how many events one message holds at most.
	maxBatch = 256
	// maxQueue is how many events may wait; further ones wait in the journal.
	maxQueue = 4096
	// firstPause doubles with every failure in a row, up to maxPause.
	firstPause = time.Second
	maxPause   = 5 * time.Minute
	// saveEvery keeps a busy journal from writing the cursor as often as itself.
	saveEvery = time.Second
)

// Result is what became of a try to send a message.
type Result int

// The results of a try.
const (
	// Delivered: the receiver took it.
	Delivered Result = iota
	// Refused: the receiver will never take it.
	Refused
	// Again: the receiver may take it later.
	Again
)

// Position is a place in a shard's journal up to which all events have ended.
type Position struct {
	Shard int
	Seq   uint64
}

// Effects is what a runner has to do next.
type Effects struct {
	// Post is the message to send now, or nil. Tell its end to Posted.
	Post *Message
	// Save lists the cursors to store, by shard. Tell their end to Saved.
	Save []Position
	// LookAgainAt is when Next may say more by the clock alone; zero for never.
	LookAgainAt time.Time
}

// Message is what one POST carries.
type Message struct {
	Items []Item
	// ready is when it need not wait for further events.
	ready time.Time
	tries int
}

// Incident is the incident that the message belongs to, or empty.
func (m *Message) Incident() string { return m.Items[0].Event.Incident }

// Machine decides what is sent when. It is not safe for concurrent use.
type Machine struct {
	jitter func() float64

	messages []*Message // in the order of their first event
	waiting  int        // events in messages
	posting  *Message
	failures int       // in a row, of whatever message
	notYet   time.Time // the address is left alone until then

	shards      map[int]*progress
	saveNotYet  time.Time
	saveFailing int
}

// progress is how far a shard has come.
type progress struct{ offered, saved uint64 }

// NewMachine makes a machine. Jitter returns numbers in [0, 1).
func NewMachine(jitter func() float64) *Machine {
	return &Machine{jitter: jitter, shards: map[int]*progress{}}
}

// Full reports whether no further event can be taken now.
func (m *Machine) Full() bool { return m.waiting >= maxQueue }

// Add takes an event of a shard, in the order of the shard's journal. The first
// one of a shard says where the shard's cursor stood. An event that was taken
// before is passed over; of one that is not notable only the place is kept.
func (m *Machine) Add(now time.Time, it Item) {
	p, ok := m.shards[it.Shard]
	if !ok {
		p = &progress{offered: it.Seq - 1, saved: it.Seq - 1}
		m.shards[it.Shard] = p
	}
	if it.Seq <= p.offered {
		return
	}
	p.offered = it.Seq
	if !Notable(it.Event) {
		return
	}
	m.waiting++
	incident := it.Event.Incident
	if incident == "" {
		m.messages = append(m.messages, &Message{Items: []Item{it}, ready: now})
		return
	}
	for _, msg := range m.messages {
		// A message that was tried stays as it is: a receiver that took it, and
		// whose answer was lost, must be able to know it again.
		if msg.Incident() == incident && msg != m.posting && msg.tries == 0 && len(msg.Items) < maxBatch {
			msg.Items = append(msg.Items, it)
			return
		}
	}
	m.messages = append(m.messages, &Message{Items: []Item{it}, ready: now.Add(window)})
}

// Drop forgets a shard that another controller now owns: its waiting events are
// not sent from here, and its cursor is not touched again.
func (m *Machine) Drop(shard int) {
	delete(m.shards, shard)
	for _, msg := range m.messages {
		if msg == m.posting {
			continue // it is on its way
		}
		before := len(msg.Items)
		msg.Items = slices.DeleteFunc(msg.Items, func(it Item) bool { return it.Shard == shard })
		m.waiting -= before - len(msg.Items)
	}
	m.messages = slices.DeleteFunc(m.messages, func(msg *Message) bool { return len(msg.Items) == 0 })
}

// Posted tells how the try to send Effects.Post ended. RetryAfter is what the
// receiver asked for, or zero.
func (m *Machine) Posted(now time.Time, r Result, retryAfter time.Duration) {
	msg := m.posting
	m.posting = nil
	if r == Again {
		msg.tries++
		pause := time.Duration(m.jitter() * float64(backoff(m.failures)))
		m.failures++
		m.notYet = now.Add(min(max(pause, retryAfter), maxPause))
		return
	}
	m.failures = 0
	m.notYet = time.Time{}
	m.waiting -= len(msg.Items)
	m.messages = slices.DeleteFunc(m.messages, func(o *Message) bool { return o == msg })
}

// Saved tells whether a cursor of Effects.Save was stored.
func (m *Machine) Saved(now time.Time, at Position, ok bool) {
	if !ok {
		m.saveNotYet = now.Add(saveEvery + time.Duration(m.jitter()*float64(backoff(m.saveFailing))))
		m.saveFailing++
		return
	}
	m.saveFailing = 0
	m.saveNotYet = now.Add(saveEvery)
	if p := m.shards[at.Shard]; p != nil {
		p.saved = max(p.saved, at.Seq)
	}
}

// Next says what to do now.
func (m *Machine) Next(now time.Time) Effects {
	var out Effects
	if m.posting == nil {
		out.Post, out.LookAgainAt = m.pick(now)
		m.posting = out.Post
	}
	behind := m.behind()
	if len(behind) > 0 && now.Before(m.saveNotYet) {
		out.LookAgainAt = earlier(out.LookAgainAt, m.saveNotYet)
		behind = nil
	}
	out.Save = behind
	return out
}

// pick chooses the message to send now, or says when to look again. A message
// that fails goes behind the others, so that one that the receiver chokes on does
// not keep the rest; but the messages of one incident stay in order.
func (m *Machine) pick(now time.Time) (*Message, time.Time) {
	var best *Message
	var lookAgain time.Time
	incidents := map[string]bool{}
	for _, msg := range m.messages {
		if incident := msg.Incident(); incident != "" {
			if incidents[incident] {
				continue
			}
			incidents[incident] = true
		}
		ready := msg.ready
		if len(msg.Items) >= maxBatch || ready.Before(m.notYet) {
			ready = m.notYet
		}
		if now.Before(ready) {
			lookAgain = earlier(lookAgain, ready)
			continue
		}
		if best == nil || msg.tries < best.tries {
			best = msg
		}
	}
	if best != nil {
		return best, time.Time{}
	}
	return nil, lookAgain
}

// behind lists the shards whose stored cursor is behind what has ended.
func (m *Machine) behind() []Position {
	ended := map[int]uint64{}
	for shard, p := range m.shards {
		ended[shard] = p.offered
	}
	for _, msg := range m.messages {
		for _, it := range msg.Items {
			if seq, ok := ended[it.Shard]; ok {
				ended[it.Shard] = min(seq, it.Seq-1)
			}
		}
	}
	var out []Position
	for shard, p := range m.shards {
		if ended[shard] > p.saved {
			out = append(out, Position{shard, ended[shard]})
		}
	}
	slices.SortFunc(out, func(a, b Position) int { return a.Shard - b.Shard })
	return out
}

// backoff is the longest pause after so many failures in a row before this one.
func backoff(failures int) time.Duration {
	pause := firstPause
	for range failures {
		if pause *= 2; pause >= maxPause {
			return maxPause
		}
	}
	return pause
}

// earlier returns the earlier of two times, where zero means never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || (!b.IsZero() && b.Before(a)) {
		return b
	}
	return a
}
