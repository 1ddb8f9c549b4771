package process

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"relight/internal/agent/address"
	"relight/internal/agent/keeper"
	"relight/internal/agent/volume"
)

func TestKilledApplicationIsReaped(t *testing.T) {
	h := newHost(t)
	pid := h.run(1, "serve")
	in := h.await(1, func(in Instance) bool { return in.State == Running && in.PID == pid })
	if in.Reaped || in.LocksFree {
		t.Fatalf("a running instance counts as gone: %+v", in)
	}
	if _, err := h.d.Seal(h.ctx(), ref(1), h.vol); !errors.Is(err, volume.ErrLocked) {
		t.Fatalf("seal of a held volume: %v", err)
	}
	kill(t, pid, syscall.SIGKILL)
	in = h.await(1, exited)
	h.wantFinal(in)
	if in.Exit == nil || in.Exit.Signal != "SIGKILL" {
		t.Fatalf("exit is %+v", in.Exit)
	}

	// It is not started again under this epoch, and not after a seal.
	if again, err := h.d.Launch(h.ctx(), ref(1), h.launchOrder("serve")); err != nil || again.State != Exited {
		t.Fatalf("replayed launch: %+v, %v", again, err)
	}
	s, err := h.d.Seal(h.ctx(), ref(1), h.vol)
	if err != nil || s.Epoch != 1 || s.Found != 1 || !s.ReadBack {
		t.Fatalf("seal is %+v, %v", s, err)
	}
	_, err = h.d.Attach(h.ctx(), Order{Ref: ref(1)})
	wantErr(t, err, ErrFenced)
	_, err = volume.Acquire(h.vol, "db-1", 1, true)
	wantErr(t, err, volume.ErrSealed)
	_ = h.run(2, "serve") // the next epoch may
}

func TestStopKillsAStoppedProcess(t *testing.T) {
	h := newHost(t)
	pid := h.run(1, "serve")
	kill(t, pid, syscall.SIGSTOP)
	in, err := h.d.Stop(h.ctx(), ref(1), time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	h.wantFinal(in)
	h.wantGone(pid)
	again, err := h.d.Stop(h.ctx(), ref(1), 0)
	if err != nil || again.State != Exited || !again.Fenced {
		t.Fatalf("replayed stop: %+v, %v", again, err)
	}
	_, err = h.d.Launch(h.ctx(), ref(1), h.launchOrder("serve"))
	wantErr(t, err, ErrFenced)
}

func TestGraceIsGivenAndShortened(t *testing.T) {
	h := newHost(t)
	h.attach(1)
	l := h.launchOrder("")
	l.Command = []string{"sh", "-c", `trap 'echo "$$ db-1 /beat" > "$TEST_FIFO"' TERM; echo "$$ db-1 /beat" > "$TEST_FIFO"; while :; do sleep 1000 & wait; done`}
	if _, err := h.d.Launch(h.ctx(), ref(1), l); err != nil {
		t.Fatal(err)
	}
	pid := h.served()
	type result struct {
		in  Instance
		err error
	}
	first := make(chan result, 1)
	go func() {
		in, err := h.d.Stop(h.ctx(), ref(1), time.Hour)
		first <- result{in, err}
	}()
	if got := h.served(); got != pid { // it was asked to end, and refuses
		t.Fatalf("process %d answers for %d", got, pid)
	}
	in, err := h.d.Stop(h.ctx(), ref(1), time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	h.wantFinal(in)
	if r := <-first; r.err != nil || r.in.State != Exited {
		t.Fatalf("first stop: %+v", r)
	}
}

func TestDaemonsCount(t *testing.T) {
	for _, role := range []string{"daemon", "closing-daemon"} {
		t.Run(role, func(t *testing.T) {
			h := newHost(t)
			pid := h.run(1, role)
			in := h.await(1, func(in Instance) bool { return in.Exit != nil })
			if in.State != Running || in.Reaped || in.PID == pid {
				t.Fatalf("the daemon does not count: %+v", in)
			}
			_, err := h.d.Seal(h.ctx(), ref(1), h.vol)
			wantErr(t, err, volume.ErrLocked)
			in, err = h.d.Stop(h.ctx(), ref(1), 0)
			if err != nil {
				t.Fatal(err)
			}
			h.wantFinal(in)
			h.wantGone(pid)
		})
	}
}

// Processes that start their successor and leave outrun one look at /proc.
func TestStopCatchesARelay(t *testing.T) {
	h := newHost(t)
	h.attach(1)
	l := h.launchOrder("")
	l.Env = append(l.Env, `RUN=setsid sh -c "$RUN" &`)
	l.Command = []string{"sh", "-c", `echo "$$ db-1 /beat" > "$TEST_FIFO"; for i in 1 2 3; do eval "$RUN"; done`}
	if _, err := h.d.Launch(h.ctx(), ref(1), l); err != nil {
		t.Fatal(err)
	}
	h.served()
	h.await(1, func(in Instance) bool { return in.Exit != nil })
	in, err := h.d.Stop(h.ctx(), ref(1), 0)
	if err != nil {
		t.Fatal(err)
	}
	h.wantFinal(in)
}

func TestAgentReturns(t *testing.T) {
	h := newHost(t)
	pid := h.run(1, "serve")
	if _, err := New(h.opt); !errors.Is(err, ErrBusy) {
		t.Fatalf("a second agent: %v", err)
	}
	h.d.Close()
	h.open()
	in := h.await(1, func(in Instance) bool { return in.State == Running })
	if in.PID != pid {
		t.Fatalf("adopted %+v, application %d", in, pid)
	}
	kill(t, pid, syscall.SIGKILL)
	h.wantFinal(h.await(1, exited))

	// The end is still known to the agent after next, without a keeper.
	if _, err := h.d.Retire(h.ctx(), ref(1)); err != nil {
		t.Fatal(err)
	}
	h.d.Close()
	h.open()
	in = h.await(1, func(in Instance) bool { return in.Retired })
	h.wantFinal(in)
	again, err := h.d.Stop(h.ctx(), ref(1), 0)
	if err != nil {
		t.Fatal(err)
	}
	h.wantFinal(again)

	// A keeper that died while no agent looked is found lost.
	pid = h.run(2, "serve")
	k := h.keeperPID(2)
	h.d.Close()
	kill(t, k, syscall.SIGKILL)
	h.open()
	h.await(2, func(in Instance) bool { return in.State == KeeperLost && slices.Contains(in.Processes, pid) })
	if slices.ContainsFunc(h.d.Instances(), func(in Instance) bool { return in.Epoch == 1 }) {
		t.Fatal("the retired instance was not swept")
	}
}

func TestReplaysAnswerTheSame(t *testing.T) {
	h := newHost(t)
	a := h.attach(1)
	if b := h.attach(1); !b.Since.Equal(a.Since) || b.State != Attached || len(b.Volumes) != 1 {
		t.Fatalf("%+v, then %+v", a, b)
	}
	_, err := h.d.Attach(h.ctx(), Order{Ref: ref(1), Volumes: []keeper.Volume{{Name: "data", Dir: t.TempDir()}}})
	wantErr(t, err, keeper.ErrDifferent)
	lo := loopback()
	for range 2 {
		if in, err := h.d.Claim(h.ctx(), ref(1), lo); err != nil || len(in.Addresses) != 1 {
			t.Fatalf("%+v, %v", in, err)
		}
	}
	// A running application does not stop the agent; detach does not stop it.
	if _, err := h.d.Launch(h.ctx(), ref(1), h.launchOrder("serve")); err != nil {
		t.Fatal(err)
	}
	pid := h.served()
	in, err := h.d.Launch(h.ctx(), ref(1), h.launchOrder("serve"))
	if err != nil || in.PID != pid {
		t.Fatalf("%+v, %v", in, err)
	}
	_, err = h.d.Launch(h.ctx(), ref(1), h.launchOrder("daemon"))
	wantErr(t, err, keeper.ErrDifferent)
	_, err = h.d.Detach(h.ctx(), ref(1))
	wantErr(t, err, keeper.ErrRunning)
	_, err = h.d.Retire(h.ctx(), ref(1))
	wantErr(t, err, keeper.ErrNotStopped)
	other := Ref{"web-1", 1, 1}
	if _, err := h.d.Attach(h.ctx(), Order{Ref: other}); err != nil {
		t.Fatal(err)
	}
	_, err = h.d.Claim(h.ctx(), other, lo)
	wantErr(t, err, address.ErrClaimed)
	if _, err := h.d.Stop(h.ctx(), ref(1), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := h.d.Claim(h.ctx(), other, lo); err != nil { // free again
		t.Fatal(err)
	}
	for range 2 {
		if in, err := h.d.Detach(h.ctx(), other); err != nil || in.State != Exited || !in.Reaped {
			t.Fatalf("%+v, %v", in, err)
		}
		if in, err := h.d.Retire(h.ctx(), other); err != nil {
			t.Fatalf("%+v, %v", in, err)
		}
	}
}

func TestOldTermsAndEpochsAreRefused(t *testing.T) {
	h := newHost(t)
	h.attach(3)
	_, err := h.d.Attach(h.ctx(), Order{Ref: ref(2)})
	wantErr(t, err, ErrOldEpoch)
	_, err = h.d.Attach(h.ctx(), Order{Ref: ref(4)})
	wantErr(t, err, ErrAlive) // no proof of epoch 3
	newer := Ref{"web-1", 1, 7}
	if in, err := h.d.Stop(h.ctx(), newer, 0); err != nil || in.State != Absent || !in.Fenced {
		t.Fatalf("%+v, %v", in, err)
	}
	_, err = h.d.Attach(h.ctx(), Order{Ref: newer})
	wantErr(t, err, ErrFenced)

	refuseAll := func() {
		t.Helper()
		_, err1 := h.d.Attach(h.ctx(), Order{Ref: ref(3)})
		_, err2 := h.d.Launch(h.ctx(), ref(3), h.launchOrder("serve"))
		_, err3 := h.d.Stop(h.ctx(), ref(3), 0)
		_, err4 := h.d.Seal(h.ctx(), ref(3), h.vol)
		_, err5 := h.d.Detach(h.ctx(), ref(3))
		_, err6 := h.d.Retire(h.ctx(), ref(3))
		_, err7 := h.d.Claim(h.ctx(), ref(3), nil)
		for _, err := range []error{err1, err2, err3, err4, err5, err6, err7} {
			wantErr(t, err, ErrOldTerm)
		}
	}
	refuseAll()
	h.d.Close()
	h.open() // it is remembered
	refuseAll()
	_, err = h.d.Attach(h.ctx(), Order{Ref: Ref{"db-1", 2, 7}})
	wantErr(t, err, ErrOldEpoch)
	_, err = h.d.Attach(h.ctx(), Order{Ref: Ref{"../x", 2, 7}})
	wantErr(t, err, ErrName)

	// The keeper itself obeys no old controller either.
	dir := h.d.dirOf(key{"db-1", 3})
	if _, err := keeper.Call(h.ctx(), dir, keeper.Request{Op: keeper.OpStop, Server: "db-1", Epoch: 2, Term: 9}); !errors.Is(err, keeper.ErrOtherInstance) {
		t.Fatal(err)
	}
	if _, err := keeper.Call(h.ctx(), dir, keeper.Request{Op: keeper.OpAttach, Server: "db-1", Epoch: 3, Term: 9}); err == nil {
		t.Fatal("an attach without a volume was accepted")
	}
	if _, err := keeper.Call(h.ctx(), dir, keeper.Request{Op: keeper.OpStop, Server: "db-1", Epoch: 3, Term: 8}); !errors.Is(err, ErrOldTerm) {
		t.Fatal(err)
	}
	if _, err := h.d.Stop(h.ctx(), Ref{"db-1", 3, 9}, 0); err != nil {
		t.Fatal(err)
	}
}

func TestLaunchThatFails(t *testing.T) {
	h := newHost(t)
	h.attach(1)
	l := keeper.Launch{Command: []string{"/no/such/program"}}
	for range 2 {
		_, err := h.d.Launch(h.ctx(), ref(1), l)
		wantErr(t, err, keeper.ErrLaunch)
	}
	h.wantFinal(h.await(1, exited))
}

func TestDamagedStateCountsAsAlive(t *testing.T) {
	h := newHost(t)
	pid := h.run(1, "serve")
	dir := h.d.dirOf(key{"db-1", 1})
	k := h.keeperPID(1)
	h.d.Close()
	if err := os.WriteFile(filepath.Join(dir, "state.json"), []byte(`{"torn`), 0o600); err != nil {
		t.Fatal(err)
	}
	kill(t, k, syscall.SIGKILL)
	h.open()
	in := h.await(1, func(in Instance) bool { return slices.Contains(in.Processes, pid) })
	if in.State != KeeperLost || !strings.Contains(in.Trouble, "lost") {
		t.Fatalf("instance is %+v", in)
	}
}

func TestStartCutShortIsRepeated(t *testing.T) {
	h := newHost(t)
	// An agent that died between its directory and its keeper.
	if err := os.MkdirAll(h.d.dirOf(key{"db-1", 1}), 0o700); err != nil {
		t.Fatal(err)
	}
	h.d.Close()
	h.open()
	_ = h.run(1, "serve")
}

func TestKeeperSurvivesSignalsWhileTheApplicationRuns(t *testing.T) {
	h := newHost(t)
	pid := h.run(1, "serve")
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGHUP, syscall.SIGINT} {
		kill(t, h.keeperPID(1), s)
	}
	kill(t, pid, syscall.SIGTERM) // and the application has not inherited its deafness
	in := h.await(1, exited)
	h.wantFinal(in)
	if in.Exit.Signal != "SIGTERM" {
		t.Fatalf("exit is %+v", in.Exit)
	}
}

func TestSealOfAnEmptyMountPoint(t *testing.T) {
	h := newHost(t)
	h.attach(1)
	if _, err := h.d.Stop(h.ctx(), ref(1), 0); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(h.vol, ".relight")); err != nil {
		t.Fatal(err)
	}
	_, err := h.d.Seal(h.ctx(), ref(1), h.vol)
	wantErr(t, err, ErrNotFound)
}

func TestStopEndsWithItsContext(t *testing.T) {
	h := newHost(t)
	pid := h.run(1, "serve")
	kill(t, pid, syscall.SIGSTOP)
	ctx, cancel := context.WithCancel(h.ctx())
	cancel()
	_, err := h.d.Stop(ctx, ref(1), time.Hour)
	wantErr(t, err, context.Canceled)
}

func BenchmarkAttachAndLaunch(b *testing.B) {
	d, err := New(Options{
		Dir: b.TempDir(), Claims: b.TempDir(),
		Exec: []string{self()}, Env: []string{"TEST_KEEPER=1", "PATH=/usr/bin:/bin"},
	})
	if err != nil {
		b.Fatal(err)
	}
	defer d.Close()
	ctx := context.Background()
	for n := 0; b.Loop(); n++ {
		b.StopTimer()
		vol := b.TempDir()
		r := Ref{"db-" + strconv.Itoa(n), 1, 1}
		b.StartTimer()
		_, err1 := d.Attach(ctx, Order{Ref: r, Volumes: []keeper.Volume{{Name: "data", Dir: vol}}})
		_, err2 := d.Launch(ctx, r, keeper.Launch{Command: []string{"/bin/sleep", "1000"}})
		b.StopTimer()
		_, err3 := d.Stop(ctx, r, 0)
		_, err4 := d.Retire(ctx, r)
		if err := errors.Join(err1, err2, err3, err4); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}
