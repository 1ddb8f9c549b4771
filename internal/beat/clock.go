package beat

// Clock returns nanoseconds of CLOCK_BOOTTIME, which goes on while the machine is
// suspended. Go's own monotonic clock stops then, and a lease on it would seem
// to be held long after it had ended. Tests hand in their own.
type Clock func() int64
