package lio

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	// stuckAfter is when a removal that the kernel has not done is taken for one that
	// waits for a login which stopped half-way. One without it takes milliseconds.
	stuckAfter = 2 * time.Second
	// silentFor is for how long a connection has said nothing that is cut then. Sessions
	// say something every five seconds (open-iscsi, libiscsi), or are asked by the kernel
	// every fifteen; one that is cut by mistake is made again by its initiator.
	silentFor = 10 * time.Second
	// cutEvery is the pause between two looks at the connections.
	cutEvery = time.Second
)

// ErrStuck: the kernel has not done a removal, and holds up all others.
var ErrStuck = errors.New("the kernel has not done it yet")

// cutter ends the connections to the portals that have been silent for so long.
type cutter func(portals []string, silent time.Duration) error

// alter runs a change of the tree, one at a time, as the kernel does itself. Kernels before
// 6.5 give a login that says nothing more all the time in the world, and the removal of
// what it logs in to waits for it in the kernel, where nothing ends it: so a host that froze
// in the middle of a login would hold up every fence on this array. Its connection is cut.
// Errors: that of the change; ErrStuck with the context's.
func alter[T any](ctx context.Context, a *Array, change func() (T, error)) (T, error) {
	return await(ctx, a.turn, "another change", change, func() error {
		return a.cut(append([]string{a.cfg.Portal}, a.cfg.MorePortals...), silentFor)
	})
}

// do is alter of a change that returns nothing.
func (a *Array) do(ctx context.Context, change func() error) error {
	_, err := alter(ctx, a, func() (struct{}, error) { return struct{}{}, change() })
	return err
}

// readers is how many reads of the tree may be under way at once: one that waits in the
// kernel keeps a thread.
const readers = 4

// ask runs a read of the tree. A removal that the kernel has not done holds up whoever
// lists its directory, where no context ends it. Errors: that of the read; ErrStuck with
// the context's.
func ask[T any](ctx context.Context, a *Array, read func() (T, error)) (T, error) {
	return await(ctx, a.reading, "other reads", read, func() error { return nil })
}

// await has work done that no context ends, once there is room for it, and no longer waits
// for it when the context is over. Meanwhile it calls late every second, from when the work
// takes too long.
func await[T any](ctx context.Context, room chan struct{}, others string, work func() (T, error), late func() error) (T, error) {
	var none T
	if err := ctx.Err(); err != nil {
		return none, err
	}
	select {
	case room <- struct{}{}:
	case <-ctx.Done():
		return none, fmt.Errorf("%s of the target: %w: %w", others, ErrStuck, ctx.Err())
	}
	type answer struct {
		value T
		err   error
	}
	done := make(chan answer, 1)
	go func() {
		defer func() { <-room }()
		value, err := work()
		done <- answer{value, err}
	}()
	stuck := time.NewTimer(stuckAfter)
	defer stuck.Stop()
	var failed error
	for {
		select {
		case got := <-done:
			return got.value, got.err
		case <-ctx.Done():
			return none, fmt.Errorf("%w: %w", ErrStuck, errors.Join(ctx.Err(), failed))
		case <-stuck.C:
			failed = late()
			stuck.Reset(cutEvery)
		}
	}
}
