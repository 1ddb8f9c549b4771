package etcd

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

const manifestName = "integrity.json"

// manifest records a directory as it was after a clean stop. It exists only
// while no member runs: Open compares and removes it.
type manifest struct {
	Format int
	Files  map[string]fileSum // by slash path below the directory
	// Sum is the hex SHA-256 of the JSON of Files: a flip in the manifest itself
	// must not look like a flip in the data, nor switch the comparison off.
	Sum string
}

type fileSum struct {
	Bytes  int64
	SHA256 string
}

func (m manifest) sum() (string, error) {
	text, err := json.Marshal(m.Files) // sorted by path
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:]), nil
}

// sumFiles reads all that the member keeps, but for log files that are only
// preallocated and not yet in use.
func sumFiles(ctx context.Context, dir string) (map[string]fileSum, error) {
	files := map[string]fileSum{}
	err := filepath.WalkDir(filepath.Join(dir, "member"), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.HasSuffix(path, ".tmp") {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		file, err := os.Open(path) //nolint:gosec // the directory is locked and its owner's alone
		if err != nil {
			return err
		}
		defer file.Close()
		hash := sha256.New()
		n, err := io.Copy(hash, file)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		files[filepath.ToSlash(name)] = fileSum{n, hex.EncodeToString(hash.Sum(nil))}
		return err
	})
	return files, err
}

// writeManifest seals a directory whose member has stopped.
func writeManifest(dir string) error {
	files, err := sumFiles(context.Background(), dir)
	if err != nil {
		return err
	}
	m := manifest{Format: 1, Files: files}
	if m.Sum, err = m.sum(); err != nil {
		return err
	}
	text, err := json.MarshalIndent(m, "", " ")
	if err != nil {
		return err
	}
	path := filepath.Join(dir, manifestName)
	file, err := os.OpenFile(path+".tmp", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(text)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	if err := os.Rename(file.Name(), path); err != nil {
		return err
	}
	return syncDir(dir)
}

// dropManifest removes the manifest for good before a member changes the files.
// Were it to come back after a power cut, it would call good data corrupt.
func dropManifest(dir string) error {
	err := os.Remove(filepath.Join(dir, manifestName))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return errors.Join(err, syncDir(dir))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// checkManifest compares the directory with its manifest, if it has one.
func checkManifest(ctx context.Context, dir string) error {
	text, err := os.ReadFile(filepath.Join(dir, manifestName))
	if errors.Is(err, os.ErrNotExist) {
		return nil // the last stop was not clean
	}
	if err != nil {
		return err
	}
	// The escape for whoever changed the files on purpose.
	const hint = "(to rely on the other checks alone, remove " + manifestName + ")"
	var m manifest
	if err := json.Unmarshal(text, &m); err != nil {
		return badBytes{fmt.Errorf("%s can't be read: %w %s", manifestName, err, hint)}
	}
	if sum, err := m.sum(); err != nil || sum != m.Sum || m.Format != 1 {
		return badBytes{fmt.Errorf("%s is damaged %s", manifestName, hint)}
	}
	files, err := sumFiles(ctx, dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(m.Files)) {
		got, ok := files[name]
		switch want := m.Files[name]; {
		case !ok:
			return badBytes{fmt.Errorf("%s is gone since the last clean stop %s", name, hint)}
		case got != want:
			return badBytes{fmt.Errorf("%s has changed since the last clean stop: %d bytes with SHA-256 %s, were %d with %s %s",
				name, got.Bytes, got.SHA256, want.Bytes, want.SHA256, hint)}
		}
		delete(files, name)
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		return badBytes{fmt.Errorf("%s has appeared since the last clean stop %s", name, hint)}
	}
	return nil
}
