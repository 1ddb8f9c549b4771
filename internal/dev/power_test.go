package dev

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"relight/internal/rack"
)

// bench is a fleet's directory with one host whose command is the shell.
func bench(t *testing.T, script string) (dir string, h host) {
	t.Helper()
	dir = t.TempDir()
	h = host{Fleet: "test-" + strconv.Itoa(os.Getpid()) + "-" + filepath.Base(dir), Name: "host-1", Command: []string{"/bin/sh", "-c", script}}
	if err := os.MkdirAll(hostDir(dir, h.Name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := h.write(dir); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := Kill(ctx, h.Fleet, ""); err != nil {
			t.Error(err)
		}
	})
	return dir, h
}

func ask(t *testing.T, dir, action string) (int, string) {
	t.Helper()
	var out strings.Builder
	in := fmt.Sprintf("# a comment\n dir=%s\naction=%s\n\nplug=host-1\nignored=x\n", dir, action)
	return Power(t.Context(), strings.NewReader(in), &out), out.String()
}

func want(t *testing.T, dir, action string, code int) {
	t.Helper()
	if got, said := ask(t, dir, action); got != code {
		t.Fatalf("%s ended with %d, want %d: %s", action, got, code, said)
	}
}

// await polls with a deadline.
func await(t *testing.T, what string, done func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := rack.Poll(ctx, func() (bool, error) { return done(), nil }); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// count is how many processes of the host live.
func count(t *testing.T, h host) int {
	t.Helper()
	pids, err := Pids(h.Fleet, h.Name)
	if err != nil {
		t.Fatal(err)
	}
	return len(pids)
}

func TestPowerOffLeavesNothing(t *testing.T) {
	// A child that forgot its marks, one in a session of its own, one that is
	// stopped, and one that ignores what can be ignored.
	dir, h := bench(t, `
		env -i sleep 1000 &
		setsid sleep 1000 &
		sh -c 'kill -STOP $$; sleep 1000' &
		(trap '' TERM INT HUP; sleep 1000) &
		wait`)
	want(t, dir, "status", rack.PowerOff)
	want(t, dir, "on", rack.PowerOn)
	await(t, "the host's processes", func() bool { return count(t, h) >= 5 })
	want(t, dir, "status", rack.PowerOn)
	want(t, dir, "monitor", rack.PowerOn)
	before := count(t, h)
	want(t, dir, "on", rack.PowerOn) // it is
	if got := count(t, h); got != before {
		t.Fatalf("a second switch made %d processes of %d", got, before)
	}
	want(t, dir, "off", rack.PowerOn)
	want(t, dir, "status", rack.PowerOff)
	if got := count(t, h); got != 0 {
		t.Fatalf("%d processes are left", got)
	}
	want(t, dir, "off", rack.PowerOn)
	want(t, dir, "reboot", rack.PowerOn)
	want(t, dir, "status", rack.PowerOn)
}

func TestPowerOffOutrunsForks(t *testing.T) {
	dir, h := bench(t, `breed() { while :; do sleep 0.01 & sh -c 'sleep 0.02' & wait; done; }; breed & breed & breed & wait`)
	want(t, dir, "on", rack.PowerOn)
	await(t, "the host's processes", func() bool { return count(t, h) > 4 })
	want(t, dir, "off", rack.PowerOn)
	want(t, dir, "status", rack.PowerOff)
}

func TestPowerRefusesWhatItDoesNotKnow(t *testing.T) {
	dir, _ := bench(t, "sleep 1000")
	want(t, dir, "explode", rack.PowerFailed)
	want(t, "", "off", rack.PowerFailed)
	want(t, dir+"/elsewhere", "status", rack.PowerFailed)
	var out strings.Builder
	if code := Power(t.Context(), strings.NewReader("action=off\nplug=../host-1\ndir="+dir), &out); code != rack.PowerFailed {
		t.Fatalf("a plug that leads elsewhere ended with %d", code)
	}
	if code, said := ask(t, dir, "metadata"); code != rack.PowerOn || !strings.Contains(said, "<resource-agent") {
		t.Fatalf("metadata ended with %d: %s", code, said)
	}
}

// Another fleet's processes, other hosts' and the session of whoever asks are no
// business of a host's switch.
func TestKillSparesOthers(t *testing.T) {
	_, h := bench(t, "")
	var others []*exec.Cmd
	start := func(env ...string) *exec.Cmd {
		cmd := exec.Command("sleep", "1000")
		cmd.Env = append(os.Environ(), env...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _, _ = cmd.Process.Kill(), cmd.Wait() })
		return cmd
	}
	others = append(others, start(), start(marks(h.Fleet, "host-2")...), start(marks(h.Fleet+"0", h.Name)...))
	mine := start(marks(h.Fleet, h.Name)...) // in this test's own session
	if err := Kill(t.Context(), h.Fleet, h.Name); err != nil {
		t.Fatal(err)
	}
	if err := mine.Wait(); err == nil {
		t.Fatal("the marked process ended by itself")
	}
	for _, cmd := range others {
		if err := cmd.Process.Signal(syscall.Signal(0)); err != nil {
			t.Fatalf("process %d was hit: %v", cmd.Process.Pid, err)
		}
	}
	if err := Kill(t.Context(), "", ""); err == nil {
		t.Fatal("no fleet at all was taken for some fleet")
	}
}

func TestWardenEndsWhatWasLeft(t *testing.T) {
	dir, h := bench(t, "sleep 1000")
	start := func() {
		t.Helper()
		if _, err := h.start(dir); err != nil {
			t.Fatal(err)
		}
	}
	start()
	if err := Watch(strings.NewReader("done"), h.Fleet, dir); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); err != nil || count(t, h) == 0 {
		t.Fatalf("a dismissed warden did something: %v", err)
	}
	// Its master dies without a word.
	in, out := io.Pipe()
	ended := make(chan error)
	go func() { ended <- Watch(bufio.NewReader(in), h.Fleet, dir) }()
	_ = out.Close()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) || count(t, h) != 0 {
		t.Fatalf("something is left: %v", err)
	}
}

// Whoever reads the state believes off only of a device that also says so.
func TestPowerSaysItsState(t *testing.T) {
	dir, _ := bench(t, "sleep 1000")
	if _, said := ask(t, dir, "status"); said != "Status: OFF\n" {
		t.Errorf("off: %q", said)
	}
	want(t, dir, "on", rack.PowerOn)
	if _, said := ask(t, dir, "status"); said != "Status: ON\n" {
		t.Errorf("on: %q", said)
	}
}
