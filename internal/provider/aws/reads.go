package aws

import (
	"context"
	"slices"
	"sync"
	"time"
)

// reads are the looks that steps make at the account before they act and after. Those
// of steps at the same time share calls: a mass recovery must not use up the
// account's describe calls, which the sweeps need too.
type reads struct {
	machines   *batch[Machine]
	volumes    *batch[Volume]
	interfaces *batch[Interface]
	addresses  *batch[Address]
}

// The most that one describe call is asked for: EC2 takes 200 values in a filter.
const atOnce = 200

func newReads(c Cloud, now func() time.Time) reads {
	return reads{
		machines:   newBatch(now, func(ctx context.Context, servers []string) ([]Machine, error) { return c.Instances(ctx, "", servers) }, func(m Machine) string { return m.Tags[TagServer] }),
		volumes:    newBatch(now, c.Volumes, func(v Volume) string { return v.ID }),
		interfaces: newBatch(now, c.Interfaces, func(i Interface) string { return i.ID }),
		addresses:  newBatch(now, c.Addresses, func(a Address) string { return a.Allocation }),
	}
}

// readWithin bounds one shared call with its wait for a token: whoever waits gives up
// by its own context, and a call that hangs must not hold back those of later callers.
const readWithin = 30 * time.Second

// batch joins the reads of many callers to few calls: while one is under way the
// others gather, and share the next. Each answer comes from a call that began after
// its caller had asked, so that a state read back after an effect is never older
// than that effect.
type batch[T any] struct {
	now func() time.Time
	ask func(context.Context, []string) ([]T, error)
	key func(T) string

	mu      sync.Mutex
	waiting []*wish[T]
	busy    bool
}

// wish is one caller's read.
type wish[T any] struct {
	key  string
	done chan struct{}
	got  []T
	// at is when the call began that answered it: nothing in it is older.
	at  time.Time
	err error
}

func newBatch[T any](now func() time.Time, ask func(context.Context, []string) ([]T, error), key func(T) string) *batch[T] {
	return &batch[T]{now: now, ask: ask, key: key}
}

// read returns what there is under a key, and the time that nothing of it is older than.
func (b *batch[T]) read(ctx context.Context, key string) ([]T, time.Time, error) {
	w := &wish[T]{key: key, done: make(chan struct{})}
	b.mu.Lock()
	b.waiting = append(b.waiting, w)
	if !b.busy {
		b.busy = true
		// Not under the caller's own deadline: others share the call.
		go b.run(context.WithoutCancel(ctx))
	}
	b.mu.Unlock()
	select {
	case <-w.done:
		return w.got, w.at, w.err
	case <-ctx.Done():
		return nil, time.Time{}, ctx.Err()
	}
}

// run makes calls until nobody waits.
func (b *batch[T]) run(ctx context.Context) {
	for {
		b.mu.Lock()
		n := min(len(b.waiting), atOnce)
		wishes := b.waiting[:n:n]
		b.waiting = b.waiting[n:]
		b.busy = n > 0
		b.mu.Unlock()
		if n == 0 {
			return
		}
		b.grant(ctx, wishes)
	}
}

// grant answers some wishes with one call.
func (b *batch[T]) grant(ctx context.Context, wishes []*wish[T]) {
	ctx, cancel := context.WithTimeout(ctx, readWithin)
	defer cancel()
	keys := make([]string, 0, len(wishes))
	for _, w := range wishes {
		keys = append(keys, w.key)
	}
	slices.Sort(keys)
	at := b.now()
	got, err := b.ask(ctx, slices.Compact(keys))
	for _, w := range wishes {
		w.at, w.err = at, err
		for _, o := range got {
			if b.key(o) == w.key {
				w.got = append(w.got, o)
			}
		}
		close(w.done)
	}
}

// one returns the object of a key, or nil if the account tells of none.
func (b *batch[T]) one(ctx context.Context, key string) (*T, error) {
	list, _, err := b.read(ctx, key)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	return &list[0], nil
}
