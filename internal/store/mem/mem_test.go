package mem_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"relight/internal/store"
	"relight/internal/store/mem"
	"relight/internal/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestStore(t *testing.T) {
	storetest.Run(t, func(*testing.T) store.Store { return mem.New(mem.Options{Now: time.Now}) })
}

// staleReads answers every second read of a key from its first read.
type staleReads struct {
	store.Store
	mu    sync.Mutex
	first map[string]store.Record
	calls int
}

func (s *staleReads) Get(ctx context.Context, key string) (store.Record, error) {
	record, err := s.Store.Get(ctx, key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		return record, err
	}
	if _, ok := s.first[key]; !ok {
		s.first[key] = record
	}
	if s.calls++; s.calls%2 == 0 {
		return s.first[key], nil
	}
	return record, nil
}

// lostCompares forgets the conditions of every third commit.
type lostCompares struct {
	store.Store
	mu    sync.Mutex
	calls int
}

func (s *lostCompares) Commit(ctx context.Context, txn store.Txn) (store.Revision, error) {
	s.mu.Lock()
	s.calls++
	if s.calls%3 == 0 {
		txn.Compares = nil
	}
	s.mu.Unlock()
	return s.Store.Commit(ctx, txn)
}

func TestLinearizabilityCheckFindsFaultyStores(t *testing.T) {
	right := mem.New(mem.Options{Now: time.Now})
	for name, s := range map[string]store.Store{
		"stale reads":   &staleReads{Store: mem.New(mem.Options{Now: time.Now}), first: map[string]store.Record{}},
		"lost compares": &lostCompares{Store: mem.New(mem.Options{Now: time.Now})},
	} {
		if ok, err := storetest.Linearizable(t.Context(), s, "k", 4, 100); ok || err != nil {
			t.Errorf("a store with %s passes: %v, %v", name, ok, err)
		}
	}
	if ok, err := storetest.Linearizable(t.Context(), right, "k", 4, 100); !ok || err != nil {
		t.Errorf("a right store fails: %v, %v", ok, err)
	}
}

func TestLeaseEndsExactlyAtItsTime(t *testing.T) {
	now := time.Unix(1000, 0)
	s := mem.New(mem.Options{Now: func() time.Time { return now }})
	ctx := t.Context()
	id, err := s.Grant(ctx, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Commit(ctx, store.Txn{Ops: []store.Op{{Key: "k", Lease: id}}}); err != nil {
		t.Fatal(err)
	}
	now = now.Add(9 * time.Second)
	if err := s.KeepAlive(ctx, id); err != nil {
		t.Fatalf("keep-alive in time: %v", err)
	}
	now = now.Add(10*time.Second - 1)
	if _, err := s.Get(ctx, "k"); err != nil {
		t.Errorf("a nanosecond before the end: %v", err)
	}
	now = now.Add(1)
	if _, err := s.Get(ctx, "k"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("at the end: %v, want ErrNotFound", err)
	}
	if err := s.KeepAlive(ctx, id); !errors.Is(err, store.ErrLeaseLost) {
		t.Errorf("keep-alive too late: %v, want ErrLeaseLost", err)
	}
}

func TestExpireTellsWatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		s := mem.New(mem.Options{Now: time.Now})
		id, _ := s.Grant(ctx, time.Minute)
		rev, err := s.Commit(ctx, store.Txn{Ops: []store.Op{{Key: "a", Lease: id}, {Key: "b", Lease: id}}})
		if err != nil {
			t.Fatal(err)
		}
		events, err := s.Watch(ctx, "", rev)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute) // virtual
		s.Expire()
		if batch := <-events; len(batch) != 2 || !batch[0].Deleted || batch[1].Rev != rev+1 {
			t.Errorf("the end of the lease was told as %v", batch)
		}
		s.Close()
		synctest.Wait()
	})
}

func TestHooks(t *testing.T) {
	refused, lost := errors.New("refused"), errors.New("lost acknowledgement")
	var before, after error
	s := mem.New(mem.Options{Now: time.Now, Hooks: mem.Hooks{
		BeforeCommit: func(store.Txn) error { return before },
		AfterCommit:  func(store.Txn) error { return after },
	}})
	put := store.Txn{Compares: []store.Compare{{Key: "k"}}, Ops: []store.Op{{Key: "k", Value: []byte("v")}}}
	before = refused
	if _, err := s.Commit(t.Context(), put); !errors.Is(err, refused) {
		t.Errorf("commit: %v, want the hook's error", err)
	}
	if _, err := s.Get(t.Context(), "k"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a refused commit happened: %v", err)
	}
	before, after = nil, lost
	if _, err := s.Commit(t.Context(), put); !errors.Is(err, lost) {
		t.Errorf("commit: %v, want the hook's error", err)
	}
	if _, err := s.Get(t.Context(), "k"); err != nil {
		t.Errorf("a commit with a lost acknowledgement did not happen: %v", err)
	}
	if _, err := s.Commit(t.Context(), put); !errors.Is(err, store.ErrConflict) {
		t.Errorf("second commit: %v, want ErrConflict and no call of AfterCommit", err)
	}
}

func TestCompact(t *testing.T) {
	s := mem.New(mem.Options{Now: time.Now})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	first := storetest.Put(t, s, "k", "1")
	second := storetest.Put(t, s, "k", "2")
	s.Compact(first)
	if _, err := s.Watch(ctx, "", first-1); !errors.Is(err, store.ErrCompacted) {
		t.Errorf("watch before the compaction: %v, want ErrCompacted", err)
	}
	events, err := s.Watch(ctx, "", first)
	if err != nil {
		t.Fatal(err)
	}
	if batch := <-events; len(batch) != 1 || batch[0].Rev != second {
		t.Errorf("after the compaction: %v", batch)
	}
	if record, err := s.Get(ctx, "k"); err != nil || record.Rev != second {
		t.Errorf("the record after a compaction: %v, %v", record, err)
	}
}
