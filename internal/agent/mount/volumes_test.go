package mount

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"relight/internal/core/fleet"
	"relight/internal/core/mount"
)

const serial = "vol0a1b2c3d"

// The first epoch formats a blank volume; all later ones, on other machines, find what
// it wrote.
func TestAH_MOUNT_FirstEpochFormats(t *testing.T) {
	r := newRig(t)
	real, v := r.disk(), r.volume(format)
	r.attach("nvme1n1", serial, real)
	first := New(r.Machine, 1, []fleet.Volume{v})
	var told []mount.Kind
	first.Doing = func(volume string, s mount.Step) {
		if len(r.ran) != len(told) || volume != "data" {
			t.Errorf("%s of %s is told after %v ran", s.Kind, volume, r.ran)
		}
		told = append(told, s.Kind)
	}
	s := r.advance(first)
	r.wants(s, mount.Done, v.Mount.Path)
	if !slices.Equal(told, []mount.Kind{mount.Format, mount.Mount}) {
		t.Errorf("told %v", told)
	}
	if !s.Formatted || r.did("mkfs.ext4") != 1 {
		t.Fatalf("formatted %v, ran %v", s.Formatted, r.ran)
	}
	kept := filepath.Join(v.Mount.Path, "kept")
	must(t, os.WriteFile(kept, []byte("data"), 0o600))
	must(t, unix.Unmount(v.Mount.Path, 0))
	r.detach("nvme1n1")

	r.attach("nvme2n1", serial, real)
	r.wants(r.advance(New(r.Machine, 2, []fleet.Volume{v})), mount.Done, "")
	if b, err := os.ReadFile(kept); err != nil || string(b) != "data" || r.did("mkfs.ext4") != 1 {
		t.Errorf("%q, %v, ran %v", b, err, r.ran)
	}
}

// The sample's mistake: lsblk shows no file system on a disk that is encrypted,
// partitioned, damaged or not read at all, and mkfs destroys it. Whatever is on the
// volume stays, to the last byte, though epoch and spec would allow a format.
func TestAH_MOUNT_FormatOfANonBlankDisk(t *testing.T) {
	// One partition of type 83 from sector 8 on, 1024 sectors long.
	table := make([]byte, 66)
	table[4], table[8], table[13], table[64], table[65] = 0x83, 8, 4, 0x55, 0xaa
	for name, row := range map[string]struct {
		at   int64
		data []byte
		says string
	}{
		"LUKS header":           {0, append([]byte("LUKS\xba\xbe\x00\x01aes\x00"), make([]byte, 500)...), "never formatted"},
		"broken superblock":     {1024, []byte{0x00, 0x20, 0, 0, 0, 1}, "never formatted"},
		"partition table":       {446, table, "holds dos"},
		"data at the very end":  {diskSize - 512, []byte("md"), "never formatted"},
		"data behind the edge":  {edge + 4096, []byte("rows"), "never formatted"},
		"swap":                  {4086, []byte("SWAPSPACE2"), "never formatted"},
		"an LVM label":          {512, []byte("LABELONE"), "never formatted"},
		"one byte in the first": {77, []byte{1}, "never formatted"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			real, v := r.disk(), r.volume(format)
			r.put(real, row.at, row.data)
			before := r.bytes(real)
			r.attach("nvme1n1", serial, real)
			r.wants(r.advance(New(r.Machine, 1, []fleet.Volume{v})), mount.Refuse, row.says)
			if len(r.ran) != 0 || !bytes.Equal(before, r.bytes(real)) {
				t.Errorf("the disk has changed; ran %v", r.ran)
			}
		})
	}
}

// A disk that cannot be read is not blank: it is waited for.
func TestAH_MOUNT_UnreadableIsNotBlank(t *testing.T) {
	r := newRig(t)
	v := r.volume(format)
	real := r.disk()
	r.attach("nvme1n1", serial, real)
	r.Run = func(context.Context, ...string) (string, int, error) { return "", 4, nil }
	r.wants(r.advance(New(r.Machine, 1, []fleet.Volume{v})), mount.Wait, "blkid ended with 4")
	r.Run = func(context.Context, ...string) (string, int, error) {
		return "", 0, errors.New("no such program")
	}
	r.wants(r.advance(New(r.Machine, 1, []fleet.Volume{v})), mount.Wait, "install util-linux")
	must(t, os.Remove(filepath.Join(r.Dev, "nvme1n1")))
	r.wants(r.advance(New(r.Machine, 1, []fleet.Volume{v})), mount.Wait, "no such file")
	if other := r.disk(); true {
		must(t, os.Symlink(other, filepath.Join(r.Dev, "nvme1n1")))
	}
	r.wants(r.advance(New(r.Machine, 1, []fleet.Volume{v})), mount.Wait, "and the disk is")
}

// The sample's mistake: the volume was attached as /dev/xvdb, which Nitro never makes,
// and the next disk is another volume's. Only the serial counts.
func TestAH_MOUNT_DeviceNameGuessedOnNitro(t *testing.T) {
	r := newRig(t)
	decoy, real, v := r.disk(), r.disk(), r.volume(format)
	r.attach("xvdb", "vol0ffffffff", decoy)
	r.attach("nvme1n1", "", decoy)
	volumes := New(r.Machine, 1, []fleet.Volume{v})
	r.wants(r.advance(volumes), mount.Wait, "xvdb has vol0ffffffff")
	r.attach("nvme7n1", serial, real)
	r.wants(r.advance(volumes), mount.Done, "")
	if !bytes.Equal(r.bytes(decoy), make([]byte, diskSize)) {
		t.Error("another volume's disk was written to")
	}
	r.attach("nvme8n1", serial, decoy)
	r.wants(r.advance(volumes), mount.Refuse, "2 disks have the serial")
}

// The sample gave up after a minute, while the volume was still attached elsewhere. Here
// nothing counts the looks.
func TestAH_MOUNT_SlowAttach(t *testing.T) {
	r := newRig(t)
	real, v := r.disk(), r.volume(nil)
	r.tool("mkfs.ext4", "-q", real)
	volumes := New(r.Machine, 5, []fleet.Volume{v})
	for range 2000 {
		r.wants(r.advance(volumes), mount.Wait, "no disk has the serial "+serial+" yet")
	}
	r.attach("nvme1n1", serial, real)
	r.wants(r.advance(volumes), mount.Done, "")
}

// The sample's mistake: what was half done is an error at the next try. Here each step
// starts from what is there.
func TestAH_MOUNT_NotReentrantAfterAHalfDoneAttach(t *testing.T) {
	r := newRig(t)
	real, v := r.disk(), r.volume(format)
	r.attach("nvme1n1", serial, real)
	// The agent dies after the format.
	r.tool("mkfs.ext4", "-q", real)
	r.wants(r.advance(New(r.Machine, 1, []fleet.Volume{v})), mount.Done, "")
	if r.did("mkfs.ext4") != 0 {
		t.Fatalf("a second format: %v", r.ran)
	}
	// The agent dies after the mount: the next one finds it done, and mounts nothing over it.
	for range 3 {
		r.wants(r.advance(New(r.Machine, 1, []fleet.Volume{v})), mount.Done, "")
	}
	if n := r.mountsAt(v.Mount.Path); n != 1 || r.did("mount") != 1 {
		t.Errorf("%d mounts, ran %v", n, r.ran)
	}
	// A mount that fails is told, and tried again.
	must(t, unix.Unmount(v.Mount.Path, 0))
	bad := v
	bad.Mount = &fleet.Mount{Path: v.Mount.Path, Type: "ext4", Options: []string{"no-such-option"}}
	again := New(r.Machine, 1, []fleet.Volume{bad})
	r.wants(r.advance(again), mount.Wait, "mount failed, it is tried again: mount ended with")
	again.want[0].Mount.Options = nil
	r.wants(r.advance(again), mount.Done, "")
}

// What is mounted wrong is said, and left as it is.
func TestAH_MOUNT_MountedWrong(t *testing.T) {
	r := newRig(t)
	real, other, v := r.disk(), r.disk(), r.volume(format)
	r.tool("mkfs.ext4", "-q", real)
	r.tool("mkfs.ext4", "-q", other)
	r.attach("nvme1n1", serial, real)
	volumes := New(r.Machine, 3, []fleet.Volume{v})
	must(t, os.MkdirAll(v.Mount.Path, 0o755))
	elsewhere := filepath.Join(r.dir, "elsewhere")
	must(t, os.MkdirAll(elsewhere, 0o755))

	r.tool("mount", other, v.Mount.Path)
	r.wants(r.advance(volumes), mount.Refuse, "umount "+v.Mount.Path)
	must(t, unix.Unmount(v.Mount.Path, 0))
	r.tool("mount", real, elsewhere)
	r.wants(r.advance(volumes), mount.Refuse, "not on "+v.Mount.Path)
	must(t, unix.Unmount(elsewhere, 0))
	r.wants(r.advance(volumes), mount.Done, "")
	r.tool("mount", "-o", "remount,ro", v.Mount.Path)
	r.wants(r.advance(volumes), mount.Broken, "read-only")
	r.tool("mount", "-o", "remount,rw", v.Mount.Path)
	r.detach("nvme1n1")
	r.wants(r.advance(volumes), mount.Broken, "no disk has the serial")
	if r.did("mkfs.ext4") != 0 || r.did("mount") != 1 {
		t.Errorf("ran %v", r.ran)
	}
}

func TestAH_MOUNT_CheckedBeforeTheMount(t *testing.T) {
	r := newRig(t)
	real, v := r.disk(), r.volume(func(m *fleet.Mount) { m.Fsck = true })
	r.tool("mkfs.ext4", "-q", real)
	r.attach("nvme1n1", serial, real)
	r.tool("debugfs", "-w", "-R", "clri <2>", real) // no root directory: only a person may judge
	volumes := New(r.Machine, 3, []fleet.Volume{v})
	r.wants(r.advance(volumes), mount.Wait, ErrDamaged.Error())
	if r.did("mount") != 0 {
		t.Fatal("it was mounted all the same")
	}
	r.tool("mkfs.ext4", "-q", "-F", real)
	r.wants(r.advance(volumes), mount.Done, "")
	if r.did("fsck.ext4") != 2 {
		t.Errorf("ran %v", r.ran)
	}
}

// A volume below another's directory comes after it, whatever their order in the spec.
func TestAH_MOUNT_BelowAnother(t *testing.T) {
	r := newRig(t)
	upper, lower := r.volume(format), r.volume(format)
	lower.Name, lower.ID = "log", "vol-0b"
	lower.Mount = &fleet.Mount{Path: upper.Mount.Path + "/log", Type: "ext4", Format: true}
	t.Cleanup(func() { _ = unix.Unmount(lower.Mount.Path, unix.MNT_DETACH) })
	r.attach("nvme1n1", "vol0b", r.disk())
	volumes := New(r.Machine, 1, []fleet.Volume{lower, upper, {Name: "raw", ID: "vol-0c"}})
	got := volumes.Advance(t.Context())
	if len(got) != 2 || got[1].Kind != mount.Wait || got[1].Volume != "log" || len(r.ran) != 0 {
		t.Fatalf("%+v, ran %v", got, r.ran)
	}
	r.attach("nvme2n1", serial, r.disk())
	for _, s := range volumes.Advance(t.Context()) {
		r.wants(s, mount.Done, "")
	}
	if r.mountsAt(lower.Mount.Path) != 1 {
		t.Error("it is not mounted")
	}
}

// A format is kept before it is begun, so that a process which dies in the middle of it
// is followed by one that tells of it; what cannot be kept is not formatted.
func TestAH_MOUNT_FormatIsKeptFirst(t *testing.T) {
	r := newRig(t)
	real, v := r.disk(), r.volume(format)
	r.attach("nvme1n1", serial, real)
	first := New(r.Machine, 1, []fleet.Volume{v})
	full := errors.New("no space")
	first.Formatting = func([]string) error { return full }
	s := r.advance(first)
	r.wants(s, mount.Wait, "no space")
	if s.Formatted || r.did("mkfs.ext4") != 0 {
		t.Fatalf("formatted %v, ran %v", s.Formatted, r.ran)
	}
	var kept []string
	first.Formatting = func(volumes []string) error {
		if r.did("mkfs.ext4") != 0 {
			t.Error("it is kept after the format")
		}
		kept = volumes
		return nil
	}
	if s = r.advance(first); !s.Formatted || s.Serial != serial || !slices.Equal(kept, []string{"data"}) {
		t.Errorf("%+v, kept %v", s, kept)
	}
	next := New(r.Machine, 1, []fleet.Volume{v})
	next.Formatted(kept)
	if s = r.advance(next); !s.Formatted || s.Kind != mount.Done {
		t.Errorf("the next process tells %+v", s)
	}
}
