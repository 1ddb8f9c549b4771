package array

import (
	"context"
	"math"

	"relight/internal/core/fence"
)

// WithLeave returns an array that asks for leave right before each call that changes
// anything of it. A fence lasts longer than the lease of the controller that runs it, and
// an array knows no terms (S10). Questions need no leave.
func WithLeave(inner Array, may func(context.Context) error) Array { return &asking{inner, may} }

type asking struct {
	Array
	may func(context.Context) error
}

// Room implements Roomer where the array does, see [WithMarks].
func (a *asking) Room(ctx context.Context) (int64, error) {
	if r, ok := a.Array.(Roomer); ok {
		return r.Room(ctx)
	}
	return math.MaxInt64, nil
}

// Create implements Array.
func (a *asking) Create(ctx context.Context, l LUN) error {
	if err := a.may(ctx); err != nil {
		return err
	}
	return a.Array.Create(ctx, l)
}

// Map implements Array.
func (a *asking) Map(ctx context.Context, m Map, proof fence.Proof) (Target, error) {
	if err := a.may(ctx); err != nil {
		return Target{}, err
	}
	return a.Array.Map(ctx, m, proof)
}

// Unmap implements Array.
func (a *asking) Unmap(ctx context.Context, r Ref) error {
	if err := a.may(ctx); err != nil {
		return err
	}
	return a.Array.Unmap(ctx, r)
}

// Kill implements Array.
func (a *asking) Kill(ctx context.Context, s Session) error {
	if err := a.may(ctx); err != nil {
		return err
	}
	return a.Array.Kill(ctx, s)
}

// Close implements Array.
func (a *asking) Close(ctx context.Context, r Ref) error {
	if err := a.may(ctx); err != nil {
		return err
	}
	return a.Array.Close(ctx, r)
}

// Offline implements Array.
func (a *asking) Offline(ctx context.Context, r Ref, luns []string) error {
	if err := a.may(ctx); err != nil {
		return err
	}
	return a.Array.Offline(ctx, r, luns)
}

// Snapshot implements Array.
func (a *asking) Snapshot(ctx context.Context, lun, name string) (Snapshot, error) {
	if err := a.may(ctx); err != nil {
		return Snapshot{}, err
	}
	return a.Array.Snapshot(ctx, lun, name)
}

// RestoreSnapshot implements Array.
func (a *asking) RestoreSnapshot(ctx context.Context, lun, name string) error {
	if err := a.may(ctx); err != nil {
		return err
	}
	return a.Array.RestoreSnapshot(ctx, lun, name)
}

// DeleteSnapshot implements Array.
func (a *asking) DeleteSnapshot(ctx context.Context, lun, name string) error {
	if err := a.may(ctx); err != nil {
		return err
	}
	return a.Array.DeleteSnapshot(ctx, lun, name)
}
