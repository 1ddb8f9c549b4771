package rack

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

// Process is one living process. Start, in clock ticks after boot, tells it from a
// later one with its id.
type Process struct {
	PID, Session int
	Start        uint64
	// Args is its command line; its first is empty while it is becoming another
	// program.
	Args []string
}

// Is reports whether it was started with these arguments in a row.
func (p Process) Is(args ...string) bool {
	return strings.Contains("\x00"+strings.Join(p.Args, "\x00")+"\x00", "\x00"+strings.Join(args, "\x00")+"\x00")
}

// Program is the name of the program that it runs, without its folder.
func (p Process) Program() string { return filepath.Base(p.Args[0]) }

// Processes lists the living processes but ours that keep wants, in the order of
// their ids.
func Processes(keep func(pid int) bool) ([]Process, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var out []Process
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() || !keep(pid) {
			continue
		}
		if p, ok := Look(pid); ok {
			out = append(out, p)
		}
	}
	return out, nil
}

// Look reads one process; false if there is none, or only what is left of it.
func Look(pid int) (Process, bool) {
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	stat, err := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		return Process{}, false
	}
	// "pid (name) state parent group session ...": the name may hold anything.
	f := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(f) < 20 {
		return Process{}, false
	}
	session, err1 := strconv.Atoi(f[3])
	threads, err2 := strconv.Atoi(f[17])
	start, err3 := strconv.ParseUint(f[19], 10, 64)
	// One whose first thread has ended shows as a zombie, though others run on.
	dead := (f[0] == "Z" || f[0] == "X") && threads <= 1
	if errors.Join(err1, err2, err3) != nil || dead {
		return Process{}, false
	}
	args, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
	return Process{PID: pid, Session: session, Start: start, Args: strings.Split(strings.TrimRight(string(args), "\x00"), "\x00")}, true
}

// Lives reports whether exactly this process lives.
func (p Process) Lives() bool {
	now, ok := Look(p.PID)
	return ok && now.Start == p.Start
}

// Signal sends a signal to exactly this process. One that has ended is no error.
func (p Process) Signal(sig unix.Signal) error {
	fd, err := unix.PidfdOpen(p.PID, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("process %d: %w", p.PID, err)
	}
	defer func() { _ = unix.Close(fd) }()
	if !p.Lives() {
		return nil
	}
	if err := unix.PidfdSendSignal(fd, sig, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("process %d: %w", p.PID, err)
	}
	return nil
}

// KillAll ends every process that find finds, and returns once two looks in a row
// found none: a process may fork while it is being killed.
func KillAll(ctx context.Context, find func() ([]Process, error)) error {
	for quiet := 0; ; {
		found, err := find()
		if err != nil {
			return err
		}
		if len(found) > 0 {
			quiet = 0
		} else if quiet++; quiet == 2 {
			return nil
		}
		for _, p := range found {
			if err := p.Signal(unix.SIGKILL); err != nil {
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

// Plain leaves out of an environment what belongs to this program: a person's
// RELIGHT_CONFIG names another engine.
func Plain(env []string) []string {
	var out []string
	for _, kv := range env {
		if !strings.HasPrefix(kv, "RELIGHT_") {
			out = append(out, kv)
		}
	}
	return out
}

// Poll asks again and again until done is true, whatever error comes with it. When
// ctx ends first it returns what done said last.
func Poll(ctx context.Context, done func() (bool, error)) error {
	every := time.NewTicker(20 * time.Millisecond)
	defer every.Stop()
	for {
		ok, err := done()
		if ok {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		case <-every.C:
		}
	}
}
