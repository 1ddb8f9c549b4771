package array

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// FilePath is where a LUN's file lies, for arrays that keep LUNs in files.
func FilePath(dir, name string) string { return filepath.Join(dir, name+".img") }

// CreateFile makes a LUN's file with all of its blocks. Errors are those of
// Array.Create.
func CreateFile(dir string, l LUN) error {
	if err := CheckLUN(l); err != nil {
		return err
	}
	path := FilePath(dir, l.Name)
	if info, err := os.Stat(path); err == nil {
		if info.Size() != l.Bytes {
			return fmt.Errorf("LUN %s of %d bytes has %d: %w", l.Name, l.Bytes, info.Size(), ErrConflict)
		}
		return nil
	}
	// Under another name until it is whole: half a LUN must not look like one.
	f, err := os.CreateTemp(dir, l.Name+".new-")
	if err != nil {
		return fmt.Errorf("LUN %s: %w", l.Name, err)
	}
	defer func() { _ = os.Remove(f.Name()) }()
	defer func() { _ = f.Close() }()
	if err := syscall.Fallocate(int(f.Fd()), 0, 0, l.Bytes); err != nil {
		return fmt.Errorf("LUN %s of %d bytes: %w", l.Name, l.Bytes, noRoom(err))
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

// CheckFile says whether a LUN's file is there. Errors: ErrNotFound.
func CheckFile(dir, name string) error {
	_, err := os.Stat(FilePath(dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		err = ErrNotFound
	}
	if err != nil {
		return fmt.Errorf("LUN %s: %w", name, err)
	}
	return nil
}

// FileSize is the size of a LUN's file, in bytes.
func FileSize(dir, name string) (int64, error) {
	info, err := os.Stat(FilePath(dir, name))
	if err != nil {
		return 0, fmt.Errorf("LUN %s: %w", name, err)
	}
	return info.Size(), nil
}
