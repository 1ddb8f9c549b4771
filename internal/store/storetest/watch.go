package storetest

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"relight/internal/store"
)

// collect reads events until n have come or the watch ends.
func collect(t *testing.T, events <-chan []store.Event, n int) []store.Event {
	t.Helper()
	var got []store.Event
	deadline := time.After(patience)
	for len(got) < n {
		select {
		case batch, ok := <-events:
			if !ok {
				t.Fatalf("watch ended after %d of %d events", len(got), n)
			}
			got = append(got, batch...)
		case <-deadline:
			t.Fatalf("%d of %d events", len(got), n)
		}
	}
	return got
}

func watch(t *testing.T, ctx context.Context, s store.Store, prefix string, after store.Revision) <-chan []store.Event {
	t.Helper()
	events, err := s.Watch(ctx, prefix, after)
	if err != nil {
		t.Fatalf("watch %q after %d: %v", prefix, after, err)
	}
	return events
}

func testWatchOrderAndResume(t *testing.T, ctx context.Context, s store.Store) {
	fromStart := watch(t, ctx, s, "w/", 0)
	var want []store.Event
	put := func(key, value string) {
		rev := Put(t, s, key, value)
		want = append(want, store.Event{Key: key, Value: []byte(value), Rev: rev})
	}
	put("w/a", "1")
	put("w/b", "2")
	Put(t, s, "other", "unseen")
	put("w/a", "3")
	rev := commit(t, s, store.Txn{Ops: []store.Op{{Key: "w/a", Delete: true}}})
	want = append(want, store.Event{Key: "w/a", Deleted: true, Rev: rev})
	put("w/a", "5")
	if diff := cmp.Diff(want, collect(t, fromStart, len(want))); diff != "" {
		t.Errorf("watch from the start (-want +got):\n%s", diff)
	}
	for i, e := range want {
		resumed := watch(t, ctx, s, "w/", e.Rev)
		put2 := want[i+1:]
		if len(put2) == 0 {
			put("w/c", "6")
			put2 = want[i+1:]
		}
		if diff := cmp.Diff(put2, collect(t, resumed, len(put2))); diff != "" {
			t.Errorf("watch after revision %d (-want +got):\n%s", e.Rev, diff)
		}
	}
	_, now, err := s.List(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	future := watch(t, ctx, s, "w/", now+1)
	put("w/d", "before")
	put("w/d", "after")
	if got := collect(t, future, 1); got[0].Rev != now+2 {
		t.Errorf("watch after the future revision %d began with %v", now+1, got[0])
	}
}

// testWatchWhole also checks that nothing is lost, doubled or reordered while
// writers and several watches run.
func testWatchWhole(t *testing.T, ctx context.Context, s store.Store) {
	const commits, keys = 200, 5
	early := watch(t, ctx, s, "t/", 0)
	failed := make(chan error, 1)
	go func() {
		defer close(failed)
		for i := range commits {
			var txn store.Txn
			for k := range keys {
				txn.Ops = append(txn.Ops, store.Op{Key: fmt.Sprintf("t/%d", k), Value: fmt.Append(nil, i)})
			}
			if _, err := s.Commit(ctx, txn); err != nil {
				failed <- err
				return
			}
		}
	}()
	for name, events := range map[string]<-chan []store.Event{"early": early, "late": watch(t, ctx, s, "t/", 0)} {
		total, last := 0, store.Revision(0)
		for total < commits*keys {
			batch, ok := <-events
			if !ok {
				t.Fatalf("%s watch ended after %d events", name, total)
			}
			for group := range slices.Chunk(batch, keys) {
				if len(group) != keys || group[0].Rev <= last {
					t.Fatalf("%s watch: a transaction was split or came out of order after revision %d: %v", name, last, group)
				}
				last = group[0].Rev
				for _, e := range group {
					if e.Rev != last || string(e.Value) != fmt.Sprint(total/keys) {
						t.Fatalf("%s watch: event %v, want value %d at revision %d", name, e, total/keys, last)
					}
				}
				total += keys
			}
		}
	}
	if err := <-failed; err != nil {
		t.Fatal(err)
	}
}

func testWatchCancel(t *testing.T, ctx context.Context, s store.Store) {
	watching, cancel := context.WithCancel(ctx)
	idle := watch(t, watching, s, "", 0)
	busy := watch(t, watching, s, "", 0) // never read: its sender must not hang
	Put(t, s, "k", "v")
	collect(t, idle, 1)
	cancel()
	drain(t, idle)
	drain(t, busy)
	_, err := s.Watch(watching, "", 0)
	wantErr(t, "watch under an ended context", err, context.Canceled)
}

// drain reads until the channel is closed.
func drain(t *testing.T, events <-chan []store.Event) {
	t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case _, ok := <-events:
			if !ok {
				return
			}
		case <-deadline:
			t.Fatal("the watch did not end")
		}
	}
}

func testClose(t *testing.T, ctx context.Context, s store.Store) {
	Put(t, s, "k", "v")
	events := watch(t, ctx, s, "", 0)
	if err := s.Health(ctx); err != nil {
		t.Errorf("health of an open store: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
	drain(t, events)
	_, err := s.Get(ctx, "k")
	wantErr(t, "get after close", err, store.ErrUnavailable)
	_, _, err = s.List(ctx, "k")
	wantErr(t, "list after close", err, store.ErrUnavailable)
	_, err = s.Commit(ctx, store.Txn{})
	wantErr(t, "commit after close", err, store.ErrUnavailable)
	_, err = s.Watch(ctx, "", 0)
	wantErr(t, "watch after close", err, store.ErrUnavailable)
	wantErr(t, "health after close", s.Health(ctx), store.ErrUnavailable)
	if err := s.Close(); err != nil {
		t.Errorf("second close: %v", err)
	}
}
