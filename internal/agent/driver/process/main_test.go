package process

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"relight/internal/agent/keeper"
	"relight/internal/agent/keeper/proc"
	"relight/internal/agent/volume"
	"relight/internal/core/fleet"
)

// headless's first thread must be the one that main runs on.
func init() {
	if os.Getenv("TEST_APP") == "headless" {
		runtime.LockOSThread()
	}
}

// The test binary is also the keeper and the application.
func TestMain(m *testing.M) {
	switch {
	case os.Getenv("TEST_APP") != "":
		app(os.Getenv("TEST_APP"))
	case os.Getenv("TEST_KEEPER") != "":
		if err := keeper.Main(context.Background(), os.Args[len(os.Args)-1]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	default:
		goleak.VerifyTestMain(m)
	}
}

// app is a small server. "serve" tells its pid and waits for ever; "daemon" and
// "closing-daemon" start another of it in its own session and leave, the latter
// without handing down any descriptor.
func app(role string) {
	switch role {
	case "daemon", "closing-daemon":
		if role == "closing-daemon" {
			if err := unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
				panic(err)
			}
		} else {
			// Hand down what was handed to us.
			for fd := uintptr(3); fd < 10; fd++ {
				if _, err := unix.FcntlInt(fd, unix.F_GETFD, 0); err == nil {
					_, _ = unix.FcntlInt(fd, unix.F_SETFD, 0)
				}
			}
		}
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = append(os.Environ(), "TEST_APP=serve")
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if err := cmd.Start(); err != nil {
			panic(err)
		}
	case "headless": // its first thread ends, the others go on
		go app("serve")
		_, _, _ = unix.Syscall(unix.SYS_EXIT, 0, 0, 0)
	case "serve":
		f, err := os.OpenFile(os.Getenv("TEST_FIFO"), os.O_WRONLY, 0)
		if err != nil {
			panic(err)
		}
		_, _ = fmt.Fprintln(f, os.Getpid(), os.Getenv("RELIGHT_SERVER"), os.Getenv("RELIGHT_BEAT_SOCKET"))
		_ = f.Close()
		select {}
	}
}

// self is the test binary, also for a process that works elsewhere.
func self() string {
	path, err := os.Executable()
	if err != nil {
		panic(err)
	}
	return path
}

// host is one agent's driver with a volume, for one test.
type host struct {
	t    *testing.T
	d    *Driver
	opt  Options
	vol  string
	fifo string
}

func newHost(t *testing.T) *host {
	t.Helper()
	h := &host{t: t, vol: t.TempDir(), fifo: filepath.Join(t.TempDir(), "fifo")}
	if err := unix.Mkfifo(h.fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	h.opt = Options{
		// Longer than a socket's address can be.
		Dir:    filepath.Join(t.TempDir(), strings.Repeat("long", 30)),
		Claims: t.TempDir(), Exec: []string{self()},
		Env: []string{"TEST_KEEPER=1", "PATH=/usr/bin:/bin"},
	}
	h.open()
	t.Cleanup(h.clean)
	return h
}

func (h *host) open() {
	h.t.Helper()
	d, err := New(h.opt)
	if err != nil {
		h.t.Fatal(err)
	}
	h.d = d
	if err := d.Adopt(h.ctx()); err != nil {
		h.t.Fatal(err)
	}
}

// clean ends everything that the test has started, by its instance directories.
func (h *host) clean() {
	for _, in := range h.d.Instances() {
		r := Ref{in.Server, in.Epoch, math.MaxUint64}
		k, err := keeper.ReadState(h.d.dirOf(r.key()))
		if _, err := h.d.Stop(context.Background(), r, 0); err != nil {
			h.t.Errorf("clean: %v", err)
		}
		if _, err := h.d.Retire(context.Background(), r); err != nil {
			h.t.Errorf("clean: %v", err)
		}
		if err == nil { // the goroutine that waits for it must be gone, too
			_ = waitAny([]proc.Process{k.Keeper}, h.d.closing[0])
		}
	}
	h.d.Close()
}

func (h *host) ctx() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	h.t.Cleanup(cancel)
	return ctx
}

func ref(epoch fleet.Epoch) Ref { return Ref{"db-1", epoch, 1} }

func (h *host) launchOrder(role string) keeper.Launch {
	return keeper.Launch{
		Command: []string{self()}, Env: []string{"TEST_APP=" + role, "TEST_FIFO=" + h.fifo},
		BeatSocket: "/beat",
	}
}

func (h *host) attach(epoch fleet.Epoch) Instance {
	h.t.Helper()
	in, err := h.d.Attach(h.ctx(), Order{Ref: ref(epoch), Volumes: []keeper.Volume{{Name: "data", Dir: h.vol}}, Fresh: true})
	if err != nil {
		h.t.Fatal(err)
	}
	return in
}

// run attaches and launches, and returns the pid of the process that serves.
func (h *host) run(epoch fleet.Epoch, role string) int {
	h.t.Helper()
	h.attach(epoch)
	if _, err := h.d.Launch(h.ctx(), ref(epoch), h.launchOrder(role)); err != nil {
		h.t.Fatal(err)
	}
	return h.served()
}

// served reads the next line that an application tells. A reader that comes
// between a writer's last write and its close reads nothing, and tries again.
func (h *host) served() int {
	h.t.Helper()
	line, err := "", io.EOF
	for err == io.EOF {
		f, err1 := os.Open(h.fifo)
		if err1 != nil {
			h.t.Fatal(err1)
		}
		line, err = bufio.NewReader(f).ReadString('\n')
		_ = f.Close()
	}
	if err != nil {
		h.t.Fatal(err)
	}
	word := strings.Fields(line)
	if len(word) != 3 || word[1] != "db-1" || word[2] != "/beat" {
		h.t.Fatalf("application says %q", line)
	}
	pid, err := strconv.Atoi(word[0])
	if err != nil {
		h.t.Fatal(err)
	}
	return pid
}

// await returns the instance of epoch once ok holds for it.
func (h *host) await(epoch fleet.Epoch, ok func(Instance) bool) Instance {
	h.t.Helper()
	ctx := h.ctx()
	for {
		all := h.d.Instances()
		i := slices.IndexFunc(all, func(in Instance) bool { return in.Epoch == epoch && ok(in) })
		if i >= 0 {
			return all[i]
		}
		select {
		case <-h.d.Changes():
		case <-ctx.Done():
			h.t.Fatalf("in vain; instances are %+v", all)
		}
	}
}

func exited(in Instance) bool { return in.State == Exited }

func (h *host) wantFinal(in Instance) {
	h.t.Helper()
	if in.State != Exited || !in.Reaped || !in.LocksFree {
		h.t.Fatalf("not final: %+v", in)
	}
	if st, err := volume.Inspect(h.vol); err != nil || st.Locked {
		h.t.Fatalf("volume is %+v, %v", st, err)
	}
}

func (h *host) wantGone(pids ...int) {
	h.t.Helper()
	for _, pid := range pids {
		if p, err := proc.Look(pid); err == nil && !p.Dead {
			h.t.Fatalf("process %d is left", pid)
		}
	}
}

func wantErr(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error is %v, want %v", err, want)
	}
}

// keeperPID returns the pid of the instance's keeper.
func (h *host) keeperPID(epoch fleet.Epoch) int {
	h.t.Helper()
	st, err := keeper.ReadState(h.d.dirOf(key{"db-1", epoch}))
	if err != nil {
		h.t.Fatal(err)
	}
	return st.Keeper.PID
}

// kill sends a signal. One that is to stop a process has stopped it: of two that wait for
// it together, the kernel takes the one that ends it first.
func kill(t *testing.T, pid int, sig syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(pid, sig); err != nil {
		t.Fatal(err)
	}
	for state := ""; sig == syscall.SIGSTOP && state != "T"; {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			t.Fatal(err)
		}
		_, after, _ := strings.Cut(string(stat), ") ")
		state, _, _ = strings.Cut(after, " ")
	}
}
