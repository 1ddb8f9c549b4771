package process

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"relight/internal/agent/address"
	"relight/internal/agent/keeper"
	"relight/internal/core/fleet"
)

// Options are what a Driver needs.
type Options struct {
	// Dir is this agent's own directory for instances and what it must remember.
	Dir string
	// Claims is the directory of address claims, shared by all agents of the host.
	Claims string
	// Exec is the command that runs keeper.Main, by its path; "--dir" and a
	// directory follow.
	Exec []string
	// Env is the environment of keepers and, through them, of applications.
	Env    []string
	Logger *slog.Logger
}

// Driver runs the instances of one agent. Its methods may be called at once.
type Driver struct {
	opt     Options
	auth    *authority
	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	closing [2]*os.File // a pipe whose write end closes with Close
	lock    *os.File
	changes chan struct{}
	work    sync.WaitGroup

	mu      sync.Mutex
	entries map[key]*entry
	servers map[string]*sync.Mutex // one starting operation per server
}

type key struct {
	server string
	epoch  fleet.Epoch
}

// entry is one instance directory. Its fields are guarded by Driver.mu.
type entry struct {
	key
	dir  string
	live bool // its keeper answers
	st   keeper.Status
	seen sight // of an instance that lost its keeper
}

// New opens the agent's directory and takes it for this process. Call Adopt next.
// Errors: ErrBusy, keeper.ErrDamaged.
func New(o Options) (*Driver, error) {
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, err
	}
	o.Dir = dir
	// Keepers start in another directory, where a relative path leads elsewhere.
	o.Exec = slices.Clone(o.Exec)
	if len(o.Exec) == 0 {
		return nil, errors.New("process driver: no command for keepers")
	}
	if o.Exec[0], err = filepath.Abs(o.Exec[0]); err != nil {
		return nil, fmt.Errorf("process driver: %w", err)
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if err := os.MkdirAll(filepath.Join(dir, "instances"), 0o700); err != nil {
		return nil, fmt.Errorf("process driver: %w", err)
	}
	// Descriptors that this process got from its parent must not reach keepers:
	// one of them might carry a lock.
	if err := unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return nil, fmt.Errorf("process driver: keep descriptors back: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("process driver: %w", err)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = lock.Close()
		return nil, fmt.Errorf("process driver: %s: %w: %v", dir, ErrBusy, err)
	}
	d := &Driver{
		opt: o, lock: lock, changes: make(chan struct{}, 1),
		entries: map[key]*entry{}, servers: map[string]*sync.Mutex{},
	}
	d.auth, err = openAuthority(dir)
	if err == nil {
		d.closing[0], d.closing[1], err = os.Pipe()
	}
	if err != nil {
		_ = lock.Close()
		return nil, fmt.Errorf("process driver: %w", err)
	}
	d.ctx, d.cancel = context.WithCancel(context.Background())
	return d, nil
}

// Close stops looking after instances and gives the directory free. The instances
// and their keepers go on.
func (d *Driver) Close() {
	d.cancel()
	_ = d.closing[1].Close()
	d.work.Wait()
	_ = d.closing[0].Close()
	// Unlocked, not only closed: a keeper that is just being started may hold a
	// copy of the descriptor for a moment.
	_ = unix.Flock(int(d.lock.Fd()), unix.LOCK_UN)
	_ = d.lock.Close()
}

// Changes receives after Instances may have changed; several changes may come as
// one.
func (d *Driver) Changes() <-chan struct{} { return d.changes }

func (d *Driver) notify() {
	select {
	case d.changes <- struct{}{}:
	default:
	}
}

// Adopt finds the instances that an earlier agent left in the directory and looks
// after them again.
func (d *Driver) Adopt(ctx context.Context) error {
	dirs, err := os.ReadDir(filepath.Join(d.opt.Dir, "instances"))
	if err != nil {
		return fmt.Errorf("adopt: %w", err)
	}
	var errs []error
	for _, e := range dirs {
		i := strings.LastIndexByte(e.Name(), '.')
		epoch, err := strconv.ParseUint(e.Name()[i+1:], 10, 64)
		if i <= 0 || err != nil {
			continue
		}
		if _, err := d.find(ctx, key{e.Name()[:i], fleet.Epoch(epoch)}); err != nil && !errors.Is(err, ErrAbsent) {
			errs = append(errs, fmt.Errorf("adopt %s: %w", e.Name(), err))
		}
	}
	return errors.Join(errs...)
}

// find returns the instance's entry, from memory or from its directory. ErrAbsent
// means that no keeper ever came to work for it.
func (d *Driver) find(ctx context.Context, k key) (*entry, error) {
	d.mu.Lock()
	e := d.entries[k]
	d.mu.Unlock()
	if e != nil {
		return e, nil
	}
	e = &entry{key: k, dir: d.dirOf(k)}
	if _, err := os.Stat(e.dir); errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s.%d: %w", k.server, k.epoch, ErrAbsent)
	}
	st, err := keeper.Call(ctx, e.dir, keeper.Request{Op: keeper.OpStatus, Server: k.server, Epoch: k.epoch})
	switch {
	case err == nil:
		e.st, e.live = st, true
	case !errors.Is(err, keeper.ErrNoKeeper):
		return nil, err
	default:
		if err := e.load(); err != nil {
			return nil, err
		}
	}
	return d.add(e), nil
}

// load reads what a keeper that is gone has left. A damaged state tells nothing:
// the instance then counts as one that may run.
func (e *entry) load() error {
	st, err := keeper.ReadState(e.dir)
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%s.%d: %w", e.server, e.epoch, ErrAbsent)
	}
	if err != nil || st.Server != e.server || st.Epoch != e.epoch {
		st = keeper.Status{Phase: keeper.Running, Trouble: fmt.Sprintf("state is lost: %v", err)}
	}
	st.Server, st.Epoch = e.server, e.epoch
	e.st, e.live = st, false
	return nil
}

// add puts an entry on the table and starts to look after it.
func (d *Driver) add(e *entry) *entry {
	d.mu.Lock()
	defer d.mu.Unlock()
	if have := d.entries[e.key]; have != nil {
		return have
	}
	d.entries[e.key] = e
	lost := e.lost()
	switch {
	case d.ctx.Err() != nil:
	case e.live:
		d.work.Go(func() { d.follow(e) })
	case lost:
		d.work.Go(func() { d.followLost(e) })
	}
	d.notify()
	return e
}

// lost reports whether the instance may run without a keeper.
func (e *entry) lost() bool { return !e.live && e.st.Phase != keeper.Exited }

// Dir is the instance's directory, where its application runs.
func (d *Driver) Dir(server string, epoch fleet.Epoch) string { return d.dirOf(key{server, epoch}) }

func (d *Driver) dirOf(k key) string {
	return filepath.Join(d.opt.Dir, "instances", fmt.Sprintf("%s.%d", k.server, k.epoch))
}

// follow takes over the keeper's status until the driver closes or the keeper is
// gone.
func (d *Driver) follow(e *entry) {
	r := keeper.Request{Server: e.server, Epoch: e.epoch}
	err := keeper.Watch(d.ctx, e.dir, r, func(st keeper.Status) { d.take(e, st) })
	if d.ctx.Err() != nil {
		return
	}
	d.opt.Logger.Info("keeper is gone", "server", e.server, "epoch", e.epoch, "err", err)
	d.lose(e)
}

// take accepts a status unless a later one is known.
func (d *Driver) take(e *entry, st keeper.Status) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if st.Rev > e.st.Rev || e.st.Rev == 0 {
		e.st = st
		d.notify()
	}
}

// lose notes that the keeper is gone. What it wrote down last counts; if that is
// the end of the instance, nothing is lost.
func (d *Driver) lose(e *entry) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !e.live {
		return
	}
	last := e.st
	if err := e.load(); err != nil { // the keeper was there, so its state must be
		e.st, e.live = last, false
		e.st.Trouble = err.Error()
	}
	if e.lost() && d.ctx.Err() == nil {
		d.work.Go(func() { d.followLost(e) })
	}
	d.notify()
}

// Instances returns all instances of this agent, by server and epoch.
func (d *Driver) Instances() []Instance {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := make([]Instance, 0, len(d.entries))
	for _, e := range d.entries {
		all = append(all, d.instance(e))
	}
	slices.SortFunc(all, func(a, b Instance) int {
		return cmp.Or(cmp.Compare(a.Server, b.Server), cmp.Compare(a.Epoch, b.Epoch))
	})
	return all
}

// instance must be called with mu held.
func (d *Driver) instance(e *entry) Instance {
	in := instanceOf(e.st)
	in.Fenced = d.auth.fenced(e.server, e.epoch)
	if e.lost() {
		in.State, in.Reaped, in.LocksFree = KeeperLost, false, false
		for _, p := range e.seen.processes {
			in.Processes = append(in.Processes, p.PID)
		}
		in.LocksHeld = e.seen.locksHeld
	}
	return in
}

func (d *Driver) get(e *entry) Instance {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.instance(e)
}

// claims are the claims on this host's addresses.
func (d *Driver) claims() address.Claims {
	return address.Claims{Dir: d.opt.Claims, Net: address.Host{}}
}
