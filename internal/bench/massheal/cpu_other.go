//go:build !linux

package massheal

import "time"

// threadTime is the time that has passed: an upper bound of the thread's own.
func threadTime() time.Duration { return time.Duration(time.Now().UnixNano()) }
