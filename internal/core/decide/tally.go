package decide

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"relight/internal/core/fleet"
)

// Tally keeps a survey up to date row by row, so that a change of one server costs
// the same in a fleet of any size. It is for one goroutine at a time.
type Tally struct {
	sum Surveyed
	// losses holds, by host, the losses that LostHosts names the latest of.
	losses map[string][]loss
	blind  int
	moved  uint64
}

// loss is a number of servers that their host lost at the same time.
type loss struct {
	at      time.Time
	servers int
}

// ownView is the cause of a verdict that the observer gives while it doubts itself.
const ownView = "own view"

// NewTally returns an empty tally.
func NewTally() *Tally {
	return &Tally{
		sum:    Surveyed{Domains: map[string]Count{}, LostHosts: map[string]time.Time{}},
		losses: map[string][]loss{},
	}
}

// Add counts a row.
func (t *Tally) Add(r Row) { t.count(r, 1) }

// Remove takes back a row that was added; it must be the very same.
func (t *Tally) Remove(r Row) { t.count(r, -1) }

// Sum returns the present survey. It shares its maps with the tally: it is good
// until the next Add or Remove.
func (t *Tally) Sum() Surveyed { return t.sum }

// Moved counts the changes of what the storm classifier looks at: as long as it
// stays, so does the classifier's finding.
func (t *Tally) Moved() uint64 { return t.moved }

func (t *Tally) count(r Row, n int) {
	t.domain("fleet", r, n)
	for _, site := range r.Sites {
		t.domain(site, r, n)
	}
	if r.Verdict == fleet.Unknown && r.Cause == ownView {
		t.doubt(n)
	}
	host, ok := strings.CutPrefix(r.Cause, "host ")
	if ok && (r.Verdict == fleet.Down || r.Verdict == fleet.Isolated) && !r.Since.IsZero() {
		t.lose(host, r.Since, n)
	}
}

func (t *Tally) domain(name string, r Row, n int) {
	c := t.sum.Domains[name]
	c.Total += n
	switch r.Verdict {
	case fleet.Healthy:
		c.Healthy += n
	case fleet.Suspect:
		c.Suspect += n
	case fleet.Down, fleet.Isolated, fleet.Impaired:
		c.Down += n
	default: // unknown: counted in the total only
	}
	switch {
	case r.Phase == fleet.PhaseRecovering:
		c.Recovering += n
	case r.Phase == fleet.PhaseNeedsPerson:
		// It waits for a person, not for a budget: others must not wait for it (L4).
	case r.Verdict == fleet.Down || r.Verdict == fleet.Impaired:
		c.Waiting = waiting(c.Waiting, r.Priority, n)
	}
	if c.Total == 0 {
		delete(t.sum.Domains, name)
		return
	}
	t.sum.Domains[name] = c
}

// waiting adds n servers of a priority to the list, in place where it can.
func waiting(list []fleet.Waiting, priority, n int) []fleet.Waiting {
	i, found := slices.BinarySearchFunc(list, priority, func(w fleet.Waiting, p int) int { return cmp.Compare(p, w.Priority) })
	if !found {
		return slices.Insert(list, i, fleet.Waiting{Priority: priority, Servers: n})
	}
	list[i].Servers += n
	if list[i].Servers == 0 {
		list = slices.Delete(list, i, i+1)
	}
	if len(list) == 0 {
		return nil
	}
	return list
}

func (t *Tally) doubt(n int) {
	t.blind += n
	was := t.sum.Blind
	t.sum.Blind = ""
	if t.blind > 0 {
		t.sum.Blind = ownView
	}
	if t.sum.Blind != was {
		t.moved++
	}
}

// lose keeps every time at which a host lost servers, so that the latest that is
// left is known when one of them is taken back.
func (t *Tally) lose(host string, at time.Time, n int) {
	list := t.losses[host]
	i, found := slices.BinarySearchFunc(list, at, func(l loss, at time.Time) int { return l.at.Compare(at) })
	if !found {
		list = slices.Insert(list, i, loss{at: at})
	}
	if list[i].servers += n; list[i].servers == 0 {
		list = slices.Delete(list, i, i+1)
	}
	if len(list) == 0 {
		delete(t.losses, host)
		delete(t.sum.LostHosts, host)
		t.moved++
		return
	}
	t.losses[host] = list
	if last := list[len(list)-1].at; !last.Equal(t.sum.LostHosts[host]) {
		t.sum.LostHosts[host] = last
		t.moved++
	}
}
