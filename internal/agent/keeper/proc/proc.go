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
	Dead    bool   `json:"-"`     // a zombie without living threads: it can do nothing more
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

// parse reads "pid (name) state ppid pgrp session ... num_threads(20) ...
// starttime(22) ...". The name may hold spaces and parentheses. A process whose
// first thread has ended shows as a zombie, though its other threads go on.
func parse(pid int, stat []byte) (Process, error) {
	_, rest, ok := cutLast(stat, ')')
	f := strings.Fields(string(rest))
	if !ok || len(f) < 20 {
		return Process{}, fmt.Errorf("process %d: stat of %d fields is not understood", pid, len(f))
	}
	p := Process{PID: pid}
	var errs [5]error
	p.Parent, errs[0] = strconv.Atoi(f[1])
	p.Group, errs[1] = strconv.Atoi(f[2])
	p.Session, errs[2] = strconv.Atoi(f[3])
	p.Start, errs[3] = strconv.ParseUint(f[19], 10, 64)
	threads, err := strconv.Atoi(f[17])
	errs[4] = err
	p.Dead = (f[0] == "Z" || f[0] == "X") && threads <= 1
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

// Below returns the living descendants of root. It asks only for children where
// the kernel tells them: a look at all of /proc takes so long that processes
// which fork and leave can outrun it.
func Below(root int) ([]Process, error) {
	if _, err := os.Stat("/proc/thread-self/children"); err != nil {
		all, err := List()
		return Descendants(all, root), err
	}
	var found []Process
	seen := map[int]bool{root: true}
	for next := []int{root}; len(next) > 0; next = next[1:] {
		for _, pid := range children(next[0]) {
			if seen[pid] {
				continue
			}
			seen[pid] = true
			next = append(next, pid)
			if p, err := Look(pid); err == nil && !p.Dead {
				found = append(found, p)
			}
		}
	}
	return found, nil
}

func children(pid int) []int {
	var pids []int
	files, _ := filepath.Glob(filepath.Join("/proc", strconv.Itoa(pid), "task", "*", "children"))
	for _, f := range files {
		b, _ := os.ReadFile(f) // a thread that ended has none; they went to another
		for _, w := range strings.Fields(string(b)) {
			if c, err := strconv.Atoi(w); err == nil {
				pids = append(pids, c)
			}
		}
	}
	return pids
}

// Marked reports whether the process was started with all of the entries
// ("NAME=value") in its environment. One that may not be read is not marked.
func Marked(pid int, entries ...string) bool {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "environ"))
	if err != nil {
		return false
	}
	if len(b) == 0 { // its first thread has ended, or it is none of ours
		b = environOfThreads(pid)
	}
	env := strings.Split(string(b), "\x00")
	for _, e := range entries {
		if !slices.Contains(env, e) {
			return false
		}
	}
	return true
}

func environOfThreads(pid int) []byte {
	files, _ := filepath.Glob(filepath.Join("/proc", strconv.Itoa(pid), "task", "*", "environ"))
	for _, f := range files {
		if b, err := os.ReadFile(f); err == nil && len(b) > 0 {
			return b
		}
	}
	return nil
}

// Open returns a descriptor of exactly this process, not of a later one with its
// id. It polls readable when the process ends. Errors: ErrGone.
func Open(p Process) (fd int, err error) {
	fd, err = unix.PidfdOpen(p.PID, 0)
	if errors.Is(err, unix.ESRCH) {
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
