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
	wrap := func(err error) error { return fmt.Errorf("LUN %s of %d bytes: %w", l.Name, l.Bytes, err) }
	if _, err := os.Stat(path); err == nil {
		return sameSize(dir, l)
	}
	// Those of controllers that died while they made it: each is as large as the LUN.
	left, err := filepath.Glob(path + newSuffix + "*")
	if err != nil {
		return wrap(err)
	}
	for _, rest := range left {
		_ = os.Remove(rest)
	}
	// Under another name until it is whole: half a LUN must not look like one.
	f, err := os.CreateTemp(dir, filepath.Base(path)+newSuffix)
	if err != nil {
		return wrap(err)
	}
	defer func() { _ = os.Remove(f.Name()) }()
	defer func() { _ = f.Close() }()
	if err := syscall.Fallocate(int(f.Fd()), 0, 0, l.Bytes); err != nil {
		return wrap(noRoom(err))
	}
	if err := f.Sync(); err != nil {
		return wrap(err)
	}
	// Link, not rename: it never replaces a LUN that another made meanwhile.
	if err := os.Link(f.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return wrap(err)
	}
	return sameSize(dir, l)
}

// FileRoom is how many bytes of new LUNs the file system of a directory can hold.
func FileRoom(dir string) (int64, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return 0, fmt.Errorf("room in %s: %w", dir, err)
	}
	return int64(st.Bavail) * st.Bsize, nil
}

// sameSize refuses a LUN that is there with another size. Its name is on the disk then:
// one that is gone after a power cut would take the guest's writes with it.
func sameSize(dir string, l LUN) error {
	have, err := FileSize(dir, l.Name)
	if err != nil {
		return err
	}
	if have != l.Bytes {
		return fmt.Errorf("LUN %s of %d bytes has %d: %w", l.Name, l.Bytes, have, ErrConflict)
	}
	if err := syncDir(dir); err != nil {
		return fmt.Errorf("LUN %s: %w", l.Name, err)
	}
	return nil
}

// FileLUN says what is there of a LUN's file. Errors: ErrNotFound.
func FileLUN(dir, name string) (LUN, error) {
	if !isLUN(name) {
		return LUN{}, fmt.Errorf("LUN %q: %w", name, ErrInvalid)
	}
	if err := CheckFile(dir, name); err != nil {
		return LUN{}, err
	}
	bytes, err := FileSize(dir, name)
	return LUN{Name: name, Bytes: bytes}, err
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
