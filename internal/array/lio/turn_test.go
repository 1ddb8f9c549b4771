package lio

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"relight/internal/array"
	"relight/internal/core/fence"
)

// stuck is a tree whose kernel does not finish a removal, and lets nobody list what is
// beside it, before it is freed.
type stuck struct {
	Tree
	free chan struct{}
}

func (s stuck) Rmdir(string) error { <-s.free; return nil }

func (s stuck) List(string) ([]string, error) { <-s.free; return nil, nil }

// A removal that the kernel does not finish is told when the caller's time is over, and so
// is who comes after it, and who looks. The silent connections are cut until it is done.
func TestStuckRemoval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := stuck{Tree: newKernel(), free: make(chan struct{})}
		a := New(Config{Name: "san-2", Prefix: prefix, Portal: "127.0.0.1:3260", Dir: t.TempDir()}, s)
		var cuts atomic.Int32
		a.cut = func(portals []string, silent time.Duration) error {
			if len(portals) != 1 || silent != silentFor {
				t.Errorf("cut %v, silent for %s", portals, silent)
			}
			cuts.Add(1)
			return nil
		}
		ref := array.Ref{Server: "db", Epoch: 1}
		short, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		for what, err := range map[string]error{
			"unmap": a.Unmap(short, ref), "who comes after it": a.Close(short, ref),
			"who looks": func() error { _, err := a.Sessions(short, ref); return err }(),
		} {
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: %v", what, err)
			}
		}
		if n := cuts.Load(); n != 4 { // after two seconds, and each second from then on
			t.Errorf("%d cuts", n)
		}
		for range readers {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			if _, err := a.Maps(ctx, "db"); !errors.Is(err, ErrStuck) {
				t.Errorf("a look beside it: %v", err)
			}
			cancel()
		}
		// A map that nobody waits for any more ends by itself, and tells nobody.
		b := New(Config{Name: "san-2", Prefix: prefix, Dir: t.TempDir()}, s)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		if at, err := b.Map(ctx, array.Map{Ref: ref}, fence.Proof{}); !errors.Is(err, ErrStuck) || at.IQN != "" {
			t.Errorf("a map: %v, %v", at, err)
		}
		cancel()
		close(s.free)
		synctest.Wait()
		if err := a.Unmap(t.Context(), ref); err != nil {
			t.Errorf("once it is done: %v", err)
		}
		if _, err := a.Maps(t.Context(), "db"); err != nil {
			t.Errorf("a look once it is done: %v", err)
		}
	})
}
