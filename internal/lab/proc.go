package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"relight/internal/rack"
)

// netns is where named network namespaces lie.
const netns = "/run/netns"

// process is one living process of the lab.
type process = rack.Process

// isVM reports whether it is a virtual machine's process.
func isVM(p process) bool { return strings.HasPrefix(p.Program(), "qemu-system") }

// isVMOf reports whether it is the process of that server's virtual machine.
func isVMOf(p process, server string) bool {
	return isVM(p) && (strings.Contains(strings.Join(p.Args, " "), "guest="+server+".") || isStandbyOf(p, server))
}

// isStandbyOf reports whether it is the process of a standby guest of that server, or of
// one that was.
func isStandbyOf(p process, server string) bool {
	return strings.Contains(strings.Join(p.Args, " "), "guest="+server+"+warm.")
}

// processes lists the living processes in a namespace: whoever runs there belongs
// to the node, whatever it did with its environment, session or parents.
func processes(namespace string) ([]process, error) {
	want, err := inode(namespace)
	if err != nil || want == "" {
		return nil, err
	}
	return rack.Processes(func(pid int) bool {
		in, err := os.Readlink(filepath.Join("/proc", strconv.Itoa(pid), "ns/net"))
		return err == nil && in == want
	})
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

// killAll ends every process in a namespace.
func killAll(ctx context.Context, namespace string) error {
	err := rack.KillAll(ctx, func() ([]process, error) { return processes(namespace) })
	if err != nil {
		return fmt.Errorf("%s: %w", namespace, err)
	}
	return nil
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
			if err := p.Signal(unix.SIGKILL); err != nil {
				return len(hit), err
			}
		}
	}
	return len(hit), poll(ctx, func() (bool, error) {
		for _, p := range hit {
			if p.Lives() {
				return false, fmt.Errorf("process %d has not ended", p.PID)
			}
		}
		return true, nil
	})
}

// poll asks again and again until done is true; of the error that comes with it
// remains what is fatal. When ctx ends it returns what done said last.
func poll(ctx context.Context, done func() (bool, error)) error {
	var end error
	err := rack.Poll(ctx, func() (bool, error) {
		ok, err := done()
		if ok {
			end = fatal(err)
		}
		return ok, err
	})
	return errors.Join(err, end)
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
	p, err := l.lives(host, func(p process) bool { return p.Is(args...) })
	return p.PID, err
}
