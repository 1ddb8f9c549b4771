//go:build !linux

package beat

import "time"

// BootClock counts from its making on Go's monotonic clock. Agents that hold
// leases run on Linux; elsewhere only the command line does.
func BootClock() Clock {
	start := time.Now()
	return func() int64 { return int64(time.Since(start)) }
}
