package volume

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"relight/internal/core/fleet"
)

func acquire(t *testing.T, dir string, epoch fleet.Epoch) *Held {
	t.Helper()
	h, err := Acquire(dir, "db-1", epoch, true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	return h
}

func wantErr(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error is %v, want %v", err, want)
	}
}

func TestAcquireOnlyRises(t *testing.T) {
	dir := t.TempDir()
	h := acquire(t, dir, 3)
	_, err := Acquire(dir, "db-1", 4, true)
	wantErr(t, err, ErrLocked)
	var le *LockedError
	if !errors.As(err, &le) || !slices.Equal(le.PIDs, []int{os.Getpid()}) {
		t.Fatalf("holder is not named: %v", err)
	}
	_ = h.Close()

	_, err = Acquire(dir, "db-1", 2, true)
	wantErr(t, err, ErrOldEpoch)
	_, err = Acquire(dir, "db-2", 4, true)
	wantErr(t, err, ErrOtherServer)
	_ = acquire(t, dir, 3).Close() // the same epoch may come again
	_ = acquire(t, dir, 5).Close()
	st, err := Inspect(dir)
	if err != nil || st != (State{Server: "db-1", Epoch: 5}) {
		t.Fatalf("state is %+v, %v", st, err)
	}
	_, err = Acquire(dir, "db-1", 0, true)
	if err == nil {
		t.Fatal("epoch 0 was accepted")
	}
}

func TestSeal(t *testing.T) {
	dir := t.TempDir()
	h := acquire(t, dir, 2)
	_, err := Seal(dir, "db-1", 2)
	wantErr(t, err, ErrLocked)
	_ = h.Close()
	_, err = Seal(dir, "db-2", 2)
	wantErr(t, err, ErrOtherServer)

	first, err := Seal(dir, "db-1", 2)
	if err != nil || first.Epoch != 2 || first.Found != 2 || !first.ReadBack || first.Fresh {
		t.Fatalf("seal is %+v, %v", first, err)
	}
	_, err = Acquire(dir, "db-1", 2, true)
	wantErr(t, err, ErrSealed)

	_ = acquire(t, dir, 3) // stays held: a repeated seal must not need the lock
	again, err := Seal(dir, "db-1", 1)
	if err != nil || again.Epoch != 2 || !again.At.Equal(first.At) {
		t.Fatalf("repeated seal is %+v, %v", again, err)
	}
	st, err := Inspect(dir)
	if err != nil || st != (State{Server: "db-1", Epoch: 3, Sealed: 2, Locked: true}) {
		t.Fatalf("state is %+v, %v", st, err)
	}
}

// What no instance ever was on may be an empty mount point: a seal says so and leaves
// nothing there that anybody could read for one.
func TestSealOfFreshVolumeSaysSo(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "data"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if st, err := Inspect(dir); err != nil || st != (State{}) {
		t.Fatalf("state is %+v, %v", st, err)
	}
	s, err := Seal(dir, "db-1", 4)
	if err != nil || !s.Fresh || s.Found != 0 || s.Epoch != 0 {
		t.Fatalf("seal is %+v, %v", s, err)
	}
	if st, err := Inspect(dir); err != nil || st != (State{}) {
		t.Fatalf("after the seal the state is %+v, %v", st, err)
	}
}

// An epoch that expects data does not begin on an empty mount point, and leaves nothing
// there that the next one would take for a record. A person may say that it is the volume.
func TestAcquireOfADirectoryWithoutRecord(t *testing.T) {
	dir := t.TempDir()
	_, err := Acquire(dir, "db-1", 4, false)
	wantErr(t, err, ErrNoRecord)
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Fatalf("it leaves %v, %v", entries, err)
	}
	for _, fresh := range []bool{true, false} {
		if made, err := Mark(dir, "db-1"); err != nil || made != fresh {
			t.Fatalf("mark: %v, %v", made, err)
		}
	}
	_, err = Mark(dir, "db-2")
	wantErr(t, err, ErrOtherServer)
	if s, err := Seal(dir, "db-1", 3); err != nil || !s.Fresh {
		t.Fatalf("a marked directory proves an epoch dead: %+v, %v", s, err)
	}
	h, err := Acquire(dir, "db-1", 4, false)
	if err != nil {
		t.Fatal(err)
	}
	_ = h.Close()
}

func TestSealRefusedWhileAFileIsOpenForWriting(t *testing.T) {
	dir := t.TempDir()
	_ = acquire(t, dir, 1).Close()
	f, err := os.Create(filepath.Join(dir, "data"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = Seal(dir, "db-1", 1)
	wantErr(t, err, ErrInUse)

	if err := f.Truncate(4096); err != nil {
		t.Fatal(err)
	}
	m, err := unix.Mmap(int(f.Fd()), 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	_, err = Seal(dir, "db-1", 1)
	wantErr(t, err, ErrInUse)
	_ = unix.Munmap(m)

	r, err := os.Open(filepath.Join(dir, "data")) // readers do no harm
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	if _, err := Seal(dir, "db-1", 1); err != nil {
		t.Fatal(err)
	}
}

func TestDamageIsNeverAbsence(t *testing.T) {
	dir := t.TempDir()
	_ = acquire(t, dir, 7).Close()
	epoch := filepath.Join(dir, metaName, epochName)
	lock := filepath.Join(dir, metaName, lockName)
	good, err := os.ReadFile(epoch)
	if err != nil {
		t.Fatal(err)
	}
	refused := func(what string) {
		t.Helper()
		_, err := Acquire(dir, "db-1", 8, true)
		_, err2 := Seal(dir, "db-1", 7)
		_, err3 := Inspect(dir)
		if !errors.Is(err, ErrCorrupt) || !errors.Is(err2, ErrCorrupt) || !errors.Is(err3, ErrCorrupt) {
			t.Fatalf("%s: %v; %v; %v", what, err, err2, err3)
		}
	}
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 0x04
		put(t, epoch, bad)
		if _, err := Inspect(dir); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("flipped bit in byte %d: %v", i, err)
		}
		put(t, epoch, good[:i])
		if _, err := Inspect(dir); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("torn at byte %d: %v", i, err)
		}
	}
	refused("torn")
	_ = os.Remove(epoch)
	refused("missing epoch")
	put(t, epoch, good)
	_ = os.Remove(lock)
	refused("missing lock")
	put(t, lock, nil)
	_ = acquire(t, dir, 8)
}

func put(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestUnreachable(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "gone")
	_, err := Acquire(dir, "db-1", 1, true)
	wantErr(t, err, ErrUnreachable)
	_, err = Seal(dir, "db-1", 1)
	wantErr(t, err, ErrUnreachable)
	_, err = Inspect(dir)
	wantErr(t, err, ErrUnreachable)
	put(t, dir, nil)
	_, err = Acquire(dir, "db-1", 1, true)
	wantErr(t, err, ErrUnreachable)
	_, err = Seal("/proc/self", "db-1", 1)
	wantErr(t, err, ErrUnfit)
}

func TestReplacedLockIsRefused(t *testing.T) {
	dir := t.TempDir()
	_ = acquire(t, dir, 1).Close()
	lock := filepath.Join(dir, metaName, lockName)
	if err := os.Remove(lock); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/dev/null", lock); err != nil {
		t.Fatal(err)
	}
	if _, err := Acquire(dir, "db-1", 2, true); err == nil {
		t.Fatal("a symlink was taken for the lock")
	}
}

// The lock lives in the inherited description: a child that outlives its parent's
// own descriptor holds it, and its death alone frees it.
func TestLockIsInherited(t *testing.T) {
	dir := t.TempDir()
	h := acquire(t, dir, 1)
	cmd := exec.Command("/bin/sh", "-c", "exec 4<&0; read line <&4 & exec 3>&-; wait")
	cmd.ExtraFiles = []*os.File{h.File()}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = h.Close()
	_, err = Seal(dir, "db-1", 1)
	wantErr(t, err, ErrLocked)
	if st, err := Inspect(dir); err != nil || !st.Locked {
		t.Fatalf("inherited lock is not seen: %+v, %v", st, err)
	}
	_ = in.Close() // the grandchild's read ends
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if _, err := Seal(dir, "db-1", 1); err != nil {
		t.Fatal(err)
	}
}

func TestOneOfManyAcquires(t *testing.T) {
	dir := t.TempDir()
	var wg sync.WaitGroup
	var mu sync.Mutex
	var won []*Held
	for range 16 {
		wg.Go(func() {
			h, err := Acquire(dir, "db-1", 1, true)
			if err == nil {
				mu.Lock()
				defer mu.Unlock()
				won = append(won, h)
			} else if !errors.Is(err, ErrLocked) {
				t.Error(err)
			}
		})
		wg.Go(func() {
			if _, err := Inspect(dir); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if len(won) != 1 {
		t.Fatalf("%d acquired", len(won))
	}
	_ = won[0].Close()
}
