// Package storetest is the meaning of store.Store in code: the suite that every
// engine passes, and a linearizability check that also serves other tests.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"relight/internal/store"
)

// Flipper is what a store offers to the suite so that it can damage a value: flip
// one bit of the raw bytes that the engine keeps for a key.
type Flipper interface {
	FlipBit(key string, bit int) error
}

// patience bounds every wait of the suite; it is only reached by a bug.
const patience = 60 * time.Second

// Run runs the suite. Each call of open gives a fresh, empty store, which the
// suite closes.
func Run(t *testing.T, open func(t *testing.T) store.Store) {
	tests := []struct {
		name string
		run  func(*testing.T, context.Context, store.Store)
	}{
		{"Revisions", testRevisions},
		{"CompareAndSet", testCompareAndSet},
		{"Transactions", testTransactions},
		{"Invalid", testInvalid},
		{"List", testList},
		{"LargeList", testLargeList},
		{"ListIsOneSnapshot", testListIsOneSnapshot},
		{"ScanIsOneSnapshot", testScanIsOneSnapshot},
		{"WatchOrderAndResume", testWatchOrderAndResume},
		{"WatchKeepsTransactionsWhole", testWatchWhole},
		{"WatchCancel", testWatchCancel},
		{"LeaseExpiry", testLeaseExpiry},
		{"LeaseRevoke", testLeaseRevoke},
		{"Damage", testDamage},
		{"Context", testContext},
		{"Linearizable", testLinearizable},
		{"Close", testClose},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			s := open(t)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			defer s.Close()
			tc.run(t, ctx, s)
		})
	}
}

// Put commits one unconditional put.
func Put(t *testing.T, s store.Store, key, value string) store.Revision {
	t.Helper()
	return commit(t, s, store.Txn{Ops: []store.Op{{Key: key, Value: []byte(value)}}})
}

func commit(t *testing.T, s store.Store, txn store.Txn) store.Revision {
	t.Helper()
	rev, err := s.Commit(t.Context(), txn)
	if err != nil {
		t.Fatalf("commit %v: %v", txn, err)
	}
	return rev
}

func wantErr(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: error %v, want %v", what, err, want)
	}
}

func wantRecord(t *testing.T, s store.Store, want store.Record) {
	t.Helper()
	got, err := s.Get(t.Context(), want.Key)
	if err != nil {
		t.Fatalf("get: %v", err)
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("record (-want +got):\n%s", diff)
	}
}

func testRevisions(t *testing.T, ctx context.Context, s store.Store) {
	_, err := s.Get(ctx, "a")
	wantErr(t, "get of an absent key", err, store.ErrNotFound)
	_, empty, err := s.List(ctx, "")
	if err != nil || empty <= 0 {
		t.Fatalf("revision of an empty store is %d, %v; want above zero", empty, err)
	}
	for i := range store.Revision(3) {
		if rev := Put(t, s, "a", fmt.Sprint(i)); rev != empty+1+i {
			t.Errorf("put %d is revision %d, want %d", i, rev, empty+1+i)
		}
	}
	b := Put(t, s, "b", "")
	wantRecord(t, s, store.Record{Key: "a", Value: []byte("2"), Rev: b - 1})
	wantRecord(t, s, store.Record{Key: "b", Rev: b})
	if rev := commit(t, s, store.Txn{}); rev != b {
		t.Errorf("a commit without ops is revision %d, want the current %d", rev, b)
	}
	if rev := commit(t, s, store.Txn{Ops: []store.Op{{Key: "absent", Delete: true}}}); rev != b {
		t.Errorf("the delete of an absent key is revision %d, want the current %d", rev, b)
	}
	if rev := commit(t, s, store.Txn{Ops: []store.Op{{Key: "a", Delete: true}}}); rev != b+1 {
		t.Errorf("delete is revision %d, want %d", rev, b+1)
	}
	_, err = s.Get(ctx, "a")
	wantErr(t, "get of a deleted key", err, store.ErrNotFound)
}

func testCompareAndSet(t *testing.T, ctx context.Context, s store.Store) {
	cas := func(rev store.Revision, value string) (store.Revision, error) {
		return s.Commit(ctx, store.Txn{
			Compares: []store.Compare{{Key: "k", Rev: rev}},
			Ops:      []store.Op{{Key: "k", Value: []byte(value)}},
		})
	}
	first, err := cas(0, "one")
	if err != nil {
		t.Fatalf("create: %v", err)
	}
	_, err = cas(0, "again")
	wantErr(t, "create of an existing key", err, store.ErrConflict)
	second, err := cas(first, "two")
	if err != nil {
		t.Fatalf("update: %v", err)
	}
	_, err = cas(first, "late")
	wantErr(t, "update from an old revision", err, store.ErrConflict)
	_, err = cas(second+1, "early")
	wantErr(t, "update from a future revision", err, store.ErrConflict)
	wantRecord(t, s, store.Record{Key: "k", Value: []byte("two"), Rev: second})
	commit(t, s, store.Txn{
		Compares: []store.Compare{{Key: "k", Rev: second}},
		Ops:      []store.Op{{Key: "k", Delete: true}},
	})
	_, err = cas(second, "ghost")
	wantErr(t, "update of a deleted key", err, store.ErrConflict)
	if _, err = cas(0, "reborn"); err != nil {
		t.Errorf("create after delete: %v", err)
	}
}

func testTransactions(t *testing.T, ctx context.Context, s store.Store) {
	old := Put(t, s, "old", "x")
	rev := commit(t, s, store.Txn{
		Compares: []store.Compare{{Key: "old", Rev: old}, {Key: "lock"}},
		Ops: []store.Op{
			{Key: "old", Delete: true},
			{Key: "new/1", Value: []byte("1")},
			{Key: "new/2", Value: []byte("2")},
		},
	})
	want := []store.Record{{Key: "new/1", Value: []byte("1"), Rev: rev}, {Key: "new/2", Value: []byte("2"), Rev: rev}}
	got, at, err := s.List(ctx, "")
	if err != nil || at != rev {
		t.Fatalf("list is at revision %d, %v; want %d", at, err, rev)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("after the transaction (-want +got):\n%s", diff)
	}
	_, err = s.Commit(ctx, store.Txn{
		Compares: []store.Compare{{Key: "new/1", Rev: rev}, {Key: "new/2", Rev: rev - 1}},
		Ops:      []store.Op{{Key: "new/1", Value: []byte("no")}, {Key: "other", Value: []byte("no")}},
	})
	wantErr(t, "one of two compares fails", err, store.ErrConflict)
	got, at, err = s.List(ctx, "")
	if diff := cmp.Diff(want, got); diff != "" || at != rev || err != nil {
		t.Errorf("a conflict changed something: revision %d, %v (-want +got):\n%s", at, err, diff)
	}
	full := store.Txn{}
	for i := range store.MaxOps {
		full.Ops = append(full.Ops, store.Op{Key: fmt.Sprintf("full/%04d", i), Value: make([]byte, 1024)})
	}
	commit(t, s, full)
	if got, _, err := s.List(ctx, "full/"); err != nil || len(got) != store.MaxOps {
		t.Errorf("after the largest transaction: %d records, %v", len(got), err)
	}
}

func testInvalid(t *testing.T, ctx context.Context, s store.Store) {
	_, err := s.Commit(ctx, store.Txn{Ops: []store.Op{{Key: ""}}})
	wantErr(t, "empty key", err, store.ErrInvalid)
	_, err = s.Commit(ctx, store.Txn{Ops: make([]store.Op, store.MaxOps+1)})
	wantErr(t, "too many ops", err, store.ErrInvalid)
	_, err = s.Grant(ctx, 0)
	wantErr(t, "lease of no length", err, store.ErrInvalid)
}

func testList(t *testing.T, ctx context.Context, s store.Store) {
	for _, key := range []string{"b/2", "a", "b/1", "b", "c", "b0", "b/\xff\xff", "b/10"} {
		Put(t, s, key, "v")
	}
	keys := func(prefix string) []string {
		records, _, err := s.List(ctx, prefix)
		if err != nil {
			t.Fatalf("list %q: %v", prefix, err)
		}
		var keys []string
		for _, r := range records {
			keys = append(keys, r.Key)
		}
		return keys
	}
	for prefix, want := range map[string][]string{
		"b/":     {"b/1", "b/10", "b/2", "b/\xff\xff"},
		"b":      {"b", "b/1", "b/10", "b/2", "b/\xff\xff", "b0"},
		"b/\xff": {"b/\xff\xff"},
		"none":   nil,
		"":       {"a", "b", "b/1", "b/10", "b/2", "b/\xff\xff", "b0", "c"},
	} {
		if got := keys(prefix); !slices.Equal(got, want) {
			t.Errorf("list %q = %q, want %q", prefix, got, want)
		}
	}
}

// load puts n keys under prefix, in large transactions.
func load(t *testing.T, s store.Store, prefix string, n int, value string) {
	t.Helper()
	for i := 0; i < n; {
		var txn store.Txn
		for ; i < n && len(txn.Ops) < store.MaxOps; i++ {
			txn.Ops = append(txn.Ops, store.Op{Key: fmt.Sprintf("%s%06d", prefix, i), Value: []byte(value)})
		}
		commit(t, s, txn)
	}
}

func testLargeList(t *testing.T, ctx context.Context, s store.Store) {
	const n = 12_345 // more than an engine's page, and no multiple of one
	load(t, s, "many/", n, "v")
	Put(t, s, "manz", "beyond")
	records, _, err := s.List(ctx, "many/")
	if err != nil || len(records) != n {
		t.Fatalf("list: %d records, %v; want %d", len(records), err, n)
	}
	for i, r := range records {
		if want := fmt.Sprintf("many/%06d", i); r.Key != want {
			t.Fatalf("record %d is %q, want %q", i, r.Key, want)
		}
	}
}

// testListIsOneSnapshot rewrites all keys in one transaction again and again; a
// list that sees two generations, or that does not match its revision, is torn.
func testListIsOneSnapshot(t *testing.T, ctx context.Context, s store.Store) {
	const keys = 64
	writing, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	write := func(generation int) error {
		var txn store.Txn
		for i := range keys {
			txn.Ops = append(txn.Ops, store.Op{Key: fmt.Sprintf("s/%02d", i), Value: fmt.Append(nil, generation)})
		}
		_, err := s.Commit(ctx, txn)
		return err
	}
	if err := write(0); err != nil {
		t.Fatal(err)
	}
	go func() {
		for generation := 1; writing.Err() == nil; generation++ {
			if err := write(generation); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	for range 50 {
		records, rev, err := s.List(ctx, "s/")
		if err != nil || len(records) != keys {
			t.Fatalf("list: %d records, %v", len(records), err)
		}
		for _, r := range records {
			if string(r.Value) != string(records[0].Value) || r.Rev != rev {
				t.Fatalf("torn list at revision %d: %v beside %v", rev, r, records[0])
			}
		}
	}
	stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}
