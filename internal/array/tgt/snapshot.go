package tgt

import (
	"context"
	"fmt"

	"relight/internal/array"
)

// Snapshot implements array.Array. It holds no lock while it copies: a fence of another
// server must not wait for it.
func (a *Array) Snapshot(ctx context.Context, lun, name string) (array.Snapshot, error) {
	return array.SnapshotFile(ctx, a.cfg.Dir, lun, name, func() error { return a.mapped(ctx, lun) })
}

// Snapshots implements array.Array.
func (a *Array) Snapshots(_ context.Context, lun string) ([]array.Snapshot, error) {
	return array.SnapshotFiles(a.cfg.Dir, lun)
}

// RestoreSnapshot implements array.Array.
func (a *Array) RestoreSnapshot(ctx context.Context, lun, name string) error {
	return array.RestoreFile(ctx, a.cfg.Dir, lun, name, func() error { return a.mapped(ctx, lun) })
}

// DeleteSnapshot implements array.Array.
func (a *Array) DeleteSnapshot(ctx context.Context, lun, name string) error {
	return array.DeleteFile(a.cfg.Dir, lun, name, func(kept string) error { return a.mapped(ctx, kept) })
}

// mapped refuses a LUN that any target serves: without one it has no session either.
func (a *Array) mapped(ctx context.Context, lun string) error {
	all, err := a.look(ctx)
	if err != nil {
		return err
	}
	for _, t := range all {
		if t.serves(array.FilePath(a.cfg.Dir, lun)) {
			return fmt.Errorf("target %s serves it: %w", t.iqn, array.ErrMapped)
		}
	}
	return nil
}
