package lio

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"relight/internal/array"
	"relight/internal/array/arraytest"
	"relight/internal/array/iscsi"
	"relight/internal/core/fence"
	"relight/internal/core/fleet"
)

const prefix = "iqn.2026-01.org.example.san"

func TestSuite(t *testing.T) {
	arraytest.Run(t, func(t *testing.T) arraytest.Harness {
		k := newKernel()
		a := New(Config{Name: "san-2", Prefix: prefix, Portal: "127.0.0.1:3260", Dir: t.TempDir()}, k)
		return arraytest.Harness{
			Array: a, Prefix: prefix, Connect: k.plane.Connect, Restart: k.boot, OneListed: true, SecondLine: true,
		}
	})
}

// A target is seen on each portal, and closing it takes all of them away.
func TestSeveralPortals(t *testing.T) {
	k := newKernel()
	a := New(Config{Name: "san-2", Prefix: prefix, Portal: "127.0.0.1:3260", MorePortals: []string{"127.0.0.2:3260"}, Dir: t.TempDir()}, k)
	r := array.Ref{Server: "db", Epoch: 1}
	m, err := array.NewMap(prefix, r, map[int]string{1: "data"}, strings.NewReader("0123456789abcdef"))
	if err = errors.Join(err, a.Create(t.Context(), array.LUN{Name: "data", Bytes: 4096})); err != nil {
		t.Fatal(err)
	}
	proof, _ := fence.Prove(fleet.Server{Name: "db"}, 0, "", nil, time.Now())
	at, err := a.Map(t.Context(), m, proof)
	if err != nil {
		t.Fatal(err)
	}
	for _, portal := range []string{"127.0.0.1:3260", "127.0.0.2:3260"} {
		c, err := k.plane.Connect(t.Context(), iscsi.Config{Portal: portal, Target: at.IQN, Initiator: m.Initiator, User: m.User, Secret: m.Secret})
		if err != nil {
			t.Errorf("login through %s: %v", portal, err)
			continue
		}
		_ = c.Close()
	}
	if err := errors.Join(a.Unmap(t.Context(), r), a.Close(t.Context(), r)); err != nil {
		t.Errorf("close: %v", err)
	}
}

// TestRoot: the tree on a real directory does what the model of it does.
func TestRoot(t *testing.T) {
	dir := t.TempDir()
	r := Root(dir)
	if err := errors.Join(r.Mkdir("a"), r.Mkdir("a/b"), r.Symlink("a/b", "a/l"), os.WriteFile(filepath.Join(dir, "a/f"), []byte("0\n"), 0o600), r.Write("a/f", "1")); err != nil {
		t.Fatal(err)
	}
	if text, err := r.Read("a/f"); err != nil || text != "1" {
		t.Errorf("read %q, %v", text, err)
	}
	if names, err := r.List("a"); err != nil || !slices.Equal(names, []string{"b", "f", "l"}) {
		t.Errorf("list %v, %v", names, err)
	}
	if to, err := os.Readlink(filepath.Join(dir, "a/l")); err != nil || to != filepath.Join(dir, "a/b") {
		t.Errorf("the link leads to %q, %v", to, err)
	}
	for what, err := range map[string]error{"mkdir": r.Mkdir("a"), "symlink": r.Symlink("a/b", "a/l")} {
		if !errors.Is(err, fs.ErrExist) {
			t.Errorf("%s again: %v", what, err)
		}
	}
	for what, err := range map[string]error{"rmdir": r.Rmdir("x"), "unlink": r.Unlink("x"), "write": r.Write("a/missing", "1")} {
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s of what is not there: %v", what, err)
		}
	}
	if err := r.Rmdir("a"); err == nil {
		t.Error("a directory with something in it was removed")
	}
	if err := errors.Join(r.Unlink("a/l"), r.Rmdir("a/b")); err != nil {
		t.Error(err)
	}
}
