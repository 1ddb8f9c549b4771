package array

import (
	"context"
	"fmt"
	"math"

	"relight/internal/core/fence"
	"relight/internal/core/fleet"
)

// Marks reads from the journal the highest epoch of a server that was fenced; zero
// if none was.
type Marks func(ctx context.Context, server string) (fleet.Epoch, error)

// WithMarks wraps an array so that no epoch is mapped that the journal calls
// fenced, whatever the array has forgotten since: one that restarts empty would
// otherwise let the old epoch in again, and a guest that waited all that time would
// replay the writes that it holds.
func WithMarks(inner Array, marks Marks) Array { return &marked{inner, marks} }

type marked struct {
	Array
	marks Marks
}

// Room implements Roomer where the array does; one that cannot tell has room for all, as
// far as anybody knows.
func (a *marked) Room(ctx context.Context) (int64, error) {
	if r, ok := a.Array.(Roomer); ok {
		return r.Room(ctx)
	}
	return math.MaxInt64, nil
}

// Map implements Array.
func (a *marked) Map(ctx context.Context, m Map, proof fence.Proof) (Target, error) {
	fenced, err := a.marks(ctx, m.Server)
	if err != nil {
		return Target{}, fmt.Errorf("map of %s epoch %d: the journal cannot say what was fenced: %w", m.Server, m.Epoch, err)
	}
	if m.Epoch <= fenced {
		return Target{}, fmt.Errorf("map of %s epoch %d, fenced up to %d: %w", m.Server, m.Epoch, fenced, ErrFenced)
	}
	return a.Array.Map(ctx, m, proof)
}
