package massheal

import (
	"container/heap"
	"time"
)

// engine is virtual time: events in order, on one thread.
type engine struct {
	now    time.Time
	events events
	seq    uint64
}

// start is an arbitrary instant at which the zone dies.
var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func newEngine() *engine { return &engine{now: start} }

// Now implements the controller's Clock.
func (e *engine) Now() time.Time { return e.now }

// since is the time since the zone died.
func (e *engine) since() time.Duration { return e.now.Sub(start) }

func (e *engine) after(d time.Duration, do func()) { e.at(e.now.Add(d), do) }

func (e *engine) at(t time.Time, do func()) {
	if t.Before(e.now) {
		t = e.now
	}
	e.seq++
	heap.Push(&e.events, event{t, e.seq, do})
}

// run processes events until stop says so, none is left or the limit is reached.
func (e *engine) run(limit time.Duration, stop func() bool) {
	for len(e.events) > 0 && !stop() && e.since() < limit {
		next, _ := heap.Pop(&e.events).(event)
		e.now = next.at
		next.do()
	}
}

type event struct {
	at  time.Time
	seq uint64
	do  func()
}

type events []event

func (q events) Len() int { return len(q) }
func (q events) Less(i, j int) bool {
	if !q[i].at.Equal(q[j].at) {
		return q[i].at.Before(q[j].at)
	}
	return q[i].seq < q[j].seq
}
func (q events) Swap(i, j int) { q[i], q[j] = q[j], q[i] }

// Push implements heap.Interface.
func (q *events) Push(x any) {
	e, _ := x.(event)
	*q = append(*q, e)
}

// Pop implements heap.Interface.
func (q *events) Pop() any {
	old := *q
	last := old[len(old)-1]
	old[len(old)-1] = event{}
	*q = old[:len(old)-1]
	return last
}
