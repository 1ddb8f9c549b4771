package mount

import (
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"

	"golang.org/x/sys/unix"

	"relight/internal/core/fleet"
	"relight/internal/core/mount"
)

// A file system that gave up after an error is broken, however this kernel lists it. One
// that has counted no error is not asked.
func TestFileSystemThatGaveUpIsBroken(t *testing.T) {
	r := newRig(t)
	asked := 0
	r.Writes = func(path string) error { asked++; return writes(path) }
	real, v := r.disk(), r.volume(func(m *fleet.Mount) { m.Options = []string{"errors=remount-ro"} })
	r.tool("mkfs.ext4", "-q", real)
	r.attach("nvme1n1", serial, real)
	kernels := filepath.Join("/sys/fs/ext4", filepath.Base(real))
	must(t, os.MkdirAll(filepath.Join(r.Sys, "fs/ext4"), 0o755))
	must(t, os.Symlink(kernels, filepath.Join(r.Sys, "fs/ext4/nvme1n1")))
	volumes := New(r.Machine, 2, []fleet.Volume{v})
	r.wants(r.advance(volumes), mount.Done, "")
	r.wants(r.advance(volumes), mount.Done, "")
	if asked != 0 {
		t.Errorf("a file system without errors was asked %d times", asked)
	}
	if err := os.WriteFile(filepath.Join(kernels, "trigger_fs_error"), []byte("1"), 0); err != nil {
		t.Skipf("SKIPPED: this kernel plays no errors: %v", err)
	}
	r.wants(r.advance(volumes), mount.Broken, "")
	if asked == 0 {
		t.Error("one that has counted an error was not asked")
	}
}

// An error that the file system lived through is none for the server.
func TestFileSystemThatLivedThroughAnErrorIsNotBroken(t *testing.T) {
	for _, row := range []struct {
		fsType, errors string
		says           error
		broken         bool
	}{
		{"ext4", "0", unix.EROFS, false}, // it is not asked
		{"ext4", "3", unix.ENODATA, false},
		{"ext4", "3", unix.EROFS, true},
		{"xfs", "", unix.ENODATA, false},
		{"xfs", "", unix.EIO, true},
		{"btrfs", "", unix.EIO, false}, // nor is this one
	} {
		m := &Machine{Sys: t.TempDir(), Dev: "/dev", Writes: func(string) error { return row.says }}
		must(t, os.MkdirAll(filepath.Join(m.Sys, "fs/ext4/sda"), 0o755))
		must(t, os.WriteFile(filepath.Join(m.Sys, "fs/ext4/sda/errors_count"), []byte(row.errors+"\n"), 0o600))
		broken := m.suspects(row.fsType, mount.Disk{Node: "/dev/sda"}) && New(m, 1, nil).fault("/data") != ""
		if broken != row.broken {
			t.Errorf("%+v: broken %v", row, broken)
		}
	}
}

// One that does not answer at once only waits for its disk; it is asked once.
func TestFileSystemThatIsSlowIsNotBroken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := New(ThisMachine(), 1, nil)
		slow := make(chan error, 1)
		v.asked["/data"] = slow
		if got := v.fault("/data"); got != "" || v.asked["/data"] != slow {
			t.Errorf("a slow one is called %q, or is asked again", got)
		}
		slow <- unix.EIO
		if got := v.fault("/data"); got != "input/output error" {
			t.Errorf("an answer that came late is %q", got)
		}
	})
}
