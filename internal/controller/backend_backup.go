package controller

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"relight/internal/store"
	"relight/internal/store/backup"
)

// auditPrefix is the prefix of all keys of the journal itself.
const auditPrefix = "audit/"

// Backup implements api.Backend: all our records as of one revision, and the
// closed segments of the journal.
func (b *Backend) Backup(ctx context.Context, by string, w io.Writer) error {
	b.Log.Info("backup", "by", by)
	out := backup.NewWriter(w, backup.Header{At: b.Clock.Now(), By: b.Build.Version})
	if err := out.Store(ctx, b.Journal.store, root, auditPrefix); err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	// The segments come second: what compaction has taken from the store by then
	// is in one of them; what is in both is known by its number.
	for shard := range Shards {
		paths, err := b.Chronicle.segments(shard)
		if err != nil {
			return err
		}
		for _, p := range paths {
			content, err := os.ReadFile(p)
			if err != nil {
				return fmt.Errorf("backup: %w", err)
			}
			if err := out.File(auditPrefix+filepath.Base(p), content); err != nil {
				return fmt.Errorf("backup: %w", err)
			}
		}
	}
	if err := out.Close(); err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	return nil
}

// Restored says what a restore has brought back.
type Restored struct {
	backup.Header
	// Servers is how many servers are declared; Records and Files count what the
	// backup held.
	Servers, Records, Files int
}

// ErrNotEmpty means that a restore was to go where something lies already.
var ErrNotEmpty = errors.New("the directory is not empty")

// Restore makes the directory of a controller with an embedded store out of a
// backup. The backup is read and checked twice: nothing is made of a damaged one.
// dir must be empty or absent, and stays so after an error. Errors: ErrNotEmpty
// and those of package backup.
func Restore(ctx context.Context, path, dir string, now time.Time, log *slog.Logger) (Restored, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return Restored{}, err
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		return Restored{}, errors.Join(err, fmt.Errorf("%s: %w", dir, ErrNotEmpty))
	}
	if err := readBackup(path, func(i backup.Item) error { return checkItem(i) }, nil); err != nil {
		return Restored{}, err
	}
	// A controller that is started meanwhile must not find half of a store.
	tmp := filepath.Join(dir, "restoring")
	got, err := restoreTo(ctx, path, tmp, now, log)
	if err == nil {
		// The store comes last: without it the directory is that of no controller.
		err = errors.Join(
			os.Rename(filepath.Join(tmp, "audit"), filepath.Join(dir, "audit")),
			os.Rename(filepath.Join(tmp, "store"), filepath.Join(dir, "store")),
		)
	}
	err = errors.Join(err, os.RemoveAll(tmp))
	if err == nil {
		err = syncDir(dir)
	}
	return got, err
}

// checkItem refuses what could lead out of the directory, or what this program
// would not understand.
func checkItem(i backup.Item) error {
	if i.File {
		if !segmentFile.MatchString(i.Name) {
			return fmt.Errorf("%w: it holds the file %q, which is no segment", backup.ErrDamaged, i.Name)
		}
		return nil
	}
	if len(i.Name) > len(auditPrefix) && i.Name[:len(auditPrefix)] == auditPrefix {
		return nil
	}
	kind, _, err := split(i.Name)
	if err != nil {
		return err
	}
	if _, known := decoders()[kind]; !known {
		return fmt.Errorf("record %s: kind %q is unknown; it was written by a newer version", i.Name, kind)
	}
	return nil
}

var segmentFile = regexp.MustCompile(`^audit/shard-[0-9]{5}-[0-9]{20}\.jsonl$`)

func readBackup(path string, visit func(backup.Item) error, h *backup.Header) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	got, err := backup.Read(f, visit)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if h != nil {
		*h = got
	}
	return nil
}

func restoreTo(ctx context.Context, path, dir string, now time.Time, log *slog.Logger) (got Restored, err error) {
	audit := filepath.Join(dir, "audit")
	if err := os.MkdirAll(audit, 0o700); err != nil {
		return got, err
	}
	st, err := openEmbedded(ctx, filepath.Join(dir, "store"), log)
	if err != nil {
		return got, err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	fill := &filler{ctx: ctx, to: st}
	err = readBackup(path, func(i backup.Item) error {
		if i.File {
			got.Files++
			return writeSynced(filepath.Join(dir, filepath.FromSlash(i.Name)), i.Data)
		}
		got.Records++
		return fill.put(i.Name, i.Data)
	}, &got.Header)
	if err != nil {
		return got, err
	}
	if err := errors.Join(fill.flush(), SetBack(ctx, st, now.Sub(got.At)), syncDir(audit)); err != nil {
		return got, err
	}
	state := NewState()
	err = state.Load(ctx, st)
	got.Servers = len(state.Servers())
	return got, err
}

// filler puts records into an empty store, many in one transaction.
type filler struct {
	ctx  context.Context
	to   store.Store
	txn  store.Txn
	size int
}

func (f *filler) put(key string, value []byte) error {
	size := len(key) + len(value)
	if len(f.txn.Ops) == store.MaxOps || f.size+size > store.MaxTxnBytes {
		if err := f.flush(); err != nil {
			return err
		}
	}
	f.txn.Ops = append(f.txn.Ops, store.Op{Key: key, Value: value})
	f.size += size
	return nil
}

func (f *filler) flush() error {
	if len(f.txn.Ops) == 0 {
		return nil
	}
	_, err := f.to.Commit(f.ctx, f.txn)
	f.txn, f.size = store.Txn{}, 0
	return err
}

func writeSynced(path string, content []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
