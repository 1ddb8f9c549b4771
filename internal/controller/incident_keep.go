package controller

import (
	"cmp"
	"slices"
	"time"
)

// keepClosed is how many closed incidents are kept, those that closed last: a fleet
// whose servers fail one by one never comes to an end of them. What was told of the
// others stays in the audit record.
const keepClosed = 2000

// dropAtOnce bounds what one transaction drops, should there be many more.
const dropAtOnce = 64

// closedIncident is when an incident closed.
type closedIncident struct {
	id string
	at time.Time
}

func (c closedIncident) compare(o closedIncident) int {
	return cmp.Or(c.at.Compare(o.at), cmp.Compare(c.id, o.id))
}

// noteClosed keeps the closed incidents in the order in which they closed.
func (s *State) noteClosed(in Incident) {
	c := closedIncident{id: in.ID, at: in.Closed}
	if at, known := slices.BinarySearchFunc(s.closed, c, closedIncident.compare); !known {
		s.closed = slices.Insert(s.closed, at, c)
	}
}

// dropClosed forgets the incidents that closed longest ago, if there are more than
// are kept.
func (tx *Tx) dropClosed() {
	tx.state.mu.RLock()
	more := len(tx.state.closed) - keepClosed
	oldest := slices.Clone(tx.state.closed[:min(max(more, 0), dropAtOnce)])
	tx.state.mu.RUnlock()
	for _, c := range oldest {
		if !tx.touched(kindIncident, c.id) {
			tx.Delete(kindIncident, c.id)
		}
	}
}

// forgetClosed takes a dropped incident out of the order.
func (s *State) forgetClosed(id string) {
	s.closed = slices.DeleteFunc(s.closed, func(c closedIncident) bool { return c.id == id })
}
