package massheal

import (
	"syscall"
	"time"
)

// rusageThread asks for the calling thread's own use.
const rusageThread = 1

// threadTime is the CPU time that the calling thread has used.
func threadTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(rusageThread, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
