package beat

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// BootClock is the machine's CLOCK_BOOTTIME.
func BootClock() Clock {
	return func() int64 {
		var ts unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
			// Without it no lease can be kept; every Linux since 2.6.39 has it.
			panic(fmt.Sprintf("read CLOCK_BOOTTIME: %v", err))
		}
		return ts.Nano()
	}
}
