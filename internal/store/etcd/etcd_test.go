package etcd_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"relight/internal/store"
	"relight/internal/store/etcd"
	"relight/internal/store/storetest"
)

func open(t *testing.T, opts etcd.Options) (*etcd.Store, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	opts.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	return etcd.Open(ctx, opts)
}

func mustOpen(t *testing.T, opts etcd.Options) *etcd.Store {
	t.Helper()
	s, err := open(t, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.Store { return mustOpen(t, etcd.Options{Dir: t.TempDir()}) })
}

func TestReopenKeepsEverything(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, etcd.Options{Dir: dir})
	rev := storetest.Put(t, s, "k", "v")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, etcd.Options{Dir: dir})
	record, err := s.Get(t.Context(), "k")
	if err != nil || string(record.Value) != "v" || record.Rev != rev {
		t.Errorf("after a reopen: %v, %v; want revision %d", record, err, rev)
	}
	if next := storetest.Put(t, s, "k", "w"); next != rev+1 {
		t.Errorf("the next revision is %d, want %d", next, rev+1)
	}
}

func TestSecondOpenIsRefused(t *testing.T) {
	dir := t.TempDir()
	first := mustOpen(t, etcd.Options{Dir: dir})
	if s, err := open(t, etcd.Options{Dir: dir}); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("second open: %v, %v; want ErrUnavailable", s, err)
	} else {
		t.Log(err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	mustOpen(t, etcd.Options{Dir: dir})
}

func TestFullQuota(t *testing.T) {
	s := mustOpen(t, etcd.Options{Dir: t.TempDir(), QuotaBytes: 2 << 20, MinFreeBytes: 1})
	ctx := t.Context()
	if err := s.Health(ctx); err != nil {
		t.Fatalf("health of an empty store: %v", err)
	}
	var full error
	n := 0
	for ; full == nil && n < 1000; n++ {
		_, full = s.Commit(ctx, store.Txn{Ops: []store.Op{{Key: fmt.Sprintf("k%d", n), Value: make([]byte, 64<<10)}}})
	}
	if !errors.Is(full, store.ErrNoSpace) {
		t.Fatalf("commit %d beyond the quota: %v, want ErrNoSpace", n, full)
	}
	if err := s.Health(ctx); !errors.Is(err, store.ErrNoSpace) {
		t.Errorf("health: %v, want ErrNoSpace", err)
	}
	if _, err := s.Get(ctx, "k0"); err != nil {
		t.Errorf("a full store still answers reads: %v", err)
	}
	// Deleting is possible, and Reclaim makes use of it.
	for i := range n - 1 {
		if _, err := s.Commit(ctx, store.Txn{Ops: []store.Op{{Key: fmt.Sprintf("k%d", i), Delete: true}}}); err != nil {
			t.Fatalf("delete in a full store: %v", err)
		}
	}
	if err := s.Reclaim(ctx); err != nil {
		t.Fatalf("reclaim: %v", err)
	}
	if err := s.Health(ctx); err != nil {
		t.Errorf("health after reclaim: %v", err)
	}
	storetest.Put(t, s, "again", "v")
}

func TestHealthWantsFreeDisk(t *testing.T) {
	s := mustOpen(t, etcd.Options{Dir: t.TempDir(), MinFreeBytes: 1 << 62})
	if err := s.Health(t.Context()); !errors.Is(err, store.ErrNoSpace) {
		t.Errorf("health with too little free disk: %v, want ErrNoSpace", err)
	}
}

func TestCompactedWatchAndReopen(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, etcd.Options{Dir: dir})
	first := storetest.Put(t, s, "k", "1")
	for range 50 {
		storetest.Put(t, s, "k", "2")
	}
	storetest.Put(t, s, "gone", "x")
	last, err := s.Commit(t.Context(), store.Txn{Ops: []store.Op{{Key: "gone", Delete: true}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Reclaim(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Watch(t.Context(), "", first); !errors.Is(err, store.ErrCompacted) {
		t.Errorf("watch from a compacted revision: %v, want ErrCompacted", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	// The checks of the directory must know what compaction leaves.
	s = mustOpen(t, etcd.Options{Dir: dir})
	if rev := storetest.Put(t, s, "k", "3"); rev != last+1 {
		t.Errorf("the revision after a compaction and a reopen is %d, want %d", rev, last+1)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	mustOpen(t, etcd.Options{Dir: dir})
}

func TestUnreachableClusterIsUnavailable(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err := etcd.Open(ctx, etcd.Options{
		Endpoints: []string{"http://127.0.0.1:1"},
		Logger:    slog.New(slog.DiscardHandler),
	})
	if !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("open of a cluster that is not there: %v", err)
	}
}
