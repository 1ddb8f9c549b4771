// Package proc looks at and signals Linux processes in ways that cannot hit a
// stranger who got the same process id meanwhile.
package proc

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Process is one process as /proc shows it. PID and Start together name it for
// as long as the host is up.
type Process struct {
	PID     int    `json:"pid"`
	Parent  int    `json:"parent,omitempty"`
	Group   int    `json:"group,omitempty"`
	Session int    `json:"session,omitempty"`
	Start   uint64 `json:"start"` // clock ticks after boot
	Dead    bool   `json:"-"`     // a zombie: it can do nothing more
}

// ErrGone means that the process does not exist any more.
var ErrGone = errors.New("process is gone")

// Look reads one process. A missing one is ErrGone.
func Look(pid int) (Process, error) {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) {
		return Process{}, fmt.Errorf("process %d: %w", pid, ErrGone)
	}
	if err != nil {
		return Process{}, fmt.Errorf("process %d: %w", pid, err)
	}
	return parse(pid, b)
}

// parse reads "pid (name) state ppid pgrp session ... starttime(22) ...". The
// name may hold spaces and parentheses.
func parse(pid int, stat []byte) (Process, error) {
	_, rest, ok := cutLast(stat, ')')
	f := strings.Fields(string(rest))
	if !ok || len(f) < 20 {
		return Process{}, fmt.Errorf("process %d: stat of %d fields is not understood", pid, len(f))
	}
	p := Process{PID: pid, Dead: f[0] == "Z" || f[0] == "X"}
	var errs [4]error
	p.Parent, errs[0] = strconv.Atoi(f[1])
	p.Group, errs[1] = strconv.Atoi(f[2])
	p.Session, errs[2] = strconv.Atoi(f[3])
	p.Start, errs[3] = strconv.ParseUint(f[19], 10, 64)
	if err := errors.Join(errs[:]...); err != nil {
		return Process{}, fmt.Errorf("process %d: %w", pid, err)
	}
	return p, nil
}

func cutLast(b []byte, sep byte) (before, after []byte, ok bool) {
	i := bytes.LastIndexByte(b, sep)
	if i < 0 {
		return b, nil, false
	}
	return b[:i], b[i+1:], true
}

// List returns all processes in sight. Ones that end meanwhile may be missing.
func List() ([]Process, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var all []Process
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		p, err := Look(pid)
		if errors.Is(err, ErrGone) {
			continue
		}
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return all, nil
}

// Descendants returns the living processes of all below root, without root.
func Descendants(all []Process, root int) []Process {
	children := map[int][]Process{}
	for _, p := range all {
		children[p.Parent] = append(children[p.Parent], p)
	}
	var found []Process
	for next := []int{root}; len(next) > 0; {
		below := children[next[0]]
		delete(children, next[0]) // a torn view of /proc must not make a loop
		next = next[1:]
		for _, p := range below {
			next = append(next, p.PID)
			if !p.Dead {
				found = append(found, p)
			}
		}
	}
	return found
}

// Marked reports whether the process was started with all of the entries
// ("NAME=value") in its environment. One that may not be read is not marked.
func Marked(pid int, entries ...string) bool {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "environ"))
	if err != nil {
		return false
	}
	env := strings.Split(string(b), "\x00")
	for _, e := range entries {
		if !slices.Contains(env, e) {
			return false
		}
	}
	return true
}

// Open returns a descriptor of exactly this process, not of a later one with its
// id. It polls readable when the process ends. Errors: ErrGone.
func Open(p Process) (fd int, err error) {
	fd, err = unix.PidfdOpen(p.PID, 0)
	if err == unix.ESRCH {
		return -1, fmt.Errorf("process %d: %w", p.PID, ErrGone)
	}
	if err != nil {
		return -1, fmt.Errorf("process %d: %w", p.PID, err)
	}
	now, err := Look(p.PID)
	if err == nil && (now.Start != p.Start || now.Dead) {
		err = fmt.Errorf("process %d: %w", p.PID, ErrGone)
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// Signal sends sig to exactly this process. A process that is gone is no error.
func Signal(p Process, sig unix.Signal) error {
	fd, err := Open(p)
	if errors.Is(err, ErrGone) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	if err := unix.PidfdSendSignal(fd, sig, nil, 0); err != nil && err != unix.ESRCH {
		return fmt.Errorf("signal process %d: %w", p.PID, err)
	}
	return nil
}

// BootID names the host's current boot: process ids and start times mean nothing
// after it.
func BootID() (string, error) {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(b)), err
}
