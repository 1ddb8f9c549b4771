package keeper

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"relight/internal/agent/volume"
)

func TestFilesAreChecked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f.json")
	var got Config
	if err := ReadFile(path, &got); !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	want := Config{Server: "db-1", Epoch: 3, Term: 9, Claims: "/c"}
	for _, durable := range []bool{false, true} {
		if err := WriteFile(path, want, durable); err != nil {
			t.Fatal(err)
		}
		if err := ReadFile(path, &got); err != nil || got != want {
			t.Fatalf("%+v, %v", got, err)
		}
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range b[:len(b)-1] {
		bad := append([]byte{}, b...)
		bad[i] ^= 0x01
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		var c Config
		if err := ReadFile(path, &c); !errors.Is(err, ErrDamaged) {
			t.Fatalf("flipped bit in byte %d of %s: %v", i, b, err)
		}
	}
}

func TestErrorsCrossTheWire(t *testing.T) {
	for code, is := range codes {
		got := failure(fmt.Errorf("volume data: %w", is))
		if err := got.err(); got.Code != code || !errors.Is(err, is) {
			t.Errorf("%s: %+v, %v", code, got, err)
		}
	}
	locked := failure(&volume.LockedError{Dir: "/v", PIDs: []int{7}}).err()
	if !errors.Is(locked, volume.ErrLocked) || locked.Error() != "/v: volume is locked by pids [7]" {
		t.Error(locked)
	}
	if err := (Response{Status: &Status{}}).err(); err != nil {
		t.Error(err)
	}
}

func TestLogStartsAnewAtItsCap(t *testing.T) {
	path := filepath.Join(t.TempDir(), appLogName)
	if err := CapLog(path, 4); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	for _, step := range []struct{ add, now, before string }{
		{"abcd", "abcd", ""},
		{"ef", "", "cdef"},
		{"gh", "gh", "cdef"},
		{"ijklm", "", "jklm"},
	} {
		if _, err := f.WriteString(step.add); err != nil {
			t.Fatal(err)
		}
		if err := CapLog(path, 4); err != nil {
			t.Fatal(err)
		}
		now, _ := os.ReadFile(path)
		before, _ := os.ReadFile(path + ".1")
		if string(now) != step.now || string(before) != step.before {
			t.Fatalf("after %q: %q and %q", step.add, now, before)
		}
	}
}

func TestNoKeeper(t *testing.T) {
	_, err := Call(context.Background(), t.TempDir(), Request{Op: OpStatus})
	if !errors.Is(err, ErrNoKeeper) {
		t.Fatal(err)
	}
	_, err = Call(context.Background(), "/no/such/dir", Request{Op: OpStatus})
	if !errors.Is(err, ErrNoKeeper) {
		t.Fatal(err)
	}
}

// TestWhoGaveUpIsNoLostKeeper: what a lost keeper has left is killed without grace, so
// only a keeper that is not there may count as lost.
func TestWhoGaveUpIsNoLostKeeper(t *testing.T) {
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Call(gone, t.TempDir(), Request{Op: OpStatus}); !errors.Is(err, context.Canceled) || errors.Is(err, ErrNoKeeper) {
		t.Errorf("a caller who gave up: %v", err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Call(t.Context(), file, Request{Op: OpStatus}); err == nil || errors.Is(err, ErrNoKeeper) {
		t.Errorf("a keeper that could not be asked: %v", err)
	}
	if _, err := Call(t.Context(), t.TempDir(), Request{Op: OpStatus}); !errors.Is(err, ErrNoKeeper) {
		t.Errorf("no keeper: %v", err)
	}
}
