package proc

import (
	"errors"
	"os"
	"os/exec"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

func TestParseNameWithParentheses(t *testing.T) {
	p, err := parse(7, []byte("7 (a) Z (b c) S 3 4 5 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 4711 0 0"))
	if err != nil || p != (Process{PID: 7, Parent: 3, Group: 4, Session: 5, Start: 4711}) {
		t.Fatalf("%+v, %v", p, err)
	}
	if _, err := parse(7, []byte("7 (a)")); err == nil {
		t.Fatal("a torn stat was accepted")
	}
}

func TestZombieWithThreadsIsNotDead(t *testing.T) {
	for stat, dead := range map[string]bool{
		"7 (a) Z 3 4 5 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 4711 0 0": true,
		"7 (a) Z 3 4 5 0 -1 0 0 0 0 0 0 0 0 0 20 0 2 0 4711 0 0": false,
		"7 (a) T 3 4 5 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 4711 0 0": false,
	} {
		if p, err := parse(7, []byte(stat)); err != nil || p.Dead != dead {
			t.Errorf("%s: %+v, %v", stat, p, err)
		}
	}
}

func TestDescendants(t *testing.T) {
	all := []Process{
		{PID: 2, Parent: 1},
		{PID: 3, Parent: 2, Dead: true},
		{PID: 4, Parent: 3},
		{PID: 5, Parent: 9},
		{PID: 9, Parent: 5},
		{PID: 6, Parent: 1},
	}
	got := Descendants(all, 2)
	if len(got) != 1 || got[0].PID != 4 {
		t.Fatalf("below 2: %v", got)
	}
	if got := Descendants(all, 5); len(got) != 2 { // a loop ends
		t.Fatalf("below 5: %v", got)
	}
}

func TestSignalHitsOnlyTheSameProcess(t *testing.T) {
	cmd := exec.Command("/bin/cat")
	cmd.Env = []string{"MARK=a.1", "OTHER=x"}
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err := errors.Join(err1, err2, cmd.Start()); err != nil {
		t.Fatal(err)
	}
	// Its environment shows only once its exec is through.
	_, err1 = in.Write([]byte("x"))
	_, err2 = out.Read(make([]byte, 1))
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill() }()
	p, err := Look(cmd.Process.Pid)
	if err != nil || p.Parent != os.Getpid() {
		t.Fatalf("%+v, %v", p, err)
	}
	if !Marked(p.PID, "MARK=a.1", "OTHER=x") || Marked(p.PID, "MARK=a.1", "OTHER=y") || Marked(p.PID, "MARK=a.") {
		t.Fatal("marks are misread")
	}
	stranger := p
	stranger.Start--
	if err := Signal(stranger, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if fd, err := Open(stranger); !errors.Is(err, ErrGone) {
		t.Fatalf("opened a stranger: %d, %v", fd, err)
	}
	below, err := Below(os.Getpid())
	if err != nil || !slices.Contains(below, must(Look(p.PID))) {
		t.Fatalf("the process is not below: %v, %v", below, err)
	}
	all, err := List()
	if err != nil || !slices.Contains(all, must(Look(p.PID))) {
		t.Fatalf("the process was hit, or is not listed: %v", err)
	}
	if err := Signal(p, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if err := Signal(p, unix.SIGKILL); err != nil {
		t.Fatalf("signal to a process that is gone: %v", err)
	}
	if id, err := BootID(); err != nil || id == "" {
		t.Fatalf("boot id %q, %v", id, err)
	}
}

func must(p Process, err error) Process {
	if err != nil {
		panic(err)
	}
	return p
}
