package tgt

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"relight/internal/array"
)

// Create implements array.Array.
func (a *Array) Create(_ context.Context, l array.LUN) error {
	if err := array.CheckLUN(l); err != nil {
		return err
	}
	path := a.path(l.Name)
	if info, err := os.Stat(path); err == nil {
		if info.Size() != l.Bytes {
			return fmt.Errorf("LUN %s of %d bytes has %d: %w", l.Name, l.Bytes, info.Size(), array.ErrConflict)
		}
		return nil
	}
	// Under another name until it is whole: half a LUN must not look like one.
	f, err := os.CreateTemp(a.cfg.Dir, l.Name+".new-")
	if err != nil {
		return fmt.Errorf("LUN %s: %w", l.Name, err)
	}
	defer func() { _ = os.Remove(f.Name()) }()
	defer func() { _ = f.Close() }()
	if err := syscall.Fallocate(int(f.Fd()), 0, 0, l.Bytes); err != nil {
		if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EFBIG) || errors.Is(err, syscall.EDQUOT) {
			err = fmt.Errorf("%w (%w)", array.ErrFull, err)
		}
		return fmt.Errorf("LUN %s of %d bytes: %w", l.Name, l.Bytes, err)
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("LUN %s: %w", l.Name, err)
	}
	// Link, not rename: it never replaces a LUN that another made meanwhile.
	if err := os.Link(f.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("LUN %s: %w", l.Name, err)
	}
	return nil
}

func exists(path string) error {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("LUN at %s: %w", path, array.ErrNotFound)
	} else if err != nil {
		return fmt.Errorf("LUN: %w", err)
	}
	return nil
}
