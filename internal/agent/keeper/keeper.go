package keeper

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"sync"
	"time"

	"relight/internal/agent/address"
	"relight/internal/agent/keeper/proc"
	"relight/internal/agent/volume"
)

// keeper is the state of one keeper process. Everything below mu is guarded by
// it; stopping has its own lock, since it looks through /proc.
type keeper struct {
	dir    string
	claims address.Claims
	log    *slog.Logger
	done   chan struct{} // closed once a retire was answered
	once   sync.Once

	mu      sync.Mutex
	st      Status
	volumes []*volume.Held
	held    []*address.Held
	changed chan struct{} // closed and replaced at each change
	timer   *time.Timer   // of the grace period
	killAt  time.Time

	killMu  sync.Mutex
	killing bool
}

func newKeeper(dir string, c Config, log *slog.Logger) (*keeper, error) {
	me, err := proc.Look(os.Getpid())
	if err != nil {
		return nil, err
	}
	boot, err := proc.BootID()
	if err != nil {
		return nil, err
	}
	k := &keeper{
		dir: dir, log: log,
		claims:  address.Claims{Dir: c.Claims, Net: address.Host{}},
		done:    make(chan struct{}),
		changed: make(chan struct{}),
		st: Status{
			Server: c.Server, Epoch: c.Epoch, Term: c.Term, Phase: Attached,
			Since: time.Now().UTC(), BootID: boot, Keeper: me,
		},
	}
	return k, k.put()
}

// owner is the name of the instance, as in RELIGHT_INSTANCE.
func (k *keeper) owner() string { return fmt.Sprintf("%s.%d", k.st.Server, k.st.Epoch) }

// put writes the status down and tells the watchers. The evidence of the end is
// made durable; before, a power loss ends the instance anyway.
func (k *keeper) put() error {
	k.st.Rev++
	err := WriteFile(filepath.Join(k.dir, stateName), k.st, k.st.Phase == Exited)
	if err != nil {
		k.log.Error("status is not written", "err", err)
	}
	close(k.changed)
	k.changed = make(chan struct{})
	return err
}

func (k *keeper) enter(p Phase) {
	k.st.Phase, k.st.Since = p, time.Now().UTC()
}

// status returns a copy of the status and a channel that closes at its next
// change.
func (k *keeper) status() (Status, <-chan struct{}) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.copyStatus(), k.changed
}

func (k *keeper) copyStatus() Status {
	st := k.st
	st.Volumes = slices.Clone(st.Volumes)
	st.Addresses = slices.Clone(st.Addresses)
	return st
}

// authorize refuses requests for another instance and of an old controller.
func (k *keeper) authorize(r Request) error {
	if r.Server != k.st.Server || r.Epoch != k.st.Epoch {
		return fmt.Errorf("%s.%d: %w, %s", r.Server, r.Epoch, ErrOtherInstance, k.owner())
	}
	if r.Op == OpStatus || r.Op == OpWatch {
		return nil
	}
	if r.Term < k.st.Term {
		return fmt.Errorf("term %d: %w, %d spoke already", r.Term, ErrOldTerm, k.st.Term)
	}
	if r.Term > k.st.Term {
		k.st.Term = r.Term
		return k.put()
	}
	return nil
}

// do carries out one request other than watch and returns the status after it.
func (k *keeper) do(r Request, hungUp <-chan struct{}) (Status, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.authorize(r); err != nil {
		return Status{}, err
	}
	var err error
	switch r.Op {
	case OpStatus:
		k.recheck()
	case OpAttach:
		err = k.attach(r.Volume, r.Fresh)
	case OpClaim:
		err = k.claim(r.Address)
	case OpLaunch:
		err = k.launch(r.Launch)
	case OpStop:
		err = k.stop(r.Grace, hungUp)
	case OpDetach:
		err = k.detach()
	case OpRetire:
		err = k.retire()
	default:
		err = fmt.Errorf("op %q is unknown", r.Op)
	}
	return k.copyStatus(), err
}

func (k *keeper) attach(v *Volume, fresh bool) error {
	if v == nil {
		return errors.New("attach needs a volume")
	}
	for _, have := range k.st.Volumes {
		if have.Name == v.Name && have != *v {
			return fmt.Errorf("volume %s at %s: %w, %s", v.Name, v.Dir, ErrDifferent, have.Dir)
		}
		if have == *v {
			return nil
		}
	}
	if err := k.notStarted(); err != nil {
		return fmt.Errorf("volume %s: %w", v.Name, err)
	}
	h, err := volume.Acquire(v.Dir, k.st.Server, k.st.Epoch, fresh)
	if err != nil {
		return fmt.Errorf("volume %s: %w", v.Name, err)
	}
	k.volumes = append(k.volumes, h)
	k.st.Volumes = append(k.st.Volumes, *v)
	return k.put()
}

func (k *keeper) claim(a *address.Address) error {
	if a == nil {
		return errors.New("claim needs an address")
	}
	if slices.Contains(k.st.Addresses, *a) {
		return nil
	}
	if err := k.notStarted(); err != nil {
		return fmt.Errorf("address %s: %w", a.IP, err)
	}
	h, err := k.claims.Claim(*a, k.owner())
	if err != nil {
		return fmt.Errorf("address: %w", err)
	}
	k.held = append(k.held, h)
	h.Announce(func(err error) {
		k.log.Warn("address is not announced; neighbours learn it when their caches age", "address", a.IP, "err", err)
	})
	k.st.Addresses = append(k.st.Addresses, *a)
	return k.put()
}

func (k *keeper) notStarted() error {
	switch k.st.Phase {
	case Running:
		return ErrRunning
	case Exited:
		return ErrStopped
	case Attached:
	}
	return nil
}

func (k *keeper) launch(l *Launch) error {
	if l == nil || len(l.Command) == 0 {
		return errors.New("launch needs a command")
	}
	if k.st.Launch != nil {
		if !reflect.DeepEqual(*k.st.Launch, *l) {
			return fmt.Errorf("launch: %w", ErrDifferent)
		}
		if x := k.st.Exit; x != nil && x.Error != "" {
			return fmt.Errorf("%w: %s", ErrLaunch, x.Error)
		}
		return nil
	}
	if err := k.notStarted(); err != nil {
		return err
	}
	// The intent is put down before the effect: whoever finds this state without
	// a keeper knows that processes may exist.
	k.st.Launch = l
	k.enter(Running)
	if err := k.put(); err != nil {
		k.st.Launch, k.st.Phase = nil, Attached
		return err
	}
	app, err := k.start(l)
	if err != nil {
		k.st.Exit = &Exit{Code: -1, Error: err.Error(), At: time.Now().UTC()}
		k.finish()
		return fmt.Errorf("%w: %v", ErrLaunch, err)
	}
	k.st.App = app
	go k.reap(app.PID)
	return k.put()
}

func (k *keeper) detach() error {
	switch k.st.Phase {
	case Running:
		return ErrRunning
	case Attached:
		k.finish()
	case Exited: // it has let go already
	}
	return nil
}

func (k *keeper) retire() error {
	if k.st.Phase != Exited {
		return ErrNotStopped
	}
	if k.st.Retired {
		return nil
	}
	k.recheck()
	k.st.Retired = true
	if err := k.put(); err != nil {
		k.st.Retired = false
		return err
	}
	return nil
}

// finish lets go of everything once no process is left, and checks that the
// locks are free: only a description that is shared with nobody frees them.
func (k *keeper) finish() {
	var errs []error
	for _, h := range k.volumes {
		errs = append(errs, h.Close())
	}
	for _, h := range k.held {
		errs = append(errs, h.Release())
	}
	k.volumes, k.held = nil, nil
	if err := errors.Join(errs...); err != nil {
		k.st.Trouble = err.Error()
	}
	k.st.Reaped = true
	k.enter(Exited)
	k.st.LocksFree = k.locksFree()
	_ = k.put() // logged; the status in memory is right and can be asked for
}

// recheck looks again at locks that were not free when the last process ended:
// a stranger to whom the application passed its descriptor may be gone by now.
func (k *keeper) recheck() {
	if k.st.Phase == Exited && !k.st.LocksFree && k.locksFree() {
		k.st.LocksFree = true
		_ = k.put()
	}
}

func (k *keeper) locksFree() bool {
	for _, v := range k.st.Volumes {
		st, err := volume.Inspect(v.Dir)
		if err != nil {
			k.st.Trouble = err.Error()
			return false
		}
		// A later epoch's lock is not ours: it could be taken because ours was free.
		if st.Locked && st.Epoch == k.st.Epoch {
			return false
		}
	}
	return true
}
