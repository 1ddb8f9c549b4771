package lio

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"relight/internal/lab/image"
)

// TestOnTheKernel boots a virtual machine with Debian's kernel, whose init are these tests:
// those named Inside drive the target of that kernel.
func TestOnTheKernel(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: boots a virtual machine")
	}
	machine, run := newMachine(t)
	out, err := exec.CommandContext(run, machine[0], machine[1:]...).Output()
	said := strings.ReplaceAll(string(out), "\r", "")
	if err != nil || !strings.Contains(said, verdict+"0\n") {
		t.Fatalf("%v\n%s", err, said)
	}
	t.Log(said)
}

// newMachine is the command of a virtual machine whose init are these tests, and a context
// that ends it if it hangs.
func newMachine(t *testing.T, more ...string) ([]string, context.Context) {
	t.Helper()
	qemu, err := exec.LookPath("qemu-system-x86_64")
	if err != nil {
		t.Skip("SKIPPED: needs QEMU (apt-get install qemu-system-x86)")
	}
	dir := t.TempDir()
	program := filepath.Join(dir, "tests")
	build := exec.Command("go", "test", "-c", "-tags", "lambda.norpc", "-ldflags", "-s -w", "-o", program, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	img, err := image.Target(t.Context(), filepath.Join(cache, "relight-guest"), program)
	if errors.Is(err, image.ErrTool) || errors.Is(err, image.ErrPackage) {
		t.Skipf("SKIPPED: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute) // reached only by a machine that hangs
	t.Cleanup(cancel)
	return append([]string{
		qemu, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-machine", "q35", "-accel", "tcg", "-cpu", "max", "-m", "512", "-serial", "stdio", "-kernel", img.Kernel, "-initrd", img.Initrd,
		"-append", "console=ttyS0 loglevel=2 panic=-1 mitigations=off no_timer_check TEST_ONLY=" + only(t),
	}, more...), ctx
}

// only picks the tests that the machine runs: for a test of its own those that serve it.
func only(t *testing.T) string {
	if t.Name() == "TestQEMUBehindTheSecondLine" {
		return serve
	}
	return os.Getenv("TEST_ONLY")
}
