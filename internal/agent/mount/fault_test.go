package mount

import (
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"unsafe"

	"golang.org/x/sys/unix"

	"relight/internal/core/fleet"
	"relight/internal/core/mount"
)

// A file system that gave up is broken, whatever the list of mounts says: after an error
// that its options answer with read-only, and after its journal ended.
func TestFileSystemThatGaveUpIsBroken(t *testing.T) {
	for name, giveUp := range map[string]func(disk, path string) error{
		"read-only after errors": func(disk, _ string) error {
			return os.WriteFile(filepath.Join("/sys/fs/ext4", filepath.Base(disk), "trigger_fs_error"), []byte("1"), 0)
		},
		"without its journal": func(_, path string) error {
			const shutdown, noFlush = 0x8004587d, 2 // EXT4_IOC_SHUTDOWN
			fd, err := unix.Open(path, unix.O_RDONLY, 0)
			if err != nil {
				return err
			}
			defer func() { _ = unix.Close(fd) }()
			flags := uint32(noFlush)
			if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), shutdown, uintptr(unsafe.Pointer(&flags))); e != 0 {
				return e
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.Writes = writes
			real, v := r.disk(), r.volume(func(m *fleet.Mount) { m.Options = []string{"errors=remount-ro"} })
			r.tool("mkfs.ext4", "-q", real)
			r.attach("nvme1n1", serial, real)
			volumes := New(r.Machine, 2, []fleet.Volume{v})
			r.wants(r.advance(volumes), mount.Done, "")
			r.wants(r.advance(volumes), mount.Done, "")
			if err := giveUp(real, v.Mount.Path); err != nil {
				t.Skipf("SKIPPED: this kernel cannot be asked to: %v", err)
			}
			r.wants(r.advance(volumes), mount.Broken, "")
		})
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
