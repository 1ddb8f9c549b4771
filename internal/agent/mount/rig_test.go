package mount

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"relight/internal/core/fleet"
	"relight/internal/core/mount"
)

const inside = "RELIGHT_MOUNT_TEST_INSIDE"

// TestMain runs the tests in a mount namespace of their own: what they mount is seen
// by nobody else, and is gone with them.
func TestMain(m *testing.M) {
	if os.Getenv(inside) != "" || os.Getuid() != 0 {
		os.Exit(m.Run())
	}
	self := exec.CommandContext(context.Background(), "/proc/self/exe", os.Args[1:]...)
	self.Stdout, self.Stderr = os.Stdout, os.Stderr
	self.Env = append(os.Environ(), inside+"=1")
	self.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS, Pdeathsig: unix.SIGKILL}
	err := self.Run()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		os.Exit(exit.ExitCode())
	case err != nil: // no namespaces here: the tests say so themselves
		os.Exit(m.Run())
	}
}

// rig is a machine with real disks (loop devices) under names and serials of Nitro.
type rig struct {
	t   *testing.T
	dir string
	*Machine
	ran [][]string
}

func newRig(t *testing.T) *rig {
	t.Helper()
	if os.Getenv(inside) == "" {
		t.Skip("SKIPPED: needs root and a mount namespace of its own")
	}
	for _, tool := range []string{"losetup", "blkid", "mkfs.ext4", "fsck.ext4", "mount"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("SKIPPED: needs %s", tool)
		}
	}
	r := &rig{t: t, dir: t.TempDir()}
	r.Machine = &Machine{Sys: filepath.Join(r.dir, "sys"), Dev: filepath.Join(r.dir, "dev"), Proc: "/proc", Etc: filepath.Join(r.dir, "etc"), RunDir: filepath.Join(r.dir, "run")}
	r.Run = func(ctx context.Context, argv ...string) (string, int, error) {
		if argv[0] != "blkid" {
			r.ran = append(r.ran, argv)
		}
		return run(ctx, argv...)
	}
	must(t, os.MkdirAll(filepath.Join(r.Sys, "block"), 0o755))
	must(t, os.MkdirAll(r.Dev, 0o755))
	return r
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (r *rig) tool(argv ...string) string {
	r.t.Helper()
	out, err := exec.CommandContext(r.t.Context(), argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		r.t.Fatalf("%v: %v\n%s", argv, err, out)
	}
	return strings.TrimSpace(string(out))
}

const diskSize = 64 << 20

// disk makes a blank disk and returns its real device.
func (r *rig) disk() string {
	r.t.Helper()
	f, err := os.CreateTemp(r.dir, "disk-*.img")
	must(r.t, err)
	must(r.t, errors.Join(f.Truncate(diskSize), f.Close()))
	out, err := exec.CommandContext(r.t.Context(), "losetup", "-f", "--show", f.Name()).CombinedOutput()
	if err != nil {
		r.t.Skipf("SKIPPED: needs loop devices: %s", out)
	}
	real := strings.TrimSpace(string(out))
	r.t.Cleanup(func() { _ = exec.CommandContext(context.Background(), "losetup", "-d", real).Run() })
	return real
}

// attach lets a disk appear under a name and a serial.
func (r *rig) attach(name, serial, real string) {
	r.t.Helper()
	dir := filepath.Join(r.Sys, "block", name)
	must(r.t, os.MkdirAll(filepath.Join(dir, "device"), 0o755))
	var st unix.Stat_t
	must(r.t, unix.Stat(real, &st))
	must(r.t, os.WriteFile(filepath.Join(dir, "dev"), fmt.Appendf(nil, "%d:%d\n", unix.Major(st.Rdev), unix.Minor(st.Rdev)), 0o600))
	// NVMe pads its serials with blanks to 20 characters.
	must(r.t, os.WriteFile(filepath.Join(dir, "device", "serial"), fmt.Appendf(nil, "%-20s\n", serial), 0o600))
	must(r.t, os.Symlink(real, filepath.Join(r.Dev, name)))
}

func (r *rig) detach(name string) {
	must(r.t, errors.Join(os.RemoveAll(filepath.Join(r.Sys, "block", name)), os.Remove(filepath.Join(r.Dev, name))))
}

// volume is data on vol-0a1b2c3d, to be mounted below the rig's directory.
func (r *rig) volume(change func(*fleet.Mount)) fleet.Volume {
	m := &fleet.Mount{Path: filepath.Join(r.dir, "data dir"), Type: "ext4", Options: []string{"noatime"}}
	if change != nil {
		change(m)
	}
	r.t.Cleanup(func() { _ = unix.Unmount(m.Path, unix.MNT_DETACH) })
	return fleet.Volume{Name: "data", ID: "vol-0a1b2c3d", Mount: m}
}

func (r *rig) advance(v *Volumes) State {
	r.t.Helper()
	all := v.Advance(r.t.Context())
	if len(all) != 1 {
		r.t.Fatalf("%d states", len(all))
	}
	return all[0]
}

func (r *rig) wants(s State, kind mount.Kind, says string) {
	r.t.Helper()
	if s.Kind != kind || !strings.Contains(s.Why, says) {
		r.t.Fatalf("%s: %s; want %s that says %q", s.Kind, s.Why, kind, says)
	}
}

// did counts the runs of a program.
func (r *rig) did(program string) (n int) {
	for _, argv := range r.ran {
		if argv[0] == program {
			n++
		}
	}
	return n
}

func (r *rig) bytes(real string) []byte {
	r.t.Helper()
	b, err := os.ReadFile(real)
	must(r.t, err)
	return b
}

func (r *rig) put(real string, at int64, data []byte) {
	r.t.Helper()
	f, err := os.OpenFile(real, os.O_WRONLY, 0)
	must(r.t, err)
	_, err = f.WriteAt(data, at)
	must(r.t, errors.Join(err, f.Sync(), f.Close()))
}

func (r *rig) mountsAt(path string) int {
	all, err := r.mounts()
	must(r.t, err)
	return len(slices.DeleteFunc(all, func(m mount.Mounted) bool { return m.Path != path }))
}

func format(m *fleet.Mount) { m.Format = true }
