package dev

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// The marks in the environment of all processes of a fleet. Agents hand them down.
const (
	fleetMark = "RELIGHT_DEV"
	hostMark  = "RELIGHT_DEV_HOST"
)

// process is one living process. The start, in clock ticks after boot, tells it
// from a later one with its id.
type process struct {
	pid, session int
	start        uint64
}

// Pids lists the living processes of a fleet, or of one of its hosts.
func Pids(id, host string) ([]int, error) {
	found, err := living(id, host)
	var pids []int
	for _, p := range found {
		pids = append(pids, p.pid)
	}
	return pids, err
}

// Kill ends every process of a fleet, or of one of its hosts, and returns once
// two looks in a row found none: a process may fork while it is being killed.
func Kill(ctx context.Context, id, host string) error {
	for quiet := 0; ; {
		found, err := living(id, host)
		if err != nil {
			return err
		}
		if len(found) > 0 {
			quiet = 0
		} else if quiet++; quiet == 2 {
			return nil
		}
		for _, p := range found {
			if err := kill(p); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d processes are left: %w", len(found), ctx.Err())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// kill ends exactly this process.
func kill(p process) error {
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
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("process %d: %w", p.pid, err)
	}
	return nil
}

// living finds the marked processes and those that share a session with them: an
// application may have cleared its environment. A session counts if its leader is
// marked or gone, so that a fleet that was started in somebody's shell never
// takes that shell with it.
func living(id, host string) ([]process, error) {
	if id == "" {
		return nil, errors.New("a fleet without an id has no processes")
	}
	marks := []string{fleetMark + "=" + id}
	if host != "" {
		marks = append(marks, hostMark+"="+host)
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	own, _ := unix.Getsid(0)
	all := map[int]process{}
	marked, ours := map[int]bool{}, map[int]bool{}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		if p, ok := look(pid); ok {
			all[pid] = p
			marked[pid] = hasMarks(pid, marks)
		}
	}
	for pid := range marked {
		s := all[pid].session
		_, led := all[s]
		ours[s] = ours[s] || marked[pid] && s != own && s != 0 && (!led || marked[s])
	}
	var found []process
	for pid, p := range all {
		if marked[pid] || ours[p.session] {
			found = append(found, p)
		}
	}
	slices.SortFunc(found, func(a, b process) int { return a.pid - b.pid })
	return found, nil
}

// look reads one process; false if there is none, or only what is left of it.
func look(pid int) (process, bool) {
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return process{}, false
	}
	// "pid (name) state parent group session ...": the name may hold anything.
	f := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(f) < 20 {
		return process{}, false
	}
	session, err1 := strconv.Atoi(f[3])
	threads, err2 := strconv.Atoi(f[17])
	start, err3 := strconv.ParseUint(f[19], 10, 64)
	// One whose first thread has ended shows as a zombie, though others run on.
	dead := (f[0] == "Z" || f[0] == "X") && threads <= 1
	return process{pid: pid, session: session, start: start}, errors.Join(err1, err2, err3) == nil && !dead
}

// isAgent reports whether the process is a host agent, by its command line.
func isAgent(pid int) bool {
	args, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline"))
	return err == nil && bytes.Contains(args, []byte("\x00agent\x00host\x00"))
}

func hasMarks(pid int, marks []string) bool {
	env, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "environ"))
	if err != nil {
		return false
	}
	have := strings.Split(string(env), "\x00")
	for _, m := range marks {
		if !slices.Contains(have, m) {
			return false
		}
	}
	return true
}
