package mem

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"relight/internal/store"
)

type lease struct {
	ttl  time.Duration
	ends time.Time
	keys map[string]bool
}

// Grant implements store.Store; ttl is not rounded.
func (s *Store) Grant(ctx context.Context, ttl time.Duration) (store.LeaseID, error) {
	if ttl <= 0 {
		return 0, fmt.Errorf("%w: lease of %v", store.ErrInvalid, ttl)
	}
	if err := s.enter(ctx); err != nil {
		return 0, err
	}
	defer s.mu.Unlock()
	s.lastLease++
	s.leases[s.lastLease] = &lease{ttl: ttl, ends: s.opts.Now().Add(ttl), keys: map[string]bool{}}
	return s.lastLease, nil
}

// KeepAlive implements store.Store.
func (s *Store) KeepAlive(ctx context.Context, id store.LeaseID) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	l := s.leases[id]
	if l == nil {
		return fmt.Errorf("lease %x: %w", int64(id), store.ErrLeaseLost)
	}
	l.ends = s.opts.Now().Add(l.ttl)
	return nil
}

// Revoke implements store.Store.
func (s *Store) Revoke(ctx context.Context, id store.LeaseID) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	if s.leases[id] == nil {
		return fmt.Errorf("lease %x: %w", int64(id), store.ErrLeaseLost)
	}
	s.end(id)
	return nil
}

// Expire ends the leases that are over at Now. Every other call does so too; a
// simulator calls Expire after it moved its clock, so that watches hear of it.
func (s *Store) Expire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.expire()
	}
}

// expire goes in order of lease, so that revisions do not depend on map order.
func (s *Store) expire() {
	if len(s.leases) == 0 {
		return
	}
	now := s.opts.Now()
	for _, id := range slices.Sorted(maps.Keys(s.leases)) {
		if !now.Before(s.leases[id].ends) {
			s.end(id)
		}
	}
}

// end removes a lease and, in one revision, its keys.
func (s *Store) end(id store.LeaseID) {
	var ops []store.Op
	for _, key := range slices.Sorted(maps.Keys(s.leases[id].keys)) {
		ops = append(ops, store.Op{Key: key, Delete: true})
	}
	s.apply(ops)
	delete(s.leases, id)
}
