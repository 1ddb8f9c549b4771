package etcd

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"relight/internal/store"
)

// dirLock is the promise that this process alone uses a directory. Etcd's own
// locks wait for ever, and only log that they do.
type dirLock struct{ file *os.File }

func lockDir(dir string) (*dirLock, error) {
	file, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("etcd directory %s: %w", dir, err)
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		holder, _ := os.ReadFile(file.Name())
		err = fmt.Errorf("etcd directory %s: %w: it is locked by another controller (process %s)",
			dir, store.ErrUnavailable, strings.TrimSpace(string(holder)))
		return nil, errors.Join(err, file.Close())
	}
	// For the reader of the message above only; the lock does not depend on it.
	if err := file.Truncate(0); err == nil {
		_, _ = fmt.Fprintln(file, os.Getpid())
	}
	return &dirLock{file}, nil
}

func (l *dirLock) release() error { return l.file.Close() }

// idle returns an error if a process that does not know our lock, such as a
// stock etcd, has the database open.
func idle(db string) error {
	file, err := os.Open(db)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer file.Close()
	if err := unix.Flock(int(file.Fd()), unix.LOCK_SH|unix.LOCK_NB); err != nil {
		return fmt.Errorf("%w: %s is open in another process", store.ErrUnavailable, db)
	}
	return nil
}
