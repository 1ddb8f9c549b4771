package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"relight/internal/store"
)

// testScanIsOneSnapshot changes what a scan has yet to come to: it must not see it.
func testScanIsOneSnapshot(t *testing.T, ctx context.Context, s store.Store) {
	const n = 6_000 // more than an engine's page
	load(t, s, "a/", n, "v")
	Put(t, s, "b/1", "old")
	want := Put(t, s, "c/1", "old")
	var seen []string
	rev, err := s.Scan(ctx, func(r store.Record) error {
		if len(seen) == 0 {
			Put(t, s, "c/1", "new")
			Put(t, s, "c/2", "new")
			Put(t, s, fmt.Sprintf("a/%06d", n-1), "new")
		}
		if string(r.Value) == "new" {
			t.Errorf("saw %q, which was changed meanwhile", r.Key)
		}
		seen = append(seen, r.Key)
		return nil
	}, "c/", "none/", "a/")
	if err != nil || rev != want {
		t.Errorf("scan is at revision %d, %v; want %d", rev, err, want)
	}
	if len(seen) != n+1 || seen[0] != "c/1" || !slices.IsSorted(seen[1:]) {
		t.Errorf("scan saw %d records, the first is %q", len(seen), seen[0])
	}
	enough := errors.New("enough")
	calls := 0
	_, err = s.Scan(ctx, func(store.Record) error { calls++; return enough }, "a/", "b/")
	wantErr(t, "the visitor's error", err, enough)
	if calls != 1 {
		t.Errorf("%d visits after an error", calls)
	}
}
