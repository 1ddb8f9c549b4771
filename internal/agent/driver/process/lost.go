package process

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"relight/internal/agent/keeper"
	"relight/internal/agent/keeper/proc"
	"relight/internal/agent/volume"
)

// sight is what can be seen of an instance whose keeper is gone. It may miss
// processes, so that an empty one is no evidence.
type sight struct {
	processes []proc.Process // sorted by id
	locksHeld bool
}

func (s sight) alive() bool { return len(s.processes) > 0 || s.locksHeld }

// look finds the processes of an instance by what they inherited: the marks in
// their environment and the descriptor of a volume's lock; and the application
// and all descendants of these.
func (d *Driver) look(e *entry) (sight, error) {
	d.mu.Lock()
	st := e.st
	d.mu.Unlock()
	all, err := proc.List()
	if err != nil {
		return sight{}, fmt.Errorf("look for %s: %w", e.owner(), err)
	}
	boot, err := proc.BootID()
	if err != nil {
		return sight{}, fmt.Errorf("look for %s: %w", e.owner(), err)
	}
	holders, locksHeld, err := e.holders(st.Volumes)
	if err != nil {
		return sight{}, fmt.Errorf("look for %s: %w", e.owner(), err)
	}
	marks := keeper.Marks(e.dir, e.server, uint64(e.epoch))
	found := map[int]proc.Process{}
	for _, p := range all {
		app := boot == st.BootID && p.PID == st.App.PID && p.Start == st.App.Start
		if p.Dead || p.PID == os.Getpid() || !app && !holders[p.PID] && !proc.Marked(p.PID, marks...) {
			continue
		}
		found[p.PID] = p
		for _, c := range proc.Descendants(all, p.PID) {
			found[c.PID] = c
		}
	}
	s := sight{locksHeld: locksHeld}
	for _, pid := range slices.Sorted(maps.Keys(found)) {
		s.processes = append(s.processes, found[pid])
	}
	d.mu.Lock()
	e.seen = s
	d.mu.Unlock()
	return s, nil
}

// holders returns the processes that hold a lock of one of the volumes for this
// instance.
func (e *entry) holders(volumes []keeper.Volume) (map[int]bool, bool, error) {
	pids, any := map[int]bool{}, false
	for _, v := range volumes {
		use, err := volume.Uses(v.Dir)
		if err != nil {
			return nil, false, err
		}
		// Asked after the look: a later epoch's holders would show as a later epoch.
		st, err := volume.Inspect(v.Dir)
		if err != nil {
			return nil, false, err
		}
		if st.Server != e.server || st.Epoch > e.epoch {
			continue
		}
		any = any || st.Locked
		for _, pid := range use.Holders {
			pids[pid] = true
		}
	}
	return pids, any, nil
}

// followLost keeps the sight of an instance up to date until nothing of it is
// seen, or the driver closes. The keeper is waited for, too: its connection breaks
// a moment before it lets go of the locks, and a look in that moment would show
// them held for as long as the application lives.
func (d *Driver) followLost(e *entry) {
	for {
		ends := d.keeperLeft(e)
		s, err := d.look(e)
		if err != nil {
			d.opt.Logger.Error("look", "err", err)
			return
		}
		d.notify()
		ends = append(ends, s.processes...)
		if len(ends) == 0 {
			return
		}
		if err := waitAny(ends, d.closing[0]); err != nil {
			if d.ctx.Err() == nil {
				d.opt.Logger.Error("wait", "server", e.server, "epoch", e.epoch, "err", err)
			}
			return
		}
	}
}

// keeperLeft is the keeper of an instance as long as its process is not gone.
func (d *Driver) keeperLeft(e *entry) []proc.Process {
	d.mu.Lock()
	k, boot := e.st.Keeper, e.st.BootID
	d.mu.Unlock()
	if now, err := proc.BootID(); err != nil || now != boot {
		return nil
	}
	if p, err := proc.Look(k.PID); err != nil || p.Dead || p.Start != k.Start {
		return nil
	}
	return []proc.Process{k}
}

// killLost kills whatever is seen of an instance without a keeper until nothing
// is, and takes its addresses off the host. That is a kindness and no evidence.
func (d *Driver) killLost(ctx context.Context, e *entry) error {
	wake, done, err := os.Pipe()
	if err != nil {
		return err
	}
	defer func() { _ = wake.Close() }()
	defer func() { _ = done.Close() }()
	defer context.AfterFunc(ctx, func() { _ = done.Close() })()
	for {
		s, err := d.look(e)
		if err != nil {
			return err
		}
		if len(s.processes) == 0 {
			break
		}
		for _, p := range s.processes {
			if err := proc.Signal(p, unix.SIGKILL); err != nil {
				return fmt.Errorf("stop %s: %w", e.owner(), err)
			}
		}
		if err := waitAny(s.processes, wake); err != nil {
			return fmt.Errorf("stop %s: %w", e.owner(), errors.Join(err, ctx.Err()))
		}
	}
	d.notify()
	return d.claims().Clear(e.owner(), d.get(e).Addresses)
}

// errWoken means that the other end of the wake pipe was closed.
var errWoken = errors.New("given up")

// waitAny returns when at least one of the processes is gone, or fails with
// errWoken.
func waitAny(ps []proc.Process, wake *os.File) error {
	fds := []unix.PollFd{{Fd: int32(wake.Fd()), Events: unix.POLLIN}}
	defer func() {
		for _, f := range fds[1:] {
			_ = unix.Close(int(f.Fd))
		}
	}()
	for _, p := range ps {
		fd, err := proc.Open(p)
		if errors.Is(err, proc.ErrGone) {
			return nil
		}
		if err != nil {
			return err
		}
		fds = append(fds, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
	}
	for {
		_, err := unix.Poll(fds, -1)
		if err == unix.EINTR {
			continue
		}
		if err == nil && fds[0].Revents != 0 {
			err = errWoken
		}
		return err
	}
}
