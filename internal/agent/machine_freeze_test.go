package agent

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"relight/internal/agent/driver/qemu"
	"relight/internal/array"
	"relight/internal/core/fleet"
)

// withHook adds a program to the guest, as a second archive behind its first.
func (r *rig) withHook() {
	r.t.Helper()
	dir := r.t.TempDir()
	build := exec.Command("go", "build", "-o", filepath.Join(dir, "hook"), "./testdata/hook")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	if out, err := build.CombinedOutput(); err != nil {
		r.t.Fatalf("%v: %s", err, out)
	}
	pack := exec.Command("cpio", "-o", "-H", "newc", "--quiet")
	pack.Dir, pack.Stdin = dir, strings.NewReader("hook\n")
	more, err := pack.Output()
	must(r.t, err)
	first, err := os.ReadFile(r.img.Initrd)
	must(r.t, err)
	first = append(first, make([]byte, -len(first)&511)...)
	r.img.Initrd = filepath.Join(dir, "initrd.img")
	must(r.t, os.WriteFile(r.img.Initrd, append(first, more...), 0o600))
}

// A real guest freezes a real file system: what was written and not synced is on its disk
// then, the file system there needs no recovery, and a writer is held up. After the thaw it
// writes on. A stop while it is frozen leaves the file system whole.
func TestMachineFreezesItsFileSystems(t *testing.T) {
	for _, tool := range []string{"mkfs.ext4", "dumpe2fs", "debugfs", "e2fsck", "cpio"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("SKIPPED: needs %s (apt-get install e2fsprogs cpio)", tool)
		}
	}
	r := newRig(t)
	r.withHook()
	must(t, r.san.Create(t.Context(), array.LUN{Name: "files", Bytes: 16 << 20}))
	disk := filepath.Join(filepath.Dir(r.file), "files.img")
	if out, err := exec.Command("mkfs.ext4", "-q", "-F", disk).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	r.units[13] = "files"
	vm := r.template()
	vm.Cmdline += " relight.quiesce=/hook"
	r.launch(1, vm, r.let(1))

	said, err := r.m.Quiesce(t.Context(), "db-1", 1)
	if err != nil {
		console, _ := os.ReadFile(filepath.Join(r.m.dir(r.m.body(mkey{"db-1", 1})), qemu.ConsoleLog))
		t.Fatalf("%v\n%s", err, console)
	}
	if !strings.Contains(said, "holds still, with 1 file systems frozen") {
		t.Errorf("it says %q", said)
	}
	if needsRecovery(t, disk) {
		t.Error("a frozen file system needs recovery")
	}
	if got := fileOn(t, disk, "before"); got != "written before the freeze\n" {
		t.Errorf("on the disk is %q", got)
	}
	held := fileOn(t, disk, "during")

	r.m.Thaw("db-1", 1)
	eventuallyFor(t, 60*time.Second, "its writer goes on", func() error {
		if _, err := r.m.Quiesce(t.Context(), "db-1", 1); err != nil {
			return err
		}
		now := fileOn(t, disk, "during")
		if now == held || now == "" {
			r.m.Thaw("db-1", 1)
			return fmt.Errorf("%q as while it was held", now)
		}
		return nil
	})
	if needsRecovery(t, disk) {
		t.Error("a file system that is frozen once more needs recovery")
	}
	effect, err := r.do(r.command(fleet.StepStop, 1, vm, nil))
	must(t, err)
	t.Logf("stopped while frozen: %s", effect.Detail)
	r.shut(1)
	if out, err := exec.Command("e2fsck", "-f", "-n", disk).CombinedOutput(); err != nil || needsRecovery(t, disk) {
		t.Errorf("after the stop: %v: %s", err, out)
	}
}

func needsRecovery(t *testing.T, disk string) bool {
	t.Helper()
	out, err := exec.Command("dumpe2fs", "-h", disk).Output()
	must(t, err)
	return bytes.Contains(out, []byte("needs_recovery"))
}

// fileOn reads a file from the disk itself, behind the guest's back.
func fileOn(t *testing.T, disk, name string) string {
	t.Helper()
	out, err := exec.Command("debugfs", "-R", "cat /"+name, disk).Output()
	must(t, err)
	return string(out)
}
