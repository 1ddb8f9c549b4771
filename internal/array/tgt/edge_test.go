package tgt

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"relight/internal/array"
	"relight/internal/array/iscsi"
	"relight/internal/core/fleet"
)

// TestForeignFileSystem: what another's tools made on a LUN that is used for the first time
// is seen through the array and left as it is.
func TestForeignFileSystem(t *testing.T) {
	const size = 16 << 20 // less is no XFS
	for _, c := range []struct {
		mkfs, pkg string
		args      []string
		want      []string
	}{
		{"mkfs.ext4", "e2fsprogs", []string{"-q", "-F"}, []string{"ext2/3/4"}},
		{"mkfs.xfs", "xfsprogs", []string{"-q", "-f", "--unsupported"}, []string{"xfs"}}, // below 300 MiB
		{"mkfs.fat", "dosfstools", []string{"-F", "32"}, []string{"FAT", "partition table or boot record"}},
		{"mkswap", "util-linux", []string{"-q"}, []string{"swap"}},
	} {
		t.Run(c.mkfs, func(t *testing.T) {
			l := newLab(t)
			if _, err := exec.LookPath(c.mkfs); err != nil {
				t.Skipf("SKIPPED: needs %s (apt-get install %s)", c.mkfs, c.pkg)
			}
			l.must("LUN", l.a.Create(l.ctx, array.LUN{Name: "files", Bytes: size}))
			file := array.FilePath(filepath.Dir(l.file), "files")
			if out, err := exec.Command(c.mkfs, append(c.args, file)...).CombinedOutput(); err != nil {
				t.Fatalf("%s: %v: %s", c.mkfs, err, out)
			}
			before, err := os.ReadFile(file)
			l.must("read", err)
			if len(before) != size {
				t.Fatalf("the LUN has %d bytes", len(before))
			}
			m := l.mapOf(1)
			m.Units[11] = "files"
			target, err := l.a.Map(l.ctx, m, l.proof(1))
			l.must("map", err)
			found, err := array.Contents(l.ctx, target, m)
			l.must("contents", err)
			if len(found) != 2 || len(found[10]) != 0 || !slices.Equal(found[11], c.want) {
				t.Errorf("found %v, want %v", found, c.want)
			}
			if got, want := m.Told(found), "data is empty; files holds "+strings.Join(c.want, ", "); got != want {
				t.Errorf("told %q, want %q", got, want)
			}
			after, err := os.ReadFile(file)
			l.must("read", err)
			if !bytes.Equal(before, after) {
				t.Error("the LUN was written to")
			}
			if s, err := l.a.Sessions(l.ctx, m.Ref); err != nil || len(s) > 0 {
				t.Errorf("the look left a session: %v, %v", s, err)
			}
		})
	}
}

// TestWrongCHAPSecret: the array refuses it, and says so in a way that is told from
// an array that is away.
func TestWrongCHAPSecret(t *testing.T) {
	l := newLab(t)
	m := l.mapOf(1)
	target, err := l.a.Map(l.ctx, m, l.proof(1))
	l.must("map", err)
	wrong := m
	wrong.Secret = strings.Repeat("x", len(m.Secret))
	if _, err := array.Contents(l.ctx, target, wrong); !iscsi.IsRefused(err) {
		t.Errorf("a wrong secret: %v, want a refusal", err)
	}
	target.Portal = freePort(t)
	if _, err := array.Contents(l.ctx, target, m); err == nil || iscsi.IsRefused(err) {
		t.Errorf("no array there: %v, want an error that is no refusal", err)
	}
}

// TestFullArray: on a file system with no room left a LUN is refused whole, and a
// server that writes to another goes on, since all of its room was set aside.
func TestFullArray(t *testing.T) {
	d := startDaemon(t)
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=8m"); err != nil {
		t.Skipf("SKIPPED: a small file system cannot be mounted: %v", err)
	}
	t.Cleanup(func() {
		d.Stop() // it holds the file
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
		d.Start()
	})
	l := &lab{T: t, ctx: t.Context(), d: d, a: d.array(dir), file: array.FilePath(dir, "data")}
	l.must("create", l.a.Create(l.ctx, array.LUN{Name: "data", Bytes: lunSize}))
	m := l.mapOf(1)
	target, err := l.a.Map(l.ctx, m, l.proof(1))
	l.must("map", err)
	if err := l.a.Create(l.ctx, array.LUN{Name: "more", Bytes: 2 * lunSize}); !errors.Is(err, array.ErrFull) {
		t.Errorf("a LUN that does not fit: %v, want ErrFull", err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("it left %v", left)
	}
	l.must("fill the rest", os.WriteFile(dir+"/other", make([]byte, 4<<20-64<<10), 0o600))
	s, err := iscsi.Dial(l.ctx, m.Config(target))
	l.must("login", err)
	defer func() { _ = s.Close() }()
	for block := uint64(0); block < blocks; block += 64 {
		_, err := iscsi.Do(l.ctx, s, "write", iscsi.Write16(10, block, bytes.Repeat([]byte{1}, 64*iscsi.Block)))
		l.must("write on a full array", err)
	}
}

// TestOP_IQN: each epoch is an initiator of its own. The array tells the two apart:
// the old one is shut out while the new one works, and neither name nor secret of the
// old one opens what the new one has.
func TestOP_IQN(t *testing.T) {
	l := newLab(t)
	old := l.start(1)
	if _, err := l.a.Map(l.ctx, l.mapOf(2), l.proof(2)); !errors.Is(err, array.ErrHeld) {
		t.Fatalf("epoch 2 beside epoch 1: %v, want ErrHeld", err)
	}
	if _, err := l.fence(l.a, 1, old); err != nil {
		t.Fatal(err)
	}
	next := l.start(2)
	if old.Initiator == next.Initiator || old.Secret == next.Secret || old.User == next.User {
		t.Fatalf("epochs share a name: %s, %s", old.Initiator, next.Initiator)
	}
	s, err := iscsi.Dial(l.ctx, next)
	l.must("login of epoch 2", err)
	defer func() { _ = s.Close() }()
	for what, cfg := range map[string]iscsi.Config{
		"epoch 1 at its own target":    old,
		"epoch 1 at epoch 2's target":  {Portal: next.Portal, Target: next.Target, Initiator: old.Initiator, User: old.User, Secret: old.Secret},
		"epoch 1 under epoch 2's name": {Portal: next.Portal, Target: next.Target, Initiator: next.Initiator, User: old.User, Secret: old.Secret},
	} {
		if x, err := iscsi.Dial(l.ctx, cfg); !iscsi.IsRefused(err) {
			t.Errorf("%s: %v, want a refusal", what, err)
			if err == nil {
				_ = x.Close()
			}
		}
	}
	_, err = iscsi.Do(l.ctx, s, "write", iscsi.Write16(10, 0, make([]byte, iscsi.Block)))
	l.must("write as epoch 2", err)
}

// TestOP_CLEAN: what an epoch had on the array is gone when it has been shut out:
// target, initiator, account, sessions. What it wrote stays.
func TestOP_CLEAN(t *testing.T) {
	l := newLab(t)
	for e := fleet.Epoch(1); e <= 3; e++ {
		cfg := l.start(e)
		s, err := iscsi.Dial(l.ctx, cfg)
		l.must("login", err)
		_, err = iscsi.Do(l.ctx, s, "write", iscsi.Write16(10, uint64(e), record(e, uint64(e))))
		l.must("write", err)
		if _, err := l.fence(l.a, e, cfg); err != nil {
			t.Fatal(err)
		}
		_ = s.Close()
		maps, err := l.a.Maps(l.ctx, "db")
		users, err2 := l.a.users(l.ctx)
		targets, err3 := l.a.look(l.ctx)
		if err := errors.Join(err, err2, err3); err != nil || len(maps)+len(users)+len(targets) > 0 {
			t.Errorf("epoch %d left maps %v, accounts %v, targets %v, %v", e, maps, users, targets, err)
		}
	}
	for n := uint64(1); n <= 3; n++ {
		if e, whole := l.onDisk(n); !whole || uint64(e) != n {
			t.Errorf("record %d is of epoch %d (whole %v)", n, e, whole)
		}
	}
}
