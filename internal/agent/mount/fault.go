package mount

import (
	"errors"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"relight/internal/core/mount"
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

// suspects reports whether a file system is to be asked. The question is a transaction of
// ext4, though an empty one: while an array is away, it would end the file system that
// waits for it. So ext4 is asked only once it has counted an error. XFS writes nothing for
// it, and of others nothing is known.
func (m *Machine) suspects(fsType string, d mount.Disk) bool {
	switch {
	case m.Writes == nil:
		return false
	case strings.HasPrefix(fsType, "ext"):
		errs := word(filepath.Join(m.Sys, "fs/ext4", filepath.Base(d.Node)), "errors_count")
		return errs != "" && errs != "0"
	default:
		return fsType == "xfs"
	}
}

// writes asks a file system to remove what it does not have, which one that gave up
// refuses. The list of mounts does not tell on all kernels: in Debian's 6.1 one that gave
// up after errors stays "rw" there. A sync is not enough: that kernel says yes to it.
func writes(path string) error { return unix.Removexattr(path, "trusted.relight.nothing") }
