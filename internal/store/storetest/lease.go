package storetest

import (
	"context"
	"errors"
	"testing"
	"time"

	"relight/internal/store"
)

// eventually polls until ok, or fails at the deadline of ctx.
func eventually(t *testing.T, ctx context.Context, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("never happened: %s", what)
		}
	}
}

func leased(t *testing.T, s store.Store, id store.LeaseID, keys ...string) {
	t.Helper()
	var txn store.Txn
	for _, key := range keys {
		txn.Ops = append(txn.Ops, store.Op{Key: key, Value: []byte("v"), Lease: id})
	}
	commit(t, s, txn)
}

func testLeaseExpiry(t *testing.T, ctx context.Context, s store.Store) {
	id, err := s.Grant(ctx, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	long, err := s.Grant(ctx, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	leased(t, s, id, "l/a", "l/b", "l/freed", "l/moved")
	Put(t, s, "l/freed", "stays: a put without the lease frees the key")
	leased(t, s, long, "l/moved")
	_, before, err := s.List(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	events := watch(t, ctx, s, "l/", before)
	if err := s.KeepAlive(ctx, id); err != nil {
		t.Errorf("keep-alive of a living lease: %v", err)
	}
	eventually(t, ctx, "the lease's keys go away", func() bool {
		_, err := s.Get(ctx, "l/a")
		return errors.Is(err, store.ErrNotFound)
	})
	for _, e := range collect(t, events, 2) {
		if !e.Deleted || e.Rev != before+1 {
			t.Errorf("event %v, want both deletes in revision %d", e, before+1)
		}
	}
	records, _, err := s.List(ctx, "l/")
	if err != nil || len(records) != 2 || records[0].Key != "l/freed" || records[1].Key != "l/moved" {
		t.Errorf("left are %v, %v; want the keys that left the lease", records, err)
	}
	wantErr(t, "keep-alive of a lease that ended", s.KeepAlive(ctx, id), store.ErrLeaseLost)
	_, err = s.Commit(ctx, store.Txn{Ops: []store.Op{{Key: "l/late", Lease: id}}})
	wantErr(t, "put under a lease that ended", err, store.ErrLeaseLost)
}

func testLeaseRevoke(t *testing.T, ctx context.Context, s store.Store) {
	id, err := s.Grant(ctx, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	leased(t, s, id, "r/a", "r/b")
	Put(t, s, "r/c", "stays")
	if err := s.Revoke(ctx, id); err != nil {
		t.Fatalf("revoke: %v", err)
	}
	records, _, err := s.List(ctx, "r/")
	if err != nil || len(records) != 1 || records[0].Key != "r/c" {
		t.Errorf("left are %v, %v; want r/c only", records, err)
	}
	wantErr(t, "second revoke", s.Revoke(ctx, id), store.ErrLeaseLost)
	wantErr(t, "keep-alive", s.KeepAlive(ctx, id), store.ErrLeaseLost)
}

func testDamage(t *testing.T, ctx context.Context, s store.Store) {
	flipper, ok := s.(Flipper)
	if !ok {
		t.Fatal("the store offers no way to damage a value (storetest.Flipper)")
	}
	good := Put(t, s, "d/1", "good")
	bad := Put(t, s, "d/2", "bad soon")
	for bit := range 8 * len(store.Seal("", []byte("bad soon"))) {
		if err := flipper.FlipBit("d/2", bit); err != nil {
			t.Fatal(err)
		}
		_, err := s.Get(ctx, "d/2")
		wantErr(t, "get of a damaged value", err, store.ErrCorrupt)
		if bit == 0 {
			_, _, err = s.List(ctx, "d/")
			wantErr(t, "list with a damaged value", err, store.ErrCorrupt)
			events := watch(t, ctx, s, "d/2", bad-1)
			for batch := range events {
				for _, e := range batch {
					if !e.Deleted && string(e.Value) != "bad soon" {
						t.Errorf("the watch served damage: %v", e)
					}
				}
			}
		}
		if err := flipper.FlipBit("d/2", bit); err != nil {
			t.Fatal(err)
		}
	}
	wantRecord(t, s, store.Record{Key: "d/1", Value: []byte("good"), Rev: good})
}

func testContext(t *testing.T, ctx context.Context, s store.Store) {
	ended, cancel := context.WithCancel(ctx)
	cancel()
	_, err := s.Get(ended, "k")
	wantErr(t, "get", err, context.Canceled)
	_, _, err = s.List(ended, "k")
	wantErr(t, "list", err, context.Canceled)
	_, err = s.Commit(ended, store.Txn{Ops: []store.Op{{Key: "k"}}})
	wantErr(t, "commit", err, context.Canceled)
	_, err = s.Grant(ended, time.Hour)
	wantErr(t, "grant", err, context.Canceled)
	wantErr(t, "keep-alive", s.KeepAlive(ended, 1), context.Canceled)
	wantErr(t, "revoke", s.Revoke(ended, 1), context.Canceled)
	wantErr(t, "health", s.Health(ended), context.Canceled)
	_, err = s.Get(ctx, "k")
	wantErr(t, "the cancelled commit must not have happened", err, store.ErrNotFound)
}
