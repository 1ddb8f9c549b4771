package rack

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestKillAllEndsChildrenToo(t *testing.T) {
	mark := "MARK=" + t.TempDir()
	cmd := exec.Command("sh", "-c", "for i in 1 2 3 4; do setsid sleep 1000 & done; wait")
	cmd.Env = append(os.Environ(), mark)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	ours := func() ([]Process, error) {
		return Processes(func(pid int) bool {
			env, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "environ"))
			return err == nil && strings.Contains(string(env), mark)
		})
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := Poll(ctx, func() (bool, error) {
		found, err := ours()
		return len(found) == 5, err
	}); err != nil {
		t.Fatal(err)
	}
	if err := KillAll(ctx, ours); err != nil {
		t.Fatal(err)
	}
	<-ended
	if left, err := ours(); err != nil || len(left) > 0 {
		t.Fatalf("left: %v, %v", left, err)
	}
}

// TestSignalSparesTheNextOfTheSameID: an id that the kernel gave away again is
// another process.
func TestSignalSparesTheNextOfTheSameID(t *testing.T) {
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p, ok := Look(cmd.Process.Pid)
	if !ok {
		t.Fatal("it does not live")
	}
	earlier := p
	earlier.Start--
	if err := earlier.Signal(unix.SIGKILL); err != nil || !p.Lives() {
		t.Fatalf("a stranger was hit: %v", err)
	}
	if err := p.Signal(unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if p.Lives() {
		t.Fatal("it lives")
	}
	if err := p.Signal(unix.SIGKILL); err != nil {
		t.Fatalf("one that has ended: %v", err)
	}
}

func TestPowerDevice(t *testing.T) {
	broken := errors.New("the switch is stuck")
	on := true
	d := PowerDevice{Name: "d", Of: "the test", Within: time.Second, Option: "at", Means: "where", Plug: func(at, plug string) (Outlet, error) {
		if at != "here" {
			return Outlet{}, errors.New("nothing is " + at)
		}
		o := Outlet{
			Off:  func(context.Context) error { on = false; return nil },
			On:   func(context.Context) error { on = true; return nil },
			IsOn: func() (bool, error) { return on, nil },
		}
		if plug == "stuck" {
			o.Off = func(context.Context) error { return broken }
			o.IsOn = func() (bool, error) { return false, broken }
		}
		return o, nil
	}}
	for _, c := range []struct {
		in   string
		code int
		says string
	}{
		{"at=here\nplug=a\naction=status", PowerOn, "Status: ON"},
		{"# action=on\nat=here\n\n plug=a\naction=off", PowerOn, ""},
		{"at=here\nplug=a\naction=status", PowerOff, "Status: OFF"},
		{"at=here\nplug=a\naction=reboot", PowerOn, ""},
		{"at=here\nplug=a\naction=monitor", PowerOn, ""},
		{"at=here\nplug=stuck\naction=off", PowerFailed, broken.Error()},
		{"at=here\nplug=stuck\naction=reboot", PowerFailed, broken.Error()},
		{"at=here\nplug=stuck\naction=status", PowerFailed, broken.Error()},
		{"at=there\nplug=a\naction=off", PowerFailed, "nothing is there"},
		{"action=explode", PowerFailed, "none of off, on"},
		{"", PowerFailed, "none of off, on"},
		{"action=metadata", PowerOn, `<parameter name="at">`},
	} {
		var out strings.Builder
		if code := d.Serve(t.Context(), strings.NewReader(c.in), &out); code != c.code || !strings.Contains(out.String(), c.says) {
			t.Errorf("%q ended with %d and said %q, want %d and %q", c.in, code, out.String(), c.code, c.says)
		}
	}
}

func TestWatchedTellsADeathFromADismissal(t *testing.T) {
	if !Watched(strings.NewReader(dismissed)) {
		t.Error("a dismissal was taken for a death")
	}
	in, out := io.Pipe()
	_ = out.Close()
	if Watched(in) {
		t.Error("a death was taken for a dismissal")
	}
}
