package etcd

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"relight/internal/store"
)

// The checks must take what a long life leaves: several log files, of which the
// first are gone, snapshots, expired leases, compacted revisions.
func TestLongLivedDirectoryIsAccepted(t *testing.T) {
	if testing.Short() {
		t.Skip("writes 200 MB")
	}
	dir := t.TempDir()
	s, err := openTest(t, dir)
	if err != nil {
		t.Fatal(err)
	}
	const writers, each = 32, 400
	value := make([]byte, 12<<10)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				op := store.Op{Key: fmt.Sprintf("k%d/%d", w, i%5), Value: value, Delete: i%7 == 6}
				if op.Delete {
					op.Value = nil
				}
				if _, err := s.Commit(t.Context(), store.Txn{Ops: []store.Op{op}}); err != nil {
					t.Error(err)
					return
				}
				if w == 0 && i == each/2 {
					if err := s.Reclaim(t.Context()); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	records, rev, err := s.List(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	logs, _ := filepath.Glob(filepath.Join(dir, "member/wal/*.wal"))
	snapshots, _ := filepath.Glob(filepath.Join(dir, "member/snap/*.snap"))
	if len(logs) < 2 || len(snapshots) == 0 {
		t.Fatalf("%d log files and %d snapshots are too few to test with", len(logs), len(snapshots))
	}
	for range 2 { // after a clean stop, then as after a crash
		s, err := openTest(t, dir)
		if err != nil {
			t.Fatal(err)
		}
		again, now, err := s.List(t.Context(), "")
		if err != nil || len(again) != len(records) || now != rev {
			t.Errorf("after a reopen: %d records at %d, %v; want %d at %d", len(again), now, err, len(records), rev)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(filepath.Join(dir, manifestName)); err != nil {
			t.Fatal(err)
		}
	}
	// A bit in a log file that is not the last.
	flip(t, logs[0], 8*1_000_003)
	if s, err := openTest(t, dir); err == nil {
		s.Close()
		t.Error("a damaged log file was accepted")
	}
}
