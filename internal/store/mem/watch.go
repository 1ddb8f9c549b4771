package mem

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"relight/internal/store"
)

// announce wakes all watches.
func (s *Store) announce() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// Compact forgets the history up to and including rev, so that a long simulation
// does not grow without end. A watch that has not yet told it breaks.
func (s *Store) Compact(rev store.Revision) {
	s.mu.Lock()
	defer s.mu.Unlock()
	rev = min(rev, s.rev)
	if rev <= s.compacted {
		return
	}
	s.compacted = rev
	s.history = slices.Clone(s.history[s.after(rev):])
	s.announce()
}

// after returns the place in history of the first change above rev.
func (s *Store) after(rev store.Revision) int {
	at, _ := slices.BinarySearchFunc(s.history, rev+1, func(c change, r store.Revision) int {
		return int(c.rev - r)
	})
	return at
}

// Watch implements store.Store. Each watch reads the shared history at its own
// pace, so that a slow one delays nobody and loses nothing.
func (s *Store) Watch(ctx context.Context, prefix string, after store.Revision) (<-chan []store.Event, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	if after < s.compacted {
		return nil, fmt.Errorf("watch of %q after revision %d: %w", prefix, after, store.ErrCompacted)
	}
	out := make(chan []store.Event)
	go func() {
		defer close(out)
		for {
			batch, seen, changed, ok := s.collect(prefix, after)
			if len(batch) > 0 {
				select {
				case out <- batch:
				case <-ctx.Done():
					return
				}
			}
			if !ok {
				return
			}
			after = seen
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
		}
	}()
	return out, nil
}

// collect returns the matching changes after a revision, the revision up to
// which that is complete, and what to wait on for more. It is not ok when the
// watch must end: closed, compacted, or a damaged value follows the batch.
func (s *Store) collect(prefix string, after store.Revision) ([]store.Event, store.Revision, <-chan struct{}, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || after < s.compacted {
		return nil, after, nil, false
	}
	var batch []store.Event
	for _, c := range s.history[s.after(after):] {
		if !strings.HasPrefix(c.key, prefix) {
			continue
		}
		event := store.Event{Key: c.key, Deleted: c.deleted, Rev: c.rev}
		if !c.deleted {
			value, err := store.Open(c.key, c.raw)
			if err != nil {
				// Drop the damaged transaction as a whole: half of it would be a
				// state that never was.
				whole := slices.IndexFunc(batch, func(e store.Event) bool { return e.Rev == c.rev })
				if whole >= 0 {
					batch = batch[:whole]
				}
				return batch, after, nil, false
			}
			event.Value = slices.Clone(value)
		}
		batch = append(batch, event)
	}
	return batch, max(s.rev, after), s.changed, true
}
