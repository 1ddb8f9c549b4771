package agent

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"relight/internal/agent/driver/qemu"
	"relight/internal/agent/guest"
	"relight/internal/core/lease"
	"relight/internal/lab/image"
)

const (
	// dogEnv is how the machine's agent ends: it hangs, or is killed. For the one that is
	// killed, a process of its own, it is dogChild.
	dogEnv    = "TEST_WATCHDOG"
	dogHangs  = "hangs"
	dogKilled = "killed"
	dogChild  = "child"

	dogDevice  = "/dev/watchdog"
	dogTimeout = 2 * time.Second
	// dogLast is the last line of a console if all went well until then.
	dogLast = "the device is fed no more"
)

// The agent's watchdog on a real kernel: a virtual machine whose init is this program. The
// machine lives for as long as the device is fed, and after it is disarmed; with an agent
// that hangs, and with one that is killed, it is reset in time.
func TestWatchdogOnTheKernel(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: boots a virtual machine")
	}
	binary, err := exec.LookPath(qemu.DefaultBinary)
	if err != nil {
		t.Skip("SKIPPED: needs QEMU (apt-get install qemu-system-x86)")
	}
	program := filepath.Join(t.TempDir(), "tests")
	build := exec.Command("go", "test", "-c", "-tags", "lambda.norpc", "-ldflags", "-s -w", "-o", program, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	cache, err := os.UserCacheDir()
	must(t, err)
	img, err := image.Watchdog(t.Context(), filepath.Join(cache, "relight-guest"), program)
	if errors.Is(err, image.ErrTool) || errors.Is(err, image.ErrPackage) {
		t.Skipf("SKIPPED: %v", err)
	}
	must(t, err)
	for _, end := range []string{dogHangs, dogKilled} {
		t.Run(end, func(t *testing.T) {
			said, last := console(t, binary, img, end)
			if !strings.HasSuffix(said, dogLast+"\n") {
				t.Fatalf("the machine ended otherwise:\n%s", said)
			}
			// A timer of the kernel's; an emulator on a busy machine is slow to end.
			if took := time.Since(last); took < dogTimeout-time.Second || took > dogTimeout+10*time.Second {
				t.Errorf("it was reset %s after its last food:\n%s", took, said)
			}
		})
	}
}

// console runs the machine until it ends or is reset, and returns what it said and when it
// said the last of it.
func console(t *testing.T, binary string, img image.Image, end string) (said string, last time.Time) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute) // reached only by a machine that hangs
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-machine", "q35", "-accel", "tcg", "-cpu", "max", "-m", "512", "-serial", "stdio", "-kernel", img.Kernel, "-initrd", img.Initrd,
		"-append", "console=ttyS0 loglevel=0 panic=-1 mitigations=off no_timer_check "+dogEnv+"="+end)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	for lines := bufio.NewScanner(out); lines.Scan(); last = time.Now() {
		said += strings.TrimRight(lines.Text(), "\r") + "\n"
	}
	must(t, cmd.Wait())
	return said, last
}

// playDog is the machine's init, or the agent that it kills.
func playDog() {
	if os.Getenv(dogEnv) == dogChild {
		if err := tendForEver(); err != nil {
			fmt.Println(err)
		}
		return
	}
	if err := errors.Join(guest.Boot(), outliveTheDog()); err != nil {
		fmt.Println(err)
		_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
	}
	if os.Getenv(dogEnv) == dogKilled {
		fmt.Println(killedAgent())
	} else {
		fmt.Println(hungAgent())
	}
	<-time.After(30 * time.Second)
	fmt.Println("it was not reset")
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
}

func realDog() (*watchdog, error) {
	dev, err := OpenWatchdog(dogDevice, dogTimeout)
	if err != nil {
		return nil, err
	}
	return newWatchdog(dev, slog.New(slog.DiscardHandler), func() {}), nil
}

// tendFor feeds the device for a while, as the agent does.
func tendFor(w *watchdog, d time.Duration) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for end := time.After(d); ; {
		w.tend(lease.Feed)
		select {
		case <-tick.C:
		case <-end:
			return
		}
	}
}

// outliveTheDog returns after all that must not reset the machine.
func outliveTheDog() error {
	if err := loadDog("nowayout=1"); err != nil {
		return err
	}
	if _, err := realDog(); !errors.Is(err, ErrNoWayOut) {
		return fmt.Errorf("one that cannot be disarmed gives %v", err) //nolint:errorlint // it may be nil
	}
	if err := loadDog(""); err != nil {
		return err
	}
	w, err := realDog()
	if err != nil {
		return err
	}
	if err := dogIs("inactive", ""); err != nil {
		return fmt.Errorf("looked at: %w", err)
	}
	tendFor(w, 2*dogTimeout)
	if st := w.status(); !st.Armed || st.Trouble != "" {
		return fmt.Errorf("fed: %+v", st)
	}
	if err := dogIs("active", "2"); err != nil {
		return fmt.Errorf("fed: %w", err)
	}
	// An agent ends while something runs that its lease must end; the next one is there in
	// time.
	w.close(false)
	if err := dogIs("active", "2"); err != nil {
		return fmt.Errorf("left: %w", err)
	}
	if w, err = realDog(); err != nil {
		return err
	}
	tendFor(w, 2*dogTimeout)
	w.tend(lease.Disarm)
	if err := dogIs("inactive", "2"); err != nil {
		return fmt.Errorf("disarmed: %w", err)
	}
	<-time.After(2 * dogTimeout)
	return nil
}

// loadDog loads the device's driver anew.
func loadDog(params string) error {
	if err := unix.DeleteModule("softdog", 0); err != nil {
		return fmt.Errorf("unload the driver: %w", err)
	}
	f, err := os.Open("/modules/softdog.ko")
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	if err := unix.FinitModule(int(f.Fd()), params, 0); err != nil {
		return fmt.Errorf("load the driver: %w", err)
	}
	return nil
}

// dogIs asks the kernel whether the device counts, and how many seconds; empty asks not.
func dogIs(state, timeout string) error {
	for file, want := range map[string]string{"state": state, "timeout": timeout} {
		b, err := os.ReadFile(filepath.Join("/sys/class/watchdog/watchdog0", file))
		if got := strings.TrimSpace(string(b)); err != nil || want != "" && got != want {
			return fmt.Errorf("its %s is %q, not %q (%v)", file, got, want, err)
		}
	}
	return nil
}

// hungAgent is one that has decided to feed no more, because a stop hangs.
func hungAgent() string {
	w, err := realDog()
	if err != nil {
		return err.Error()
	}
	tendFor(w, dogTimeout)
	w.tend(lease.Starve)
	return dogLast
}

// killedAgent is one that is killed while it feeds the device.
func killedAgent() string {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = []string{dogEnv + "=" + dogChild}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return err.Error()
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "fed\n" {
		return fmt.Sprintf("the agent says %q, %v", line, err)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if err := dogIs("active", "2"); err != nil {
		return err.Error()
	}
	return dogLast
}

func tendForEver() error {
	w, err := realDog()
	if err != nil {
		return err
	}
	tendFor(w, 2*dogTimeout)
	fmt.Println("fed")
	for {
		tendFor(w, time.Hour)
	}
}
