package lio

import (
	"context"
	"errors"
	"fmt"

	"relight/internal/array"
)

// Snapshot implements array.Array.
func (a *Array) Snapshot(ctx context.Context, lun, name string) (array.Snapshot, error) {
	return array.SnapshotFile(ctx, a.cfg.Dir, lun, name, func() error { return a.mapped(lun) })
}

// Snapshots implements array.Array.
func (a *Array) Snapshots(_ context.Context, lun string) ([]array.Snapshot, error) {
	return array.SnapshotFiles(a.cfg.Dir, lun)
}

// RestoreSnapshot implements array.Array. The kernel's backing store holds the old
// file open: it is removed first, with the holder that has it, and the next map makes both
// anew. The fence of another
// server must not wait for the copy.
func (a *Array) RestoreSnapshot(ctx context.Context, lun, name string) error {
	return array.RestoreFile(ctx, a.cfg.Dir, lun, name, func() error {
		return a.do(ctx, func() error {
			if err := a.mapped(lun); err != nil {
				return err
			}
			if err := a.releaseOf(map[int]string{1: lun}, ""); err != nil {
				return err
			}
			return gone(a.tree.Rmdir(store + "/" + lun))
		})
	})
}

// DeleteSnapshot implements array.Array.
func (a *Array) DeleteSnapshot(_ context.Context, lun, name string) error {
	return array.DeleteFile(a.cfg.Dir, lun, name, a.mapped)
}

// mapped refuses a LUN that any target serves: without one it has no session either. A
// holder writes nothing.
func (a *Array) mapped(lun string) error {
	err := a.alone(map[int]string{1: lun}, a.isHolder)
	if errors.Is(err, array.ErrShared) {
		err = fmt.Errorf("%w: %w", array.ErrMapped, err)
	}
	return err
}
