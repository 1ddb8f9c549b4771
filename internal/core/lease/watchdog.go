package lease

import (
	"errors"
	"fmt"
	"time"
)

// WatchdogSlack is what is put on top of a watchdog's time-out: devices round, and
// the agent feeds a little after it has decided to.
const WatchdogSlack = time.Second

// ErrWatchdog refuses a watchdog's time-out that does not fit into the lease.
var ErrWatchdog = errors.New("the watchdog's time-out does not fit into the lease")

// Care is what is to be done with the host's watchdog device.
type Care int

// The kinds of care.
const (
	// Disarm: nothing runs that it would have to end. The device must not reset the
	// host if the agent dies now (invariant S16).
	Disarm Care = iota
	// Feed: arm it if it is not, and feed it.
	Feed
	// Starve: something must have ended and has not. If that lasts, the device
	// resets the host.
	Starve
)

// FitWatchdog reports whether a watchdog with that time-out fits into leases of that
// length. The agent gives up what it runs a time-out before the end of its lease, so
// that the device, which was fed last at that moment, resets the host before the
// grantor may take the lease as ended. What is left must be half of the lease at
// least, or a few lost beats would cost a healthy server. Errors: ErrWatchdog.
func FitWatchdog(timeout, lease time.Duration, driftPPM int64, margin time.Duration) error {
	held := time.Duration(HolderDeadline(0, lease, driftPPM, margin))
	most := (held/2 - WatchdogSlack - AskAhead).Truncate(time.Second)
	switch {
	case timeout < time.Second || timeout%time.Second != 0:
		return fmt.Errorf("%w: %s is not a whole number of seconds", ErrWatchdog, timeout)
	case most < time.Second:
		return fmt.Errorf("%w: a lease of %s has no room for one; start the controller with --beat-lease 15s", ErrWatchdog, lease)
	case timeout > most:
		return fmt.Errorf("%w: %s, and a lease of %s has room for %s; start the agent with --watchdog-timeout %s", ErrWatchdog, timeout, lease, most, most)
	default:
		return nil
	}
}

// WatchedUntil is when a host with an armed watchdog must have ended what its lease
// lets it run; leaseUntil is by [HolderDeadline], 0 if none was ever granted.
func WatchedUntil(leaseUntil int64, timeout time.Duration) int64 {
	if leaseUntil == 0 {
		return 0
	}
	return max(leaseUntil-int64(timeout)-int64(WatchdogSlack), 1)
}

// Care decides about the watchdog. It follows a [Isolation.Step] with the same
// running instances, at WatchedUntil.
func (m *Isolation) Care(running []Instance) Care {
	if len(running) == 0 {
		return Disarm
	}
	for _, i := range running {
		if r := m.rounds[i]; r != nil && r.told {
			return Starve
		}
	}
	return Feed
}
