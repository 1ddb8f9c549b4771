package guest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"relight/internal/agent/guest/mountinfo"
)

const replyPrefix = "relight-quiesced 1 "

// Reply is how a guest answers Quiesce.
type Reply struct {
	// ID is the order's.
	ID uint64
	// OK is whether the guest holds still now; it does until Thaw, or until the order's
	// time is over.
	OK bool
	// Frozen is how many file systems are frozen. A guest that has any cannot power off.
	Frozen int
	Detail string
}

// Line is the reply on the wire.
func (r Reply) Line() string {
	state := "failed"
	if r.OK {
		state = "ok"
	}
	return oneLine(fmt.Sprintf("%s%d %s %d %s", replyPrefix, r.ID, state, r.Frozen, r.Detail))
}

// ParseReply reads a line with or without its end. Errors: ErrMalformed.
func ParseReply(line string) (Reply, error) {
	rest, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), replyPrefix)
	f := strings.SplitN(rest, " ", 4)
	if !ok || len(f) != 4 || f[1] != "ok" && f[1] != "failed" {
		return Reply{}, ErrMalformed
	}
	id, err := strconv.ParseUint(f[0], 10, 64)
	frozen, bad := strconv.ParseUint(f[2], 10, 16)
	if err != nil || bad != nil {
		return Reply{}, ErrMalformed
	}
	return Reply{ID: id, OK: f[1] == "ok", Frozen: int(frozen), Detail: f[3]}, nil
}

// obeyQuiesce holds the guest still, answers, and lets it go on at Thaw or when the
// order's time is over: a host's agent that died meanwhile must not hold it for ever.
func (g *inside) obeyQuiesce(o Order, reply func(Reply)) {
	ctx, cancel := context.WithTimeout(context.Background(), o.Hold)
	g.mu.Lock()
	busy := g.thaw != nil
	if !busy {
		g.thaw = cancel
	}
	server, epoch := g.server, g.epoch
	g.mu.Unlock()
	if busy {
		cancel()
		reply(Reply{ID: o.ID, Detail: "it is held still already"})
		return
	}
	go func() {
		defer func() {
			cancel()
			g.mu.Lock()
			g.thaw = nil
			g.mu.Unlock()
		}()
		frozen, undo, err := g.hold(ctx, server, epoch)
		defer undo()
		if err != nil {
			say("not quiesced: %v", err)
			reply(Reply{ID: o.ID, Detail: err.Error()})
			return
		}
		detail := fmt.Sprintf("the guest holds still, with %d file systems frozen", frozen)
		say("%s", detail)
		reply(Reply{ID: o.ID, OK: true, Frozen: frozen, Detail: detail})
		<-ctx.Done()
		say("it goes on")
	}()
}

func (g *inside) obeyThaw() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.thaw != nil {
		g.thaw()
	}
}

// hold stops the agent's own writer, runs the administrator's program, and freezes all
// file systems. undo takes all of it back, in reverse, also after an error.
func (g *inside) hold(ctx context.Context, server string, epoch uint64) (frozen int, undo func(), err error) {
	var undos []func()
	undo = func() {
		for _, f := range slices.Backward(undos) {
			f()
		}
	}
	for !g.writing.TryLock() {
		if !sleep(ctx, 5*time.Millisecond) {
			return 0, undo, errors.New("a write of the application does not end")
		}
	}
	undos = append(undos, g.writing.Unlock)
	if hook := g.cfg.Quiesce; hook != "" {
		env := []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "RELIGHT_SERVER=" + server, fmt.Sprintf("RELIGHT_EPOCH=%d", epoch)}
		undos = append(undos, func() {
			if err := runHook(context.Background(), hook, "thaw", env); err != nil {
				say("%v", err)
			}
		})
		if err := runHook(ctx, hook, "freeze", env); err != nil {
			return 0, undo, err
		}
	}
	mounts, err := writable(g.mountinfo)
	if err != nil {
		return 0, undo, err
	}
	for _, at := range mounts {
		thaw, err := freeze(at)
		switch {
		case errors.Is(err, unix.EOPNOTSUPP): // it has nothing to flush that a freeze would
		case err != nil:
			return 0, undo, fmt.Errorf("freeze %s: %w", at, err)
		default:
			undos = append(undos, thaw)
			frozen++
		}
	}
	return frozen, undo, nil
}

func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// runHook runs the program with one word, and kills it when ctx ends.
func runHook(ctx context.Context, path, word string, env []string) error {
	p, err := os.StartProcess(path, []string{path, word}, &os.ProcAttr{Env: env, Files: []*os.File{nil, os.Stderr, os.Stderr}})
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = p.Kill() })
	defer stop()
	s, err := p.Wait()
	switch {
	case err != nil:
	case ctx.Err() != nil:
		err = errors.New("it did not end in time")
	case !s.Success():
		err = errors.New(s.String())
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w", path, word, err)
	}
	return nil
}

// writable lists where file systems are mounted that have a device of their own and are
// written to, each device once, the last mounted first: what lies on another one is
// frozen before it.
func writable(list string) ([]string, error) {
	b, err := os.ReadFile(list)
	if err != nil {
		return nil, err
	}
	mounts, err := mountinfo.Parse(string(b))
	if err != nil {
		return nil, err
	}
	var out []string
	seen := map[string]bool{}
	for _, m := range mounts {
		if m.ReadOnly || !strings.HasPrefix(m.Source, "/dev/") || seen[m.Number] {
			continue
		}
		seen[m.Number] = true
		out = append(out, m.Path)
	}
	slices.Reverse(out)
	return out, nil
}

// The ioctls of <linux/fs.h>.
const (
	fiFreeze = 0xC0045877
	fiThaw   = 0xC0045878
)

// freeze flushes a file system and holds all writes to it; thaw lets them go on.
func freeze(at string) (thaw func(), err error) {
	// Opened before: nothing may be needed of a frozen file system to thaw it.
	fd, err := unix.Open(at, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.IoctlSetInt(fd, fiFreeze, 0); err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	return func() {
		if err := unix.IoctlSetInt(fd, fiThaw, 0); err != nil {
			say("thaw %s: %v", at, err)
		}
		_ = unix.Close(fd)
	}, nil
}
