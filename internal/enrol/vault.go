package enrol

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Errors of a Vault.
var (
	ErrAbsent = errors.New("no such entry")
	ErrExists = errors.New("entry exists already")
)

// Vault keeps the few secrets of enrolment. Names are slash-separated paths of
// letters, digits and dashes.
type Vault interface {
	// Load returns the entry or ErrAbsent.
	Load(ctx context.Context, name string) ([]byte, error)
	// Save writes an entry that does not exist yet, durably, or returns
	// ErrExists. It must be atomic among all controllers: two that start at once
	// must not make two authorities, and two hosts must not share a token.
	Save(ctx context.Context, name string, data []byte) error
}

// DirVault keeps entries as files of mode 0600 below a directory.
type DirVault struct{ dir string }

// NewDirVault makes the directory with mode 0700 if it is not there.
func NewDirVault(dir string) (*DirVault, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make vault: %w", err)
	}
	return &DirVault{dir: dir}, nil
}

// Load implements Vault.
func (v *DirVault) Load(_ context.Context, name string) ([]byte, error) {
	data, err := os.ReadFile(filepath.Join(v.dir, filepath.FromSlash(name)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("vault entry %s: %w", name, ErrAbsent)
	}
	if err != nil {
		return nil, fmt.Errorf("read vault: %w", err)
	}
	return data, nil
}

// Save implements Vault. The entry appears whole by a hard link, which fails if
// the name is taken, so that neither a crash nor a race leaves half an entry.
func (v *DirVault) Save(_ context.Context, name string, data []byte) error {
	path := filepath.Join(v.dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("write vault: %w", err)
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return fmt.Errorf("write vault: %w", err)
	}
	defer func() { _ = os.Remove(tmp.Name()) }()
	_, err = tmp.Write(data)
	err = errors.Join(err, tmp.Sync(), tmp.Close())
	if err != nil {
		return fmt.Errorf("write vault: %w", err)
	}
	if err := os.Link(tmp.Name(), path); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("vault entry %s: %w", name, ErrExists)
		}
		return fmt.Errorf("write vault: %w", err)
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("write vault: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("write vault: %w", err)
	}
	return nil
}
