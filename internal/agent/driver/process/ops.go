package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"sync"
	"time"

	"relight/internal/agent/address"
	"relight/internal/agent/keeper"
	"relight/internal/agent/volume"
)

// Attach starts the instance's keeper and has it take the volumes' locks. On an
// error some may be taken: the epoch is then to be stopped like any other.
// Errors: ErrOldTerm, ErrOldEpoch, ErrFenced, ErrAlive, ErrKeeperLost, and those
// of volume.Acquire.
func (d *Driver) Attach(ctx context.Context, o Order) (Instance, error) {
	defer d.only(o.Server)()
	if err := d.auth.mayStart(o.Ref); err != nil {
		return Instance{}, err
	}
	if err := d.alone(o.Ref); err != nil {
		return Instance{}, err
	}
	e, err := d.find(ctx, o.key())
	if errors.Is(err, ErrAbsent) {
		e, err = d.create(ctx, o.Ref)
	}
	if err != nil {
		return Instance{}, err
	}
	// Asked even without volumes: a keeper must be there to launch.
	if err := d.call(ctx, e, o.request(keeper.Request{Op: keeper.OpStatus})); err != nil {
		return d.get(e), err
	}
	for i := range o.Volumes {
		if err := d.call(ctx, e, o.request(keeper.Request{Op: keeper.OpAttach, Volume: &o.Volumes[i], Fresh: o.Fresh})); err != nil {
			return d.get(e), err
		}
	}
	d.sweep(o.key())
	return d.get(e), nil
}

// Claim has the instance take addresses. Errors: address.ErrClaimed and those of
// Attach, ErrAbsent.
func (d *Driver) Claim(ctx context.Context, r Ref, addresses []address.Address) (Instance, error) {
	defer d.only(r.Server)()
	e, err := d.begin(ctx, r)
	if err != nil {
		return Instance{}, err
	}
	for i := range addresses {
		if err := d.call(ctx, e, r.request(keeper.Request{Op: keeper.OpClaim, Address: &addresses[i]})); err != nil {
			return d.get(e), err
		}
	}
	return d.get(e), nil
}

// Launch starts the application, once per epoch. Errors: keeper.ErrLaunch,
// keeper.ErrDifferent, and those of Attach, ErrAbsent.
func (d *Driver) Launch(ctx context.Context, r Ref, l keeper.Launch) (Instance, error) {
	defer d.only(r.Server)()
	e, err := d.begin(ctx, r)
	if err != nil {
		return Instance{}, err
	}
	err = d.call(ctx, e, r.request(keeper.Request{Op: keeper.OpLaunch, Launch: &l}))
	return d.get(e), err
}

// begin admits an operation that leads to a start.
func (d *Driver) begin(ctx context.Context, r Ref) (*entry, error) {
	if err := d.auth.mayStart(r); err != nil {
		return nil, err
	}
	if err := d.alone(r); err != nil {
		return nil, err
	}
	return d.find(ctx, r.key())
}

// Stop fences the epoch on this host and ends every process of it: SIGTERM to the
// application's group, SIGKILL to all after grace, at once if that is 0. It
// returns when none is left. A result of Exited with Reaped and LocksFree is final
// evidence; Absent and KeeperLost are none, and need a seal. Errors: ErrOldTerm,
// ctx's.
func (d *Driver) Stop(ctx context.Context, r Ref, grace time.Duration) (Instance, error) {
	e, err := d.beginStop(ctx, r)
	if errors.Is(err, ErrAbsent) {
		if err := os.RemoveAll(d.dirOf(r.key())); err != nil { // of a start that was cut short
			return Instance{}, err
		}
		return Instance{Server: r.Server, Epoch: r.Epoch, State: Absent, Fenced: true}, nil
	}
	if err != nil {
		return Instance{}, err
	}
	err = d.call(ctx, e, r.request(keeper.Request{Op: keeper.OpStop, Grace: grace}))
	if errors.Is(err, ErrKeeperLost) {
		err = d.killLost(ctx, e)
	}
	return d.get(e), err
}

// beginStop waits for a running start of the server, so that it cannot come to
// its effect after the stop, but lets several stops run at once: a later one may
// shorten the grace.
func (d *Driver) beginStop(ctx context.Context, r Ref) (*entry, error) {
	defer d.only(r.Server)()
	if err := d.auth.obey(r); err != nil {
		return nil, err
	}
	if err := d.auth.fence(r); err != nil {
		return nil, err
	}
	return d.find(ctx, r.key())
}

// Detach lets go of volumes and addresses of an instance that does not run. It
// ends an instance that was not launched. Errors: keeper.ErrRunning,
// ErrKeeperLost, ErrOldTerm, ErrAbsent.
func (d *Driver) Detach(ctx context.Context, r Ref) (Instance, error) {
	return d.simple(ctx, r, keeper.OpDetach)
}

// Retire ends the keeper of an exited instance. What is known of the instance
// stays until a later epoch is attached here. An instance that lost its keeper is
// retired once nothing of it is seen any more. Errors: keeper.ErrNotStopped,
// ErrAlive, ErrOldTerm, ErrAbsent.
func (d *Driver) Retire(ctx context.Context, r Ref) (Instance, error) {
	in, err := d.simple(ctx, r, keeper.OpRetire)
	if !errors.Is(err, ErrKeeperLost) {
		return in, err
	}
	e, err := d.find(ctx, r.key())
	if err != nil {
		return Instance{}, err
	}
	seen, err := d.look(e)
	if err != nil {
		return Instance{}, err
	}
	if seen.alive() {
		return d.get(e), fmt.Errorf("%s.%d: %w", r.Server, r.Epoch, ErrAlive)
	}
	if err := d.claims().Clear(e.owner(), d.get(e).Addresses); err != nil {
		return d.get(e), err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	e.st.Retired = true
	return d.instance(e), keeper.WriteState(e.dir, e.st)
}

func (d *Driver) simple(ctx context.Context, r Ref, op keeper.Op) (Instance, error) {
	if err := d.auth.obey(r); err != nil {
		return Instance{}, err
	}
	e, err := d.find(ctx, r.key())
	if err != nil {
		return Instance{}, err
	}
	err = d.call(ctx, e, r.request(keeper.Request{Op: op}))
	return d.get(e), err
}

// Seal shows that no process of the epoch can write to the volume at dir, on
// whichever host of its disk, and fences the epoch on this host. Errors:
// ErrOldTerm, ErrAlive, ErrNotFound, and those of volume.Seal.
func (d *Driver) Seal(_ context.Context, r Ref, dir string) (volume.Sealed, error) {
	defer d.only(r.Server)()
	if err := d.auth.obey(r); err != nil {
		return volume.Sealed{}, err
	}
	known := false
	for _, e := range d.of(r.Server) {
		in := d.get(e)
		for _, v := range in.Volumes {
			known = known || v.Dir == dir && in.Epoch <= r.Epoch
		}
		if in.State != KeeperLost || in.Epoch > r.Epoch {
			continue
		}
		// The lock tells nothing of a process that closed what it inherited.
		seen, err := d.look(e)
		if err != nil {
			return volume.Sealed{}, err
		}
		if len(seen.processes) > 0 {
			return volume.Sealed{}, fmt.Errorf("seal %s: %s: %w", dir, e.owner(), ErrAlive)
		}
	}
	s, err := volume.Seal(dir, r.Server, r.Epoch)
	if err != nil {
		return volume.Sealed{}, err
	}
	if s.Fresh && known {
		return volume.Sealed{}, fmt.Errorf("seal %s: %s.%d: %w", dir, r.Server, r.Epoch, ErrNotFound)
	}
	return s, d.auth.fence(r)
}

func (r Ref) key() key { return key{r.Server, r.Epoch} }

func (r Ref) request(q keeper.Request) keeper.Request {
	q.Server, q.Epoch, q.Term = r.Server, r.Epoch, r.Term
	return q
}

func (e *entry) owner() string { return fmt.Sprintf("%s.%d", e.server, e.epoch) }

// only lets one starting operation per server run at a time.
func (d *Driver) only(server string) (unlock func()) {
	d.mu.Lock()
	m := d.servers[server]
	if m == nil {
		m = new(sync.Mutex)
		d.servers[server] = m
	}
	d.mu.Unlock()
	m.Lock()
	return m.Unlock
}

// of returns the server's instances on this host.
func (d *Driver) of(server string) []*entry {
	d.mu.Lock()
	defer d.mu.Unlock()
	var found []*entry
	for k, e := range d.entries {
		if k.server == server {
			found = append(found, e)
		}
	}
	return found
}

// alone is the host's own guard against two instances of one server: it refuses
// while another epoch may have a process here. The controller's proof stands
// above it; this costs nothing and covers servers without volumes.
func (d *Driver) alone(r Ref) error {
	for _, e := range d.of(r.Server) {
		if e.epoch == r.Epoch {
			continue
		}
		in := d.get(e)
		alive := in.State != Exited
		if in.State == KeeperLost {
			seen, err := d.look(e)
			if err != nil {
				return err
			}
			alive = seen.alive()
		}
		if alive {
			return fmt.Errorf("%s.%d: %w: %d", r.Server, r.Epoch, ErrAlive, e.epoch)
		}
	}
	return nil
}

// create makes the instance directory and starts its keeper. A directory without
// a state, in which no keeper answers, is one whose keeper never came to work.
func (d *Driver) create(ctx context.Context, r Ref) (*entry, error) {
	e := &entry{key: r.key(), dir: d.dirOf(r.key())}
	if err := os.MkdirAll(e.dir, 0o700); err != nil {
		return nil, err
	}
	c := keeper.Config{Server: r.Server, Epoch: r.Epoch, Term: r.Term, Claims: d.opt.Claims}
	if err := keeper.WriteConfig(e.dir, c); err != nil {
		return nil, err
	}
	cmd, err := keeper.Start(e.dir, d.opt.Exec, d.opt.Env)
	if err != nil {
		return nil, fmt.Errorf("start keeper of %s: %w", e.owner(), err)
	}
	// Not part of work: the keeper outlives the driver, and this waits for it.
	go func() { _ = cmd.Wait() }()
	st, err := keeper.Call(ctx, e.dir, r.request(keeper.Request{Op: keeper.OpStatus}))
	if err != nil {
		return nil, fmt.Errorf("start keeper of %s: %w", e.owner(), err)
	}
	e.st, e.live = st, true
	return d.add(e), nil
}

// call asks the instance's keeper. For an instance that has ended it answers from
// what is known; without a keeper it fails with ErrKeeperLost.
func (d *Driver) call(ctx context.Context, e *entry, q keeper.Request) error {
	d.mu.Lock()
	live, st := e.live, e.st
	d.mu.Unlock()
	if live {
		got, err := keeper.Call(ctx, e.dir, q)
		if err == nil {
			d.take(e, got)
		}
		if !errors.Is(err, keeper.ErrNoKeeper) {
			return err
		}
		d.lose(e)
		d.mu.Lock()
		st = e.st
		d.mu.Unlock()
	}
	if st.Phase != keeper.Exited {
		return fmt.Errorf("%s: %w", e.owner(), ErrKeeperLost)
	}
	if q.Op == keeper.OpRetire {
		return d.markRetired(e)
	}
	if err := replay(st, q); err != nil {
		return fmt.Errorf("%s: %w", e.owner(), err)
	}
	return nil
}

// replay answers for the keeper of an instance that has ended, as it would.
func replay(st keeper.Status, q keeper.Request) error {
	switch q.Op {
	case keeper.OpAttach:
		if !slices.Contains(st.Volumes, *q.Volume) {
			return keeper.ErrStopped
		}
	case keeper.OpClaim:
		if !slices.Contains(st.Addresses, *q.Address) {
			return keeper.ErrStopped
		}
	case keeper.OpLaunch:
		if st.Launch == nil {
			return keeper.ErrStopped
		}
		if !reflect.DeepEqual(st.Launch, q.Launch) {
			return keeper.ErrDifferent
		}
		if x := st.Exit; x != nil && x.Error != "" {
			return fmt.Errorf("%w: %s", keeper.ErrLaunch, x.Error)
		}
	default: // what else is asked is so already
	}
	return nil
}

// markRetired notes the retirement of an exited instance whose keeper is gone.
func (d *Driver) markRetired(e *entry) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if e.st.Retired {
		return nil
	}
	e.st.Retired = true
	return keeper.WriteState(e.dir, e.st)
}

// sweep removes what is known of the server's retired instances, now that a later
// one is attached.
func (d *Driver) sweep(k key) {
	for _, e := range d.of(k.server) {
		d.mu.Lock()
		old := e.epoch < k.epoch && e.st.Retired && !e.live
		if old {
			delete(d.entries, e.key)
		}
		d.mu.Unlock()
		if old {
			if err := os.RemoveAll(e.dir); err != nil {
				d.opt.Logger.Error("remove a retired instance", "dir", e.dir, "err", err)
			}
			d.notify()
		}
	}
}
