package pace

import (
	"cmp"
	"strings"
	"time"
)

// Age is what one step of priority is worth in waiting. A work is passed only by
// those whose servers began to wait at most Age times the difference of their
// priorities after its own did: beyond that it goes first, whatever the others'
// priority. With priorities from 0 to HighestPriority nobody is passed for longer
// than 100 minutes (invariant L4).
const Age = time.Minute

// HighestPriority is the priority from which on more makes no difference.
const HighestPriority = 100

// urgency is the time that orders all works: earlier goes first. It does not
// change while a work waits, so that aging costs nothing.
func urgency(w Work) time.Time {
	steps := min(max(w.Priority, 0), HighestPriority)
	if !w.Begins {
		steps++ // what was begun is finished before more is begun
	}
	return w.Since.Add(-time.Duration(steps) * Age)
}

// waiting is a work in its queue.
type waiting struct {
	Work
	urgency time.Time
	seq     uint64
	gone    bool
	// room is true if it waits for Config.InProgress.
	room bool
}

func earlier(a, b *waiting) int {
	return cmp.Or(a.urgency.Compare(b.urgency), cmp.Compare(a.Rank, b.Rank), cmp.Compare(a.seq, b.seq))
}

// queue is a heap of works that stand or fall together: they use the same buckets
// and the same pool.
type queue struct {
	works []*waiting
	uses  []*limits
	names []string
	pool  string
	room  bool
	// skipped is the round of the machine in which its head cannot go.
	skipped uint64
}

func (q *queue) Len() int           { return len(q.works) }
func (q *queue) Less(i, j int) bool { return earlier(q.works[i], q.works[j]) < 0 }
func (q *queue) Swap(i, j int)      { q.works[i], q.works[j] = q.works[j], q.works[i] }

// Push implements heap.Interface.
func (q *queue) Push(x any) {
	w, _ := x.(*waiting)
	q.works = append(q.works, w)
}

// Pop implements heap.Interface.
func (q *queue) Pop() any {
	last := len(q.works) - 1
	w := q.works[last]
	q.works[last] = nil
	q.works = q.works[:last]
	return w
}

// keyOf names the queue of a work.
func keyOf(e *waiting) string {
	room := ""
	if e.room {
		room = "room"
	}
	return strings.Join(append([]string{room, e.Pool}, e.Uses...), "\x00")
}
