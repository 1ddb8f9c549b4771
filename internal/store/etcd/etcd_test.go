package etcd_test

import (
	"context"
	"errors"
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
