package volume

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Use lists the processes that use a volume, as far as this process may see
// them, each list sorted.
type Use struct {
	// Holders have a descriptor of the description that carries the lock of an
	// instance. If Inspect, asked afterwards, names epoch e, then they hold it for
	// an epoch up to e.
	Holders []int
	// Writers have a file of the volume open, or mapped, for writing.
	Writers []int
}

// Uses looks through /proc for the processes that use the volume. It takes no
// lock. Processes of other users, other process namespaces or other mount
// namespaces may stay unseen, so an empty answer proves nothing.
func Uses(dir string) (Use, error) {
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return Use{}, fmt.Errorf("%w: %v", ErrUnreachable, err)
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return Use{}, fmt.Errorf("look for users of %s: %w", dir, err)
	}
	var use Use
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		holds, writes := usesOf(pid, strings.TrimSuffix(real, "/")+"/")
		if holds {
			use.Holders = append(use.Holders, pid)
		}
		if writes {
			use.Writers = append(use.Writers, pid)
		}
	}
	slices.Sort(use.Holders)
	slices.Sort(use.Writers)
	return use, nil
}

// usesOf looks at one process. One that ends meanwhile, or may not be looked at,
// counts as no user.
func usesOf(pid int, prefix string) (holds, writes bool) {
	proc := filepath.Join("/proc", strconv.Itoa(pid))
	fds, err := os.ReadDir(filepath.Join(proc, "fd"))
	if err != nil {
		return false, false
	}
	if len(fds) == 0 { // its first thread has ended; the others show the same
		threads, _ := filepath.Glob(filepath.Join(proc, "task", "*"))
		for _, t := range threads {
			if fds, err = os.ReadDir(filepath.Join(t, "fd")); err == nil && len(fds) > 0 {
				proc = t
				break
			}
		}
	}
	for _, fd := range fds {
		target, err := os.Readlink(filepath.Join(proc, "fd", fd.Name()))
		if err != nil || !strings.HasPrefix(target, prefix) {
			continue
		}
		info, err := os.ReadFile(filepath.Join(proc, "fdinfo", fd.Name()))
		if err != nil {
			continue
		}
		name := strings.TrimSuffix(target[len(prefix):], " (deleted)")
		if name == metaName+"/"+lockName {
			// The kernel lists here only locks of this very description.
			holds = holds || bytes.Contains(info, []byte("OFDLCK"))
		} else if !strings.HasPrefix(name, metaName+"/") {
			writes = writes || opensForWriting(info)
		}
	}
	return holds, writes || mapsForWriting(filepath.Join(proc, "maps"), prefix)
}

func opensForWriting(fdinfo []byte) bool {
	_, rest, ok := bytes.Cut(fdinfo, []byte("flags:"))
	if !ok {
		return false
	}
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	flags, err := strconv.ParseUint(string(bytes.TrimSpace(line)), 8, 64)
	return err == nil && flags&unix.O_ACCMODE != unix.O_RDONLY
}

func mapsForWriting(maps, prefix string) bool {
	f, err := os.Open(maps)
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }()
	for sc := bufio.NewScanner(f); sc.Scan(); {
		// 7f..-7f.. rw-s 00000000 08:01 123   /path
		line := sc.Text()
		_, rest, _ := strings.Cut(line, " ")
		if len(rest) >= 4 && rest[1] == 'w' && rest[3] == 's' && strings.Contains(rest, " "+prefix) {
			return true
		}
	}
	return false
}
