package keeper

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"relight/internal/agent/keeper/proc"
)

// Marks returns the environment entries that every process of an instance
// inherits and by which it can be found when its keeper is gone. The directory
// tells apart two fleets on one machine that use the same names.
func Marks(dir, server string, epoch uint64) []string {
	return []string{
		fmt.Sprintf("RELIGHT_INSTANCE=%s.%d", server, epoch),
		"RELIGHT_INSTANCE_DIR=" + dir,
	}
}

// start starts the application with the lock descriptors, in a process group of
// its own, in the keeper's session.
func (k *keeper) start(l *Launch) (proc.Process, error) {
	path, err := exec.LookPath(l.Command[0])
	if err != nil {
		return proc.Process{}, err
	}
	in, err := os.Open(os.DevNull)
	if err != nil {
		return proc.Process{}, err
	}
	defer func() { _ = in.Close() }()
	// The log is a file and no pipe: a pipe would break, and its writer with it,
	// when the keeper dies.
	out, err := os.OpenFile(filepath.Join(k.dir, appLogName), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return proc.Process{}, err
	}
	defer func() { _ = out.Close() }()
	files := []*os.File{in, out, out}
	for _, h := range k.volumes {
		files = append(files, h.File())
	}
	for _, h := range k.held {
		files = append(files, h.Files()...)
	}
	dir := l.Dir
	if dir == "" {
		dir = k.dir
	}
	p, err := os.StartProcess(path, l.Command, &os.ProcAttr{
		Dir: dir, Env: k.environ(l), Files: files,
		Sys: &syscall.SysProcAttr{Setpgid: true},
	})
	if err != nil {
		return proc.Process{}, err
	}
	app, err := proc.Look(p.Pid) // at worst a zombie: only reap waits for it
	if err != nil {
		// It runs all the same, and must not pass for a failed start.
		k.log.Error("look at the application", "err", err)
		app = proc.Process{PID: p.Pid}
	}
	_ = p.Release()
	return app, nil
}

// environ merges the keeper's environment, the order's and ours, in rising rank.
func (k *keeper) environ(l *Launch) []string {
	merged := map[string]string{}
	set := func(entries ...string) {
		for _, e := range entries {
			name, value, _ := strings.Cut(e, "=")
			merged[name] = value
		}
	}
	set(os.Environ()...)
	set(l.Env...)
	set("RELIGHT_SERVER=" + k.st.Server)
	set(Marks(k.dir, k.st.Server, uint64(k.st.Epoch))...)
	if l.BeatSocket != "" {
		set("RELIGHT_BEAT_SOCKET=" + l.BeatSocket)
	}
	env := make([]string, 0, len(merged))
	for _, name := range slices.Sorted(maps.Keys(merged)) {
		env = append(env, name+"="+merged[name])
	}
	return env
}

// reap waits for every descendant. ECHILD means that none is left: orphans come
// to the keeper, being their subreaper, before their parent can be waited for.
func (k *keeper) reap(app int) {
	how := unix.WALL
	for {
		var ws unix.WaitStatus
		pid, err := unix.Wait4(-1, &ws, how, nil)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.ECHILD:
			k.mu.Lock()
			if k.timer != nil {
				k.timer.Stop()
			}
			k.finish()
			k.mu.Unlock()
			return
		case err != nil:
			// Nothing is known any more, so nothing may be claimed.
			k.log.Error("wait failed", "err", err)
			return
		}
		if pid == app {
			k.exited(ws)
		}
		// All that have ended first: a kill looks at each child, and among the dead of
		// those that start their successor and leave it would never catch up with them.
		if pid != 0 {
			how = unix.WALL | unix.WNOHANG
			continue
		}
		how = unix.WALL
		k.killMu.Lock()
		k.killRest()
		k.killMu.Unlock()
	}
}

func (k *keeper) exited(ws unix.WaitStatus) {
	x := &Exit{Code: ws.ExitStatus(), At: time.Now().UTC()}
	if ws.Signaled() {
		x.Signal = unix.SignalName(ws.Signal())
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.st.Exit = x
	_ = k.put() // logged
}

// stop ends every process and returns when none is left, or when the asker has
// hung up; the stopping itself goes on then. It is called with mu held.
func (k *keeper) stop(grace time.Duration, hungUp <-chan struct{}) error {
	switch k.st.Phase {
	case Attached:
		k.finish()
		return nil
	case Exited:
		k.recheck()
		return nil
	case Running:
	}
	at := time.Now().Add(grace)
	switch {
	case grace <= 0:
		if k.timer != nil {
			k.timer.Stop()
		}
		k.mu.Unlock()
		k.kill()
		k.mu.Lock()
	case k.timer == nil:
		k.log.Info("stop", "grace", grace)
		k.terminate()
		k.killAt, k.timer = at, time.AfterFunc(grace, k.kill)
	case at.Before(k.killAt): // a later stop may only shorten the grace
		k.killAt = at
		k.timer.Reset(grace)
	}
	for k.st.Phase != Exited {
		changed := k.changed
		k.mu.Unlock()
		select {
		case <-changed:
		case <-hungUp:
			k.mu.Lock()
			return errors.New("asker hung up")
		}
		k.mu.Lock()
	}
	return nil
}

// terminate asks the application's process group to end. It signals the members
// one by one: the group's number may belong to a stranger when it is empty.
func (k *keeper) terminate() {
	all, err := proc.Below(os.Getpid())
	if err != nil {
		k.log.Error("terminate", "err", err)
		return
	}
	for _, p := range all {
		if p.Group == k.st.App.PID {
			k.signal(p, unix.SIGTERM)
		}
	}
}

func (k *keeper) kill() {
	k.killMu.Lock()
	defer k.killMu.Unlock()
	k.killing = true
	k.log.Info("kill")
	k.killRest()
}

// killRest kills every descendant that it sees. One that was forked meanwhile is
// found after its parent's end: reap calls killRest then. SIGKILL works on
// stopped processes, too.
func (k *keeper) killRest() {
	if !k.killing {
		return
	}
	all, err := proc.Below(os.Getpid())
	if err != nil {
		k.log.Error("kill", "err", err)
		return
	}
	for _, p := range all {
		k.signal(p, unix.SIGKILL)
	}
}

func (k *keeper) signal(p proc.Process, sig unix.Signal) {
	if err := proc.Signal(p, sig); err != nil {
		k.log.Error("signal", "err", err)
	}
}
