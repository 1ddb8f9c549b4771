package controller

import (
	"math"
	"sync"
	"time"
)

// Deadlines is a flat table of when each server is to be looked at again. It is
// scanned as a whole several times a second whatever happens: half the fleet
// dying costs the scan nothing extra.
type Deadlines struct {
	mu    sync.Mutex
	index map[string]int
	names []string
	due   []int64 // nanoseconds since 1970
	free  []int
}

// never is the deadline of a server that only news can change.
const never = math.MaxInt64

// NewDeadlines returns an empty table.
func NewDeadlines() *Deadlines { return &Deadlines{index: map[string]int{}} }

// Set says when the server is due; the zero time means never. An earlier
// deadline that was set meanwhile wins only through Wake.
func (d *Deadlines) Set(name string, at time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.due[d.slot(name)] = nanos(at)
}

// Wake makes the server due at the latest at the given time.
func (d *Deadlines) Wake(name string, at time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	i := d.slot(name)
	if n := nanos(at); n < d.due[i] {
		d.due[i] = n
	}
}

// Remove takes a server out of the table.
func (d *Deadlines) Remove(name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	i, ok := d.index[name]
	if !ok {
		return
	}
	delete(d.index, name)
	d.names[i], d.due[i] = "", never
	d.free = append(d.free, i)
}

// Take returns the servers that are due at now and sets them to never; the pass
// that follows sets them anew.
func (d *Deadlines) Take(now time.Time) []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	limit := now.UnixNano()
	var out []string
	for i, due := range d.due {
		if due <= limit {
			out = append(out, d.names[i])
			d.due[i] = never
		}
	}
	return out
}

func (d *Deadlines) slot(name string) int {
	if i, ok := d.index[name]; ok {
		return i
	}
	if n := len(d.free); n > 0 {
		i := d.free[n-1]
		d.free = d.free[:n-1]
		d.index[name], d.names[i], d.due[i] = i, name, never
		return i
	}
	i := len(d.names)
	d.index[name] = i
	d.names = append(d.names, name)
	d.due = append(d.due, never)
	return i
}

func nanos(at time.Time) int64 {
	if at.IsZero() {
		return never
	}
	return at.UnixNano()
}
