package lease

import "time"

// Moment is one moment by all the clocks of one machine. Each is counted from a start of
// its own, and 0 stands for a clock that is not there.
type Moment struct {
	// Steady is the monotonic clock: it is never set, and stands still while the machine
	// is suspended.
	Steady time.Duration
	// Wall is the time of day: it goes on in a suspend, and may be set either way.
	Wall time.Duration
	// Boot is CLOCK_BOOTTIME: it is never set, and goes on in a suspend.
	Boot time.Duration
}

// Elapsed is how much time has passed from one moment to another: the most that any of
// the machine's clocks says. One that stood still, or was set back, must not lengthen a
// lease; one that was set forward ends it too early, which costs its holder a renewal.
// A grantor, who waits for the end of a lease, must not count by it.
func Elapsed(from, to Moment) time.Duration {
	return max(to.Steady-from.Steady, to.Wall-from.Wall, to.Boot-from.Boot, 0)
}
