package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// netns is where named network namespaces lie.
const netns = "/run/netns"

// process is one living process. The start, in clock ticks after boot, tells it
// from a later one with its id.
type process struct {
	pid   int
	start uint64
	args  []string
}

// is reports whether it was started with these arguments in a row.
func (p process) is(args ...string) bool {
	return strings.Contains("\x00"+strings.Join(p.args, "\x00")+"\x00", "\x00"+strings.Join(args, "\x00")+"\x00")
}

// isVM reports whether it is a virtual machine's process.
func (p process) isVM() bool {
	return len(p.args) > 0 && strings.HasPrefix(filepath.Base(p.args[0]), "qemu-system")
}

// processes lists the living processes in a namespace: whoever runs there belongs
// to the node, whatever it did with its environment, session or parents.
func processes(namespace string) ([]process, error) {
	want, err := inode(namespace)
	if err != nil || want == "" {
		return nil, err
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var out []process
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		in, err := os.Readlink(filepath.Join("/proc", e.Name(), "ns/net"))
		if err != nil || in != want {
			continue
		}
		if p, ok := look(pid); ok {
			out = append(out, p)
		}
	}
	return out, nil
}

// inode is how /proc names a namespace; empty if there is none.
func inode(namespace string) (string, error) {
	var st unix.Stat_t
	err := unix.Stat(filepath.Join(netns, namespace), &st)
	if errors.Is(err, unix.ENOENT) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("namespace %s: %w", namespace, err)
	}
	return fmt.Sprintf("net:[%d]", st.Ino), nil
}

// isIn reports whether a process is in a namespace.
func isIn(pid int, namespace string) (bool, error) {
	want, err := inode(namespace)
	if err != nil {
		return false, err
	}
	in, err := os.Readlink(filepath.Join("/proc", strconv.Itoa(pid), "ns/net"))
	return in == want, err
}

// look reads one process; false if there is none, or only what is left of it.
func look(pid int) (process, bool) {
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	stat, err := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		return process{}, false
	}
	// "pid (name) state parent ...": the name may hold anything.
	f := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(f) < 20 {
		return process{}, false
	}
	threads, err1 := strconv.Atoi(f[17])
	start, err2 := strconv.ParseUint(f[19], 10, 64)
	if errors.Join(err1, err2) != nil || (f[0] == "Z" || f[0] == "X") && threads <= 1 {
		return process{}, false
	}
	args, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
	return process{pid: pid, start: start, args: strings.Split(strings.TrimRight(string(args), "\x00"), "\x00")}, true
}

// signal sends a signal to exactly this process. One that has ended is no error.
func (p process) signal(sig unix.Signal) error {
	fd, err := unix.PidfdOpen(p.pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("process %d: %w", p.pid, err)
	}
	defer func() { _ = unix.Close(fd) }()
	if now, ok := look(p.pid); !ok || now.start != p.start {
		return nil
	}
	if err := unix.PidfdSendSignal(fd, sig, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("process %d: %w", p.pid, err)
	}
	return nil
}

// killAll ends every process in a namespace, and returns once two looks in a row
// found none: a process may fork while it is being killed.
func killAll(ctx context.Context, namespace string) error {
	for quiet := 0; ; {
		found, err := processes(namespace)
		if err != nil {
			return err
		}
		if len(found) > 0 {
			quiet = 0
		} else if quiet++; quiet == 2 {
			return nil
		}
		for _, p := range found {
			if err := p.signal(unix.SIGKILL); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %d processes are left: %w", namespace, len(found), ctx.Err())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// killSome ends the processes of a namespace that fit, and returns how many there
// were once they are gone.
func killSome(ctx context.Context, namespace string, fits func(process) bool) (int, error) {
	found, err := processes(namespace)
	if err != nil {
		return 0, err
	}
	var hit []process
	for _, p := range found {
		if fits(p) {
			hit = append(hit, p)
			if err := p.signal(unix.SIGKILL); err != nil {
				return len(hit), err
			}
		}
	}
	return len(hit), poll(ctx, func() (bool, error) {
		for _, p := range hit {
			if now, ok := look(p.pid); ok && now.start == p.start {
				return false, fmt.Errorf("process %d has not ended", p.pid)
			}
		}
		return true, nil
	})
}

// poll asks again and again until done is true. When ctx ends it returns what
// done said last.
func poll(ctx context.Context, done func() (bool, error)) error {
	every := time.NewTicker(20 * time.Millisecond)
	defer every.Stop()
	for {
		ok, err := done()
		if ok {
			return fatal(err)
		}
		select {
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		case <-every.C:
		}
	}
}

// fatal keeps of an error what no later look would undo.
func fatal(err error) error {
	if errors.Is(err, errOutcome) || errors.Is(err, errEnded) {
		return err
	}
	return nil
}

// First is the id of a process on a host that was started with these arguments in
// a row.
func (l *Lab) First(host string, args ...string) (int, error) {
	p, err := l.lives(host, func(p process) bool { return p.is(args...) })
	return p.pid, err
}
