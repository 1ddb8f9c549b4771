package etcd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/protobuf/proto"

	"relight/internal/store"
)

func openTest(t *testing.T, dir string) (*Store, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	return Open(ctx, Options{Dir: dir, Logger: slog.New(slog.DiscardHandler)})
}

// history makes a store with some of everything, stops it cleanly, and returns
// the directory and the values that were acknowledged last.
func history(t *testing.T) (dir string, want map[string]string) {
	t.Helper()
	dir, want = t.TempDir(), map[string]string{}
	s, err := openTest(t, dir)
	if err != nil {
		t.Fatal(err)
	}
	lease, err := s.Grant(t.Context(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	commit := func(ops ...store.Op) {
		t.Helper()
		if _, err := s.Commit(t.Context(), store.Txn{Ops: ops}); err != nil {
			t.Fatal(err)
		}
		for _, op := range ops {
			if want[op.Key] = string(op.Value); op.Delete {
				delete(want, op.Key)
			}
		}
	}
	for i := range 150 {
		key := func(k int) string { return fmt.Sprintf("servers/%02d", k%40) }
		value := []byte(strings.Repeat(fmt.Sprintf("value %d;", i), 12))
		switch i % 5 {
		case 0:
			commit(store.Op{Key: key(i), Value: value, Lease: lease})
		case 1:
			commit(store.Op{Key: key(7 * i), Delete: true}, store.Op{Key: key(7*i + 1), Value: value})
		default:
			commit(store.Op{Key: key(i), Value: value}, store.Op{Key: fmt.Sprintf("journal/%03d", i), Value: value})
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return dir, want
}

func flip(t *testing.T, path string, bit int64) {
	t.Helper()
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	var b [1]byte
	if _, err = file.ReadAt(b[:], bit/8); err == nil {
		b[0] ^= 1 << (bit % 8)
		_, err = file.WriteAt(b[:], bit/8)
	}
	if err = errors.Join(err, file.Close()); err != nil {
		t.Fatal(err)
	}
}

func memberFiles(t *testing.T, dir string) (db, wal string) {
	t.Helper()
	wals, err := filepath.Glob(filepath.Join(dir, "member/wal/*.wal"))
	if err != nil || len(wals) != 1 {
		t.Fatalf("log files %v, %v", wals, err)
	}
	return filepath.Join(dir, "member/snap/db"), wals[0]
}

// spots returns places in a file to flip, as bits: anywhere in its used part, and
// inside stored values.
func spots(t *testing.T, path string, n int) []int64 {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	used := usedBytes(t, path)
	r := rand.New(rand.NewPCG(1, uint64(n)))
	var bits []int64
	for range n / 2 {
		bits = append(bits, r.Int64N(used*8))
	}
	for at := 0; len(bits) < n; {
		next := strings.Index(string(data[at:]), "value ")
		if next < 0 {
			at = 0
			continue
		}
		at += next + 1 + r.IntN(2000)
		bits = append(bits, int64(at-1-at%2)*8+int64(r.IntN(8)))
	}
	return bits
}

// mustNotLie opens a directory and fails the test if the store says anything wrong.
func mustNotLie(t *testing.T, dir, what string, want map[string]string) (refused bool) {
	t.Helper()
	s, err := openTest(t, dir)
	if err != nil {
		if !errors.Is(err, store.ErrCorrupt) {
			t.Errorf("%s: open: %v, want ErrCorrupt", what, err)
		}
		return true
	}
	defer s.Close()
	for key, value := range want {
		record, err := s.Get(t.Context(), key)
		if err == nil && string(record.Value) != value {
			t.Errorf("%s: key %q has the value %q, want %q", what, key, record.Value, value)
		}
		if err != nil && !errors.Is(err, store.ErrCorrupt) {
			t.Errorf("%s: get: %v", what, err)
		}
	}
	if records, _, err := s.List(t.Context(), ""); err == nil && len(records) != len(want) {
		t.Errorf("%s: list has %d records, want %d", what, len(records), len(want))
	}
	return false
}

func TestFlippedBitAfterCleanCloseIsRefused(t *testing.T) {
	dir, _ := history(t)
	db, wal := memberFiles(t, dir)
	manifest := filepath.Join(dir, manifestName)
	for _, path := range []string{db, wal, manifest} {
		var bits []int64
		if path == manifest {
			for bit := range int64(20) {
				bits = append(bits, bit*97)
			}
		} else {
			bits = spots(t, path, 20)
		}
		for _, bit := range bits {
			flip(t, path, bit)
			s, err := openTest(t, dir)
			if !errors.Is(err, store.ErrCorrupt) {
				t.Errorf("bit %d of %s: %v, %v; want ErrCorrupt", bit, path, s, err)
			} else if name := filepath.Base(path); !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "relight restore FILE") {
				t.Errorf("the error names neither the file %s nor a cure: %v", name, err)
			}
			flip(t, path, bit)
		}
	}
	s, err := openTest(t, dir)
	if err != nil {
		t.Fatalf("after all is repaired: %v", err)
	}
	s.Close()
}

// copyDir copies a member without its manifest, and without the zeros at the end
// of files, which become holes.
func copyDir(t *testing.T, from string) string {
	t.Helper()
	to := t.TempDir()
	files, err := filepath.Glob(filepath.Join(from, "member/*/*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		name, _ := filepath.Rel(from, path)
		writeSparse(t, filepath.Join(to, name), data)
	}
	return to
}

func writeSparse(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(strings.TrimRight(string(data), "\x00")), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, int64(len(data))); err != nil {
		t.Fatal(err)
	}
}

// Without the manifest a directory is what a crash leaves behind.
func TestFlippedBitAfterCrashNeverLies(t *testing.T) {
	dir, want := history(t)
	db, wal := memberFiles(t, dir)
	for _, path := range []string{db, wal} {
		refused, served := 0, 0
		for _, bit := range spots(t, path, 12) {
			damaged := copyDir(t, dir)
			name, _ := filepath.Rel(dir, path)
			flip(t, filepath.Join(damaged, name), bit)
			if mustNotLie(t, damaged, fmt.Sprintf("bit %d of %s", bit, name), want) {
				refused++
			} else {
				served++
			}
		}
		t.Logf("%s: %d refused, %d served rightly", filepath.Base(path), refused, served)
		if refused == 0 {
			t.Errorf("no flip in %s was refused", path)
		}
	}
}

// contents returns all that etcd would read from the bucket "key", by bbolt's own
// reader: the check must agree with that one, not with itself.
func contents(t *testing.T, path string) map[string]string {
	t.Helper()
	db, err := bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	found := map[string]string{}
	err = db.View(func(tx *bolt.Tx) error {
		return tx.Bucket([]byte("key")).ForEach(func(k, v []byte) error {
			found[string(k)] = string(v)
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// A flip that the check of the database lets pass must leave every record, and
// every revision of it, as it was. docs/design/store.md names the two exceptions.
func TestDatabaseCheckMissesNoFlipInARecord(t *testing.T) {
	dir, values := history(t)
	db, _ := memberFiles(t, dir)
	used, want := usedBytes(t, db), contents(t, db)
	if _, err := checkDatabase(t.Context(), db); err != nil || len(want) < 200 {
		t.Fatalf("the whole database: %d records, %v", len(want), err)
	}
	r := rand.New(rand.NewPCG(7, 7))
	found, harmless, deletes := 0, 0, 0
	for at := int64(0); at < used; at += 1 + r.Int64N(30) {
		bit := at*8 + r.Int64N(8)
		flip(t, db, bit)
		switch _, err := checkDatabase(t.Context(), db); {
		case err != nil:
			found++
			if !errors.As(err, new(badBytes)) {
				t.Errorf("bit %d: %v is not told as damage", bit, err)
			}
		case at < 2*4096:
			// Without its newest meta page the database is one write older, and the
			// log must bring the rest.
			if !maps.Equal(contents(t, db), want) && mustNotLie(t, copyDir(t, dir), fmt.Sprintf("meta bit %d", bit), values) {
				t.Errorf("bit %d of a meta page: refused", bit)
			}
		default:
			harmless++
			for rev, raw := range contents(t, db) {
				switch old := want[rev]; {
				case raw == old:
				case len(raw) == len(old) && len(rev) == 18: // the key of a delete
					deletes++
				case !sameButLease(t, raw, old):
					t.Errorf("bit %d changes revision %x and is not found: %q, was %q", bit, rev, raw, old)
				}
			}
		}
		flip(t, db, bit)
	}
	t.Logf("%d flips found, %d let pass, of which %d in deletes", found, harmless, deletes)
}

func sameButLease(t *testing.T, a, b string) bool {
	t.Helper()
	var x, y mvccpb.KeyValue
	if err := errors.Join(proto.Unmarshal([]byte(a), &x), proto.Unmarshal([]byte(b), &y)); err != nil {
		return false
	}
	x.Lease, y.Lease = 0, 0
	return proto.Equal(&x, &y)
}

// usedBytes leaves out the space that bbolt has only reserved.
func usedBytes(t *testing.T, path string) int64 {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return int64(len(strings.TrimRight(string(data), "\x00")))
}
