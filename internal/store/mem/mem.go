// Package mem is the store in memory, for tests and the simulator: one mutex, no
// clock and no randomness of its own, so that the same calls give the same
// answers.
package mem

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"relight/internal/store"
)

// Hooks let tests of other packages place a fault around a commit. Both run
// outside the store's lock and may use the store.
type Hooks struct {
	// BeforeCommit may refuse: its error is returned and nothing is changed.
	BeforeCommit func(store.Txn) error
	// AfterCommit runs after a commit that succeeded. Its error reaches the
	// caller although the change has happened: a lost acknowledgement.
	AfterCommit func(store.Txn) error
}

// Options say where time comes from and which faults to play.
type Options struct {
	// Now is the time of leases, for example a virtual clock's. Required.
	Now   func() time.Time
	Hooks Hooks
}

// Store implements store.Store. Leases are checked at each call and at Expire;
// no timer runs in between.
type Store struct {
	opts Options

	mu        sync.Mutex
	closed    bool
	rev       store.Revision
	compacted store.Revision
	rows      map[string]row
	keys      keySet   // of rows
	history   []change // rising revisions, all above compacted
	leases    map[store.LeaseID]*lease
	lastLease store.LeaseID
	changed   chan struct{} // closed and replaced when history grows or the store closes
}

type row struct {
	raw   []byte // the envelope
	rev   store.Revision
	lease store.LeaseID
}

type change struct {
	key     string
	raw     []byte
	deleted bool
	rev     store.Revision
}

var _ store.Store = (*Store)(nil)

// New returns an empty store at revision 1.
func New(opts Options) *Store {
	return &Store{
		opts:    opts,
		rev:     1,
		rows:    map[string]row{},
		leases:  map[store.LeaseID]*lease{},
		changed: make(chan struct{}),
	}
}

// enter takes the lock and lets leases end that are over; the caller unlocks if
// there is no error.
func (s *Store) enter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return fmt.Errorf("%w: closed", store.ErrUnavailable)
	}
	s.expire()
	return nil
}

// Get implements store.Store.
func (s *Store) Get(ctx context.Context, key string) (store.Record, error) {
	if err := s.enter(ctx); err != nil {
		return store.Record{}, err
	}
	defer s.mu.Unlock()
	r, ok := s.rows[key]
	if !ok {
		return store.Record{}, fmt.Errorf("key %q: %w", key, store.ErrNotFound)
	}
	return r.record(key)
}

func (r row) record(key string) (store.Record, error) {
	value, err := store.Open(key, r.raw)
	if err != nil {
		return store.Record{}, err
	}
	return store.Record{Key: key, Value: slices.Clone(value), Rev: r.rev}, nil
}

// List implements store.Store.
func (s *Store) List(ctx context.Context, prefix string) ([]store.Record, store.Revision, error) {
	if err := s.enter(ctx); err != nil {
		return nil, 0, err
	}
	defer s.mu.Unlock()
	records, err := s.list(nil, prefix)
	if err != nil {
		return nil, 0, err
	}
	return records, s.rev, nil
}

func (s *Store) list(records []store.Record, prefix string) ([]store.Record, error) {
	for key := range s.keys.from(prefix) {
		if !strings.HasPrefix(key, prefix) {
			break
		}
		record, err := s.rows[key].record(key)
		if err != nil {
			return nil, err
		}
		records = append(records, record)
	}
	return records, nil
}

// Scan implements store.Store. Everything is in memory anyway, so it holds all
// that it visits: the lock must be free while visit runs.
func (s *Store) Scan(ctx context.Context, visit func(store.Record) error, prefixes ...string) (store.Revision, error) {
	if err := s.enter(ctx); err != nil {
		return 0, err
	}
	rev := s.rev
	var records []store.Record
	var err error
	for _, prefix := range prefixes {
		if records, err = s.list(records, prefix); err != nil {
			break
		}
	}
	s.mu.Unlock()
	if err != nil {
		return 0, err
	}
	for _, r := range records {
		if err := visit(r); err != nil {
			return 0, err
		}
	}
	return rev, nil
}

// Commit implements store.Store.
func (s *Store) Commit(ctx context.Context, txn store.Txn) (store.Revision, error) {
	if err := txn.Check(); err != nil {
		return 0, err
	}
	if before := s.opts.Hooks.BeforeCommit; before != nil {
		if err := before(txn); err != nil {
			return 0, err
		}
	}
	rev, err := s.commit(ctx, txn)
	if err != nil {
		return 0, err
	}
	if after := s.opts.Hooks.AfterCommit; after != nil {
		if err := after(txn); err != nil {
			return 0, err
		}
	}
	return rev, nil
}

func (s *Store) commit(ctx context.Context, txn store.Txn) (store.Revision, error) {
	if err := s.enter(ctx); err != nil {
		return 0, err
	}
	defer s.mu.Unlock()
	for _, c := range txn.Compares {
		if s.rows[c.Key].rev != c.Rev { // an absent key has revision zero
			return 0, fmt.Errorf("key %q: %w", c.Key, store.ErrConflict)
		}
	}
	for _, op := range txn.Ops {
		if op.Lease != 0 && s.leases[op.Lease] == nil {
			return 0, fmt.Errorf("key %q: lease %x: %w", op.Key, int64(op.Lease), store.ErrLeaseLost)
		}
	}
	s.apply(txn.Ops)
	return s.rev, nil
}

// apply makes the changes under one new revision, if they change anything.
func (s *Store) apply(ops []store.Op) {
	next := s.rev + 1
	for _, op := range ops {
		old, exists := s.rows[op.Key]
		if op.Delete && !exists {
			continue
		}
		if l := s.leases[old.lease]; l != nil {
			delete(l.keys, op.Key)
		}
		if op.Delete {
			delete(s.rows, op.Key)
			s.keys.remove(op.Key)
			s.history = append(s.history, change{key: op.Key, deleted: true, rev: next})
		} else {
			s.keys.add(op.Key)
			raw := store.Seal(op.Key, op.Value)
			s.rows[op.Key] = row{raw: raw, rev: next, lease: op.Lease}
			if l := s.leases[op.Lease]; l != nil {
				l.keys[op.Key] = true
			}
			s.history = append(s.history, change{key: op.Key, raw: raw, rev: next})
		}
		s.rev = next
	}
	if s.rev == next {
		s.announce()
	}
}

// Health implements store.Store; memory is well until it is closed.
func (s *Store) Health(ctx context.Context) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	s.mu.Unlock()
	return nil
}

// Close implements store.Store.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.closed = true
		s.announce()
	}
	return nil
}

// FlipBit flips one bit of the stored envelope of a key, in the record and in
// the history that watches read: what a bad disk would do.
func (s *Store) FlipBit(key string, bit int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.rows[key]
	if !ok {
		return fmt.Errorf("key %q: %w", key, store.ErrNotFound)
	}
	r.raw[bit/8%len(r.raw)] ^= 1 << (bit % 8) // shared with history
	return nil
}
