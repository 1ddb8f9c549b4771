package beats

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// shared is a block device that several hosts have, each with faults of its own.
type shared struct {
	data []byte
	// fails is what each read and write ends with.
	fails error
	// before runs once before the next write, beforeScan once before the device is looked at.
	before, beforeScan func()
	opened             int
}

func (s *shared) open(context.Context) (device, error) { s.opened++; return s, nil }

func (s *shared) ReadAt(p []byte, at int64) (int, error) {
	if s.fails != nil {
		return 0, s.fails
	}
	if at >= int64(len(s.data)) {
		return 0, io.EOF
	}
	return copy(p, s.data[at:]), nil
}

func (s *shared) WriteAt(p []byte, at int64) (int, error) {
	if before := s.before; before != nil {
		s.before = nil
		before()
	}
	if s.fails != nil {
		return 0, s.fails
	}
	return copy(s.data[at:], p), nil
}

func (s *shared) Size() (int64, error) {
	if before := s.beforeScan; before != nil {
		s.beforeScan = nil
		before()
	}
	return int64(len(s.data)), nil
}

func (s *shared) Close() error { return nil }

func beat(t *testing.T, a *Area, host, text string) {
	t.Helper()
	if err := a.Write(t.Context(), host, []byte(text)); err != nil {
		t.Fatal(err)
	}
}

func sees(t *testing.T, a *Area, want map[string]string) {
	t.Helper()
	got, err := a.Read(t.Context())
	if err != nil || !maps.Equal(got, want) {
		t.Errorf("read %q, %v, want %q", got, err, want)
	}
}

// More hosts than are read at once find slots, keep them, and see each other; also one that
// starts anew.
func TestAreaOfManyHosts(t *testing.T) {
	dev := &shared{data: make([]byte, size)}
	want := map[string]string{}
	for round := range 3 {
		for i := range 2*chunk + 1 {
			host := fmt.Sprintf("host-%d", i)
			want[host] = fmt.Sprintf("%d of %s", round, host)
			beat(t, NewArea(dev.open), host, want[host])
		}
		sees(t, NewArea(dev.open), want)
	}
	if used := len(bytes.TrimRight(dev.data, "\x00")) / block; used != 2*chunk+1 {
		t.Errorf("%d blocks are used", used)
	}
}

// Two hosts take the same slot at once: the one that wrote last has it, and the other finds
// that out before it writes again.
func TestAreaTwoTakeOneSlot(t *testing.T) {
	dev := &shared{data: make([]byte, size)}
	one, two := NewArea(dev.open), NewArea(dev.open)
	beat(t, NewArea(dev.open), "host-0", "0")
	dev.before = func() { beat(t, two, "host-2", "a") }
	beat(t, one, "host-1", "a")
	sees(t, one, map[string]string{"host-0": "0", "host-1": "a"})
	for _, text := range []string{"b", "c"} {
		beat(t, two, "host-2", text)
		beat(t, one, "host-1", text)
		sees(t, two, map[string]string{"host-0": "0", "host-1": text, "host-2": text})
	}
}

// Two hosts make the area at once.
func TestAreaIsMadeTwice(t *testing.T) {
	dev := &shared{data: make([]byte, 4*size)}
	one, two := NewArea(dev.open), NewArea(dev.open)
	dev.before = func() { beat(t, two, "host-2", "a") }
	beat(t, one, "host-1", "a")
	sees(t, one, map[string]string{"host-1": "a", "host-2": "a"})

	dev = &shared{data: make([]byte, 4*size)}
	one, two = NewArea(dev.open), NewArea(dev.open)
	dev.beforeScan = func() { beat(t, two, "host-2", "a") }
	beat(t, one, "host-1", "a")
	sees(t, one, map[string]string{"host-1": "a", "host-2": "a"})
}

// What holds anything but heartbeats is left as it is, wherever that lies.
func TestAreaLeavesDataAlone(t *testing.T) {
	for name, change := range map[string]func([]byte){
		"ext4":         func(b []byte) { copy(b[0x438:], "\x53\xef") },
		"at the start": func(b []byte) { b[block+7] = 1 },
		"at the end":   func(b []byte) { b[len(b)-1] = 1 },
	} {
		dev := &shared{data: make([]byte, 4*size)}
		change(dev.data)
		was := bytes.Clone(dev.data)
		a := NewArea(dev.open)
		if err := a.Write(t.Context(), "host-1", []byte("1")); !errors.Is(err, ErrForeign) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := a.Read(t.Context()); !errors.Is(err, ErrForeign) || !bytes.Equal(dev.data, was) {
			t.Errorf("%s: %v, or it was written to", name, err)
		}
	}
	small := &shared{data: make([]byte, size-block)}
	if err := NewArea(small.open).Write(t.Context(), "host-1", nil); err == nil || !strings.Contains(err.Error(), "too few") {
		t.Errorf("a small device: %v", err)
	}
}

// A block that cannot be read is nobody's, and not free; a full area says so.
func TestAreaIsFull(t *testing.T) {
	dev := &shared{data: make([]byte, size)}
	a := NewArea(dev.open)
	beat(t, a, "host-1", "1")
	copy(dev.data[2*block:], "torn")
	beat(t, a, "host-2", "1")
	sees(t, a, map[string]string{"host-1": "1", "host-2": "1"})
	for i := 4; i <= slots; i++ {
		dev.data[i*block] = 1
	}
	if err := a.Write(t.Context(), "host-3", nil); !errors.Is(err, ErrFull) {
		t.Errorf("%v", err)
	}
	beat(t, a, "host-2", "2")
	for _, bad := range []string{"", "Host", "../x"} {
		if err := a.Write(t.Context(), bad, nil); err == nil {
			t.Errorf("wrote for %q", bad)
		}
	}
	if err := a.Write(t.Context(), "host-1", make([]byte, contentMost+1)); err == nil {
		t.Error("wrote a heartbeat that is too long")
	}
}

// A device that failed is opened again, and until then nothing is said of anybody.
func TestAreaComesBack(t *testing.T) {
	dev := &shared{data: make([]byte, size)}
	a := NewArea(dev.open)
	beat(t, a, "host-1", "1")
	dev.fails = syscall.EIO
	if err := a.Write(t.Context(), "host-1", []byte("2")); !errors.Is(err, syscall.EIO) {
		t.Errorf("%v", err)
	}
	if got, err := a.Read(t.Context()); err == nil {
		t.Errorf("read %v", got)
	}
	dev.fails = nil
	beat(t, a, "host-1", "3")
	sees(t, a, map[string]string{"host-1": "3"})
	if dev.opened != 3 {
		t.Errorf("opened %d times", dev.opened)
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if err := a.Write(over, "host-1", []byte("4")); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// Blocks that are read and written past the memory of this host.
func TestAreaOnADisk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(path, make([]byte, 4<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	one, two := NewArea(direct(path).open), NewArea(direct(path).open)
	t.Cleanup(one.Close)
	t.Cleanup(two.Close)
	if err := one.Write(t.Context(), "host-1", []byte("1")); errors.Is(err, syscall.EINVAL) {
		t.Skip("SKIPPED: the file system of the tests reads nothing past the memory")
	} else if err != nil {
		t.Fatal(err)
	}
	beat(t, two, "host-2", "1")
	beat(t, one, "host-1", "2")
	sees(t, two, map[string]string{"host-1": "2", "host-2": "1"})
	one.Close()
	beat(t, one, "host-1", "3")
	sees(t, two, map[string]string{"host-1": "3", "host-2": "1"})
}
