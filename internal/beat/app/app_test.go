package app

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestBeatReachesTheAgent(t *testing.T) {
	path := filepath.Join(t.TempDir(), "beat.sock")
	for range 2 { // the second agent finds the first one's socket
		l, err := Listen(path)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		got := make(chan uint64, 8)
		done := make(chan error)
		go func() { done <- l.Run(ctx, func(p uint64) { got <- p }) }()
		c, err := net.Dial("unixgram", path)
		if err != nil {
			t.Fatal(err)
		}
		for _, bad := range []string{"", "hello", "relight-beat 2 7", "relight-beat 1 -7", "relight-beat 1 7 8"} {
			if _, err := c.Write([]byte(bad)); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := c.Write([]byte("relight-beat 1 41")); err != nil { // a script without the line's end
			t.Fatal(err)
		}
		c.Close()
		if err := Beat(t.Context(), path, 42); err != nil {
			t.Fatal(err)
		}
		if a, b := <-got, <-got; a != 41 || b != 42 {
			t.Errorf("got %d, %d", a, b)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the socket is still there: %v", err)
		}
		stale, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
		if err != nil {
			t.Fatal(err)
		}
		stale.Close() // an agent that was killed leaves its socket behind
	}
}

func TestBeatWithoutAgent(t *testing.T) {
	if err := Beat(t.Context(), "", 1); !errors.Is(err, ErrNoSocket) {
		t.Error(err)
	}
	if err := Beat(t.Context(), filepath.Join(t.TempDir(), "none"), 1); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

func TestListenLeavesOtherFilesAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(path); err == nil {
		t.Error("listening in place of a file did not fail")
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "x" {
		t.Errorf("the file has changed: %q, %v", b, err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte("relight-beat 1 7\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := decode(b)
		if err != nil {
			return
		}
		if again, err := decode(encode(p)); err != nil || again != p {
			t.Fatalf("%q gave %d, then %d, %v", b, p, again, err)
		}
	})
}
