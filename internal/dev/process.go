package dev

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"relight/internal/rack"
)

// The marks in the environment of all processes of a fleet. Agents hand them down.
const (
	fleetMark = "RELIGHT_DEV"
	hostMark  = "RELIGHT_DEV_HOST"
)

// Pids lists the living processes of a fleet, or of one of its hosts.
func Pids(id, host string) ([]int, error) {
	found, err := living(id, host)
	var pids []int
	for _, p := range found {
		pids = append(pids, p.PID)
	}
	return pids, err
}

// Kill ends every process of a fleet, or of one of its hosts, and returns once
// none is left.
func Kill(ctx context.Context, id, host string) error {
	return rack.KillAll(ctx, func() ([]rack.Process, error) { return living(id, host) })
}

// living finds the marked processes and those that share a session with them: an
// application may have cleared its environment. A session counts if its leader is
// marked or gone, so that a fleet that was started in somebody's shell never
// takes that shell with it.
func living(id, host string) ([]rack.Process, error) {
	if id == "" {
		return nil, errors.New("a fleet without an id has no processes")
	}
	marks := []string{fleetMark + "=" + id}
	if host != "" {
		marks = append(marks, hostMark+"="+host)
	}
	all, err := rack.Processes(func(int) bool { return true })
	if err != nil {
		return nil, err
	}
	own, _ := unix.Getsid(0)
	lives, marked, ours := map[int]bool{}, map[int]bool{}, map[int]bool{}
	for _, p := range all {
		lives[p.PID], marked[p.PID] = true, hasMarks(p.PID, marks)
	}
	for _, p := range all {
		at := p.Session
		ours[at] = ours[at] || marked[p.PID] && at != own && at != 0 && (!lives[at] || marked[at])
	}
	return slices.DeleteFunc(all, func(p rack.Process) bool { return !marked[p.PID] && !ours[p.Session] }), nil
}

// isAgent reports whether the process is a host agent, by its command line.
func isAgent(pid int) bool {
	p, ok := rack.Look(pid)
	return ok && p.Is("agent", "host")
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
