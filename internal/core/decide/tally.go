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
	losses map[string]moments
	// waits holds, by domain and priority, since when each waits.
	waits map[turn]moments
	blind int
	moved uint64
}

// turn is who goes together when a budget has a unit.
type turn struct {
	domain   string
	priority int
}

// moments counts servers by a time, the earliest first, so that the first and the
// last are known when one of them is taken back.
type moments []moment

type moment struct {
	at      time.Time
	servers int
}

func (m moments) add(at time.Time, n int) moments {
	i, found := slices.BinarySearchFunc(m, at, func(o moment, at time.Time) int { return o.at.Compare(at) })
	if !found {
		m = slices.Insert(m, i, moment{at: at})
	}
	if m[i].servers += n; m[i].servers == 0 {
		m = slices.Delete(m, i, i+1)
	}
	return m
}

// ownView is the cause of a verdict that the observer gives while it doubts itself.
const ownView = "own view"

// NewTally returns an empty tally.
func NewTally() *Tally {
	return &Tally{
		sum:    Surveyed{Domains: map[string]Count{}, LostHosts: map[string]time.Time{}},
		losses: map[string]moments{}, waits: map[turn]moments{},
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
		if r.alive() {
			c.Healthy += n
		}
	case fleet.Suspect:
		c.Suspect += n
	case fleet.Down, fleet.Isolated, fleet.Impaired:
		c.Down += n
	default: // unknown: counted in the total only
	}
	if r.Phase == fleet.PhaseRecovering {
		c.Recovering += n
	}
	if r.Waits == name {
		c.Waiting = waiting(c.Waiting, r.Priority, n, t.wait(turn{name, r.Priority}, r.WaitsSince, n))
	}
	if r.Claims > 0 {
		c.Claims = claiming(c.Claims, r.Priority, n*r.Claims)
	}
	if c.Total == 0 {
		delete(t.sum.Domains, name)
		return
	}
	t.sum.Domains[name] = c
}

// wait counts n servers that wait since a time, and returns since when the one does
// that waits longest.
func (t *Tally) wait(who turn, since time.Time, n int) time.Time {
	list := t.waits[who].add(since, n)
	if len(list) == 0 {
		delete(t.waits, who)
		return time.Time{}
	}
	t.waits[who] = list
	return list[0].at
}

// waiting adds n servers of a priority to the list, in place where it can. The
// longest of all of that priority waits since the given time.
func waiting(list []fleet.Waiting, priority, n int, since time.Time) []fleet.Waiting {
	i, found := slices.BinarySearchFunc(list, priority, func(w fleet.Waiting, p int) int { return cmp.Compare(p, w.Priority) })
	if !found {
		return slices.Insert(list, i, fleet.Waiting{Priority: priority, Servers: n, Since: since})
	}
	list[i].Servers += n
	list[i].Since = since
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
	list := t.losses[host].add(at, n)
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
