package lab_test

import (
	"context"
	"testing"
	"time"

	"relight/internal/lab"
	"relight/internal/lab/check"
)

func bare(t *testing.T, l *lab.Lab) (*lab.Bare, context.Context) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	t.Cleanup(cancel)
	b, err := l.Bare(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b, ctx
}

// TestControl: the checker must see what a fence that is not whole lets through,
// with real virtual machines. Only the map is changed: the old epoch's session
// writes on.
func TestControl(t *testing.T) {
	l := up(t, "n")
	b, ctx := bare(t, l)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(b.Allow(ctx, 1))
	must(b.Launch(ctx, "ha", 1))
	must(b.Wrote(ctx, 50))
	must(b.Forbid(ctx, 1))
	fence := check.Fence{Epoch: 1, At: time.Now()}
	must(b.Allow(ctx, 2))
	must(b.Launch(ctx, "hb", 2))
	must(b.Wrote(ctx, 50))
	f, err := b.Judge(fence)
	must(err)
	if f.Stale == 0 || f.Lost == 0 || f.OK() {
		t.Fatalf("two writers were at work, and the checker saw %s", f)
	}
	t.Logf("with the map alone: %s", f)
}

// TestBareFence: the whole fence by hand, with the same machines and the same
// checker, lets nothing through.
func TestBareFence(t *testing.T) {
	l := up(t, "b")
	b, ctx := bare(t, l)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(b.Allow(ctx, 1))
	must(b.Launch(ctx, "ha", 1))
	must(b.Wrote(ctx, 50))
	must(b.Fence(ctx, 1))
	fence := check.Fence{Epoch: 1, At: time.Now()}
	must(b.Allow(ctx, 2))
	must(b.Launch(ctx, "hb", 2))
	must(b.Wrote(ctx, 50))
	f, err := b.Judge(fence)
	must(err)
	if !f.OK() || f.Epochs != 2 {
		t.Fatalf("%s %q", f, f.Notes)
	}
	t.Logf("with the whole fence: %s", f)
}
