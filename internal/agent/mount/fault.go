package mount

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"
)

// answerWithin is how long a file system may take to say that it is whole.
const answerWithin = 2 * time.Second

// fault is why the file system that is mounted on a path takes no writes, or "". One that
// does not answer may only wait for its disk, or be frozen: that is no fault yet, and
// nobody asks it a second time meanwhile.
func (v *Volumes) fault(path string) string {
	done := v.asked[path]
	if done == nil {
		done = make(chan error, 1)
		v.asked[path] = done
		go func() { done <- v.machine.Writes(path) }()
	}
	limit := time.NewTimer(answerWithin)
	defer limit.Stop()
	select {
	case err := <-done:
		delete(v.asked, path)
		if errors.Is(err, unix.EROFS) || errors.Is(err, unix.EIO) {
			return err.Error()
		}
	case <-limit.C:
	}
	return ""
}

// writes asks a file system to remove what it does not have, which one that gave up
// refuses. The list of mounts does not tell: since Linux 6.12, and in Debian's 6.1, one
// that gave up after errors stays "rw" there. A sync is not enough: Debian's says yes.
func writes(path string) error { return unix.Removexattr(path, "trusted.relight.nothing") }
