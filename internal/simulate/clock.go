package simulate

import (
	"errors"
	"time"
	"unsafe"

	"relight/internal/provider"
)

// A machine has two clocks: the time of day, which NTP, a person, a wrong clock on the
// board or a resumed snapshot may set to anything, and a monotonic one, which nobody
// sets. Go's time.Time carries both readings, counts by the second, and loses it on its
// way through a store. A clock that jumps here moves the first alone.

// day is how a machine's time of day was set, in order.
type day struct{ sets []set }

type set struct {
	at time.Time
	by time.Duration
}

func (d *day) jump(at time.Time, by time.Duration) { d.sets = append(d.sets, set{at, by}) }

// off is how far the time of day was from the right one at a moment.
func (d *day) off(at time.Time) (off time.Duration) {
	for _, s := range d.sets {
		if !s.at.After(at) {
			off += s.by
		}
	}
	return off
}

// reading is what time.Now returns on a machine: its time of day, and a monotonic reading
// that is counted from Start. Only the runtime makes such a time otherwise, so it is put
// together as time.Time lies in memory; errNoReadings says where that is another way.
func reading(wall time.Time, steady time.Duration) time.Time {
	const since1885, monotonic = 2682288000, 1 << 63 // seconds from then to 1970; the mark of such a time
	r := wall.UTC()
	bits := (*struct {
		wall uint64
		ext  int64
	})(unsafe.Pointer(&r)) //nolint:gosec // see above
	bits.wall = monotonic | uint64(wall.Unix()+since1885)<<30 | uint64(wall.Nanosecond()) //nolint:gosec // years 1885 to 2157
	bits.ext = int64(steady)
	return r
}

var errNoReadings = errors.New("this build of Go keeps a time otherwise: no clock can jump in it")

// readings checks that two readings are an hour apart by the time of day, and a second by
// the other clock, which is the one that counts.
func readings() error {
	a, b := reading(Start, 0), reading(Start.Add(-time.Hour), time.Second)
	if b.Sub(a) != time.Second || !b.After(a) || !b.Round(0).Equal(Start.Add(-time.Hour)) || b.Add(time.Minute).Sub(a) != 61*time.Second {
		return errNoReadings
	}
	return nil
}

// reported turns what the hosts' agents say since when into what they would: a keeper
// notes the time of day at which its instance began, and the agent tells how long ago
// that is by its own time of day, at least nothing.
func (e *engine) reported(sweep *provider.Sweep) {
	for n := range sweep.Servers {
		list := sweep.Servers[n].Observed.Instances
		for i := range list {
			for _, a := range e.agents {
				if a.host == list[i].Host && !list[i].Since.IsZero() {
					ago := list[i].At.Sub(list[i].Since) + a.day.off(list[i].At) - a.day.off(list[i].Since)
					list[i].Since = list[i].At.Add(-max(ago, 0))
				}
			}
		}
	}
}
