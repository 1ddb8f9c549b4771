package controller

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"relight/internal/beat"
	"relight/internal/core/event"
	"relight/internal/core/fleet"
	"relight/internal/core/lease"
	"relight/internal/store"
)

// Clock drift and margin of the controller's lease. Crystal clocks drift by less
// than 200 parts per million; the margin covers a scheduler that wakes us late.
const (
	leaseDrift  = 0.01
	leaseMargin = 200 * time.Millisecond
)

// Reigning holds this controller's term and lease. It stops being allowed to act
// at start + L(1−drift) − margin, stamped before the renewal was sent.
type Reigning struct {
	journal *Journal
	clock   Clock
	owner   string
	length  time.Duration

	// base is when the steady clock was counted from; boot may be nil, see CountBy.
	base time.Time
	boot beat.Clock

	mu   sync.Mutex
	term fleet.Term
	// until is when the lease ends by clock, counted from sent; zero if there is none.
	until time.Time
	sent  lease.Moment

	// before is the lease of the controller before, as it was seen last, and free is
	// when that one surely has ended; see WaitFor.
	before Lease
	free   time.Time
}

// ErrReigns means that the controller before has renewed its lease: it still may act.
var ErrReigns = errors.New("the controller before holds its lease")

// NewReigning returns a reign that has not begun. length is L, the lease's.
func NewReigning(j *Journal, clock Clock, owner string, length time.Duration) *Reigning {
	return &Reigning{journal: j, clock: clock, owner: owner, length: length, base: clock.Now()}
}

// CountBy has the lease counted by a clock that goes on while the machine is suspended,
// too. It is called before Begin.
func (r *Reigning) CountBy(boot beat.Clock) { r.boot = boot }

// moment reads all clocks. What is read first is the oldest, so that a process that is
// stopped in between makes a lease shorter, and not longer.
func (r *Reigning) moment() (time.Time, lease.Moment) {
	var m lease.Moment
	if r.boot != nil {
		m.Boot = time.Duration(r.boot())
	}
	now := r.clock.Now()
	m.Steady, m.Wall = now.Sub(r.base), now.Round(0).Sub(r.base.Round(0))
	return now, m
}

// WaitFor is how long a new controller must wait for the one before: it may
// still act until its lease ends. Zero if it let go, or if exclusive says that
// its process is known to be dead (it held the lock of the data directory).
func (r *Reigning) WaitFor(exclusive bool) time.Duration {
	held, ok := Get[Lease](r.journal.State, kindLease, "controller")
	if !ok || held.Released || exclusive {
		return 0
	}
	// Renewed is another machine's clock: only the whole length, counted from
	// now, is safe.
	return r.waitOut(held)
}

func (r *Reigning) waitOut(held Lease) time.Duration {
	whole := time.Duration(float64(held.For)*(1+leaseDrift)) + leaseMargin
	r.mu.Lock()
	defer r.mu.Unlock()
	r.before, r.free = held, r.clock.Now().Add(whole)
	return whole
}

// mayFollow reports whether the controller before has surely let go: after WaitFor
// found its lease, that has not been renewed for its whole length (S10).
func (r *Reigning) mayFollow(held Lease) bool {
	r.mu.Lock()
	before, free := r.before, r.free
	r.mu.Unlock()
	if free.IsZero() || held.Released {
		return true
	}
	if held.Term != before.Term || !held.Renewed.Equal(before.Renewed) {
		r.waitOut(held)
		return false
	}
	return !r.clock.Now().Before(free)
}

// followsNow reads the lease alone, and returns ErrReigns if whoever holds it may
// still act: one who waits asks often, and need not read the whole state each time.
func (r *Reigning) followsNow(ctx context.Context, st store.Store) error {
	record, err := st.Get(ctx, root+kindLease+"/controller")
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil
	case err != nil:
		return fmt.Errorf("read the lease: %w", err)
	}
	decoded, err := decode[Lease](record.Value)
	if err != nil {
		return fmt.Errorf("record %s: %w", record.Key, err)
	}
	if held, _ := decoded.(Lease); !r.mayFollow(held) {
		return fmt.Errorf("take the term: %w", ErrReigns)
	}
	return nil
}

// Begin takes the next term. ErrReigns means that whoever holds the present one may
// still act: ask again later.
func (r *Reigning) Begin(ctx context.Context) error {
	sent, by := r.moment()
	var term fleet.Term
	err := r.journal.Do(ctx, sent, func(tx *Tx) error {
		if held, _ := TxGet[Lease](tx, kindLease, "controller"); !r.mayFollow(held) {
			return ErrReigns
		}
		old, _ := TxGet[Reign](tx, kindTerm, "controller")
		term = old.Term + 1
		tx.Put(kindTerm, "controller", Reign{Term: term, Owner: r.owner})
		tx.Put(kindLease, "controller", Lease{Term: term, For: fleet.Duration(r.length), Renewed: sent})
		tx.Emit(event.Event{Kind: event.ControllerTerm, Message: fmt.Sprintf("%s takes term %d", r.owner, term)})
		return nil
	})
	if err != nil {
		return fmt.Errorf("take the term: %w", err)
	}
	r.set(term, sent, by)
	return nil
}

// Renew lengthens the lease. ErrLostAuthority means that this controller must end.
func (r *Reigning) Renew(ctx context.Context) error {
	sent, by := r.moment()
	err := r.journal.Do(ctx, sent, func(tx *Tx) error {
		reign, _ := TxGet[Reign](tx, kindTerm, "controller")
		if reign.Term != r.Authority().Term {
			return ErrLostAuthority
		}
		tx.Put(kindLease, "controller", Lease{Term: reign.Term, For: fleet.Duration(r.length), Renewed: sent})
		return nil
	})
	if err != nil {
		return err
	}
	r.set(r.Authority().Term, sent, by)
	return nil
}

// Release lets go of the lease, so that the next controller need not wait.
func (r *Reigning) Release(ctx context.Context) error {
	r.set(r.Authority().Term, time.Time{}, lease.Moment{})
	return r.journal.Do(ctx, r.clock.Now(), func(tx *Tx) error {
		held, _ := TxGet[Lease](tx, kindLease, "controller")
		if held.Term != r.Authority().Term {
			return nil
		}
		held.Released = true
		tx.Put(kindLease, "controller", held)
		return nil
	})
}

func (r *Reigning) set(term fleet.Term, sent time.Time, by lease.Moment) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.term, r.sent = term, by
	r.journal.term.Store(uint64(term))
	if sent.IsZero() {
		r.until = sent
		return
	}
	r.until = sent.Add(time.Duration(float64(r.length)*(1-leaseDrift)) - leaseMargin)
}

// Authority returns the term and until when it may be used. Time that only another clock
// has counted, because this one stood still in a suspend, is taken off (S10).
func (r *Reigning) Authority() fleet.Authority {
	now, m := r.moment()
	r.mu.Lock()
	defer r.mu.Unlock()
	a := fleet.Authority{Term: r.term, Until: r.until}
	if stood := lease.Elapsed(r.sent, m) - (m.Steady - r.sent.Steady); stood > 0 && now.Before(a.Until) {
		a.Until = a.Until.Add(-stood)
	}
	return a
}

// errNoLease is what a provider call gets that would start without the lease.
var errNoLease = errors.New("this controller's lease has ended")

// Allowed is asked before each call of a provider, and before each request of it that
// changes anything (S10).
func (r *Reigning) Allowed(context.Context) error {
	if !r.clock.Now().Before(r.Authority().Until) {
		return errNoLease
	}
	return nil
}
