package etcd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// badBytes marks an error as damage of the directory, as opposed to a failure to
// look at it.
type badBytes struct{ error }

func (e badBytes) Unwrap() error { return e.error }

func bad(format string, args ...any) error { return badBytes{fmt.Errorf(format, args...)} }

// checkDir reads the whole directory and returns an error that wraps ErrCorrupt
// if a member must not run on it. It changes nothing. Etcd itself would end the
// process on some damage, and on other damage (a bit in a page of the database)
// serve less than it has acknowledged.
func checkDir(ctx context.Context, dir string) error {
	err := inspect(ctx, dir)
	var found badBytes
	switch {
	case errors.As(err, &found):
		return damage(dir, err)
	case err != nil:
		return fmt.Errorf("etcd directory %s: %w", dir, err)
	}
	return nil
}

func inspect(ctx context.Context, dir string) error {
	db := filepath.Join(dir, "member", "snap", "db")
	if err := idle(db); err != nil {
		return err
	}
	if err := checkManifest(ctx, dir); err != nil {
		return err
	}
	state, err := checkDatabase(ctx, db)
	if err != nil {
		return wrapFile(db, err)
	}
	wal := filepath.Join(dir, "member", "wal")
	log, err := checkLog(ctx, wal)
	if err != nil {
		return err
	}
	switch {
	case !state.exists && !log.exists:
		return nil
	case !state.exists:
		return bad("%s is gone", db)
	case !log.exists && state.applied > 0:
		return bad("the write-ahead log %s is gone", wal)
	case log.exists && state.applied > log.last:
		// The database is written after the log: the log has lost its end.
		return bad("the write-ahead log %s ends at entry %d, but entry %d was applied", wal, log.last, state.applied)
	}
	return checkSnapshots(filepath.Dir(db), log)
}

// wrapFile names the file once, and keeps a missing one apart.
func wrapFile(path string, err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return err
	}
	return fmt.Errorf("%s: %w", path, err)
}
