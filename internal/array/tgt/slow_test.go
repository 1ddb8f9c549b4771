package tgt

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"relight/internal/array"
	"relight/internal/array/iscsi"
	"relight/internal/core/fleet"
)

// stall stops the threads of a tgtd that read and write its files, as a disk that
// hangs does: its main thread goes on answering. release lets them go.
func stall(t *testing.T, pid int) (release func()) {
	t.Helper()
	type outcome struct{ err error }
	begun, end, ended := make(chan outcome), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		// A tracer is a thread. It must not end with the function: it may be the one that
		// started tgtd, which ends with it.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		threads, err := os.ReadDir("/proc/" + strconv.Itoa(pid) + "/task")
		var held []int
		for _, d := range threads {
			tid, _ := strconv.Atoi(d.Name())
			if tid == pid || err != nil {
				continue
			}
			if err = syscall.PtraceAttach(tid); err == nil {
				held = append(held, tid)
				var s syscall.WaitStatus
				_, err = syscall.Wait4(tid, &s, syscall.WALL, nil)
			}
		}
		if err == nil && len(held) == 0 {
			err = errors.New("tgtd has no threads for its files")
		}
		begun <- outcome{err}
		<-end
		for _, tid := range held {
			_ = syscall.PtraceDetach(tid)
		}
	}()
	done := false
	release = func() {
		if !done {
			done = true
			close(end)
			<-ended
		}
	}
	t.Cleanup(release)
	if got := <-begun; got.err != nil {
		release()
		if errors.Is(got.err, syscall.EPERM) {
			t.Skipf("SKIPPED: a thread cannot be stopped here: %v", got.err)
		}
		t.Fatal(got.err)
	}
	return release
}

// passage carries a session's bytes to tgtd and counts them.
func passage(t *testing.T, portal string) (at string, sent *atomic.Int64) {
	t.Helper()
	sent = &atomic.Int64{}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		from, err := l.Accept()
		if err != nil {
			return
		}
		to, err := net.Dial("tcp", portal)
		if err != nil {
			_ = from.Close()
			return
		}
		go func() { _, _ = io.Copy(from, to); _ = from.Close() }()
		for b := make([]byte, 4096); ; {
			n, err := from.Read(b)
			if _, failed := to.Write(b[:n]); err != nil || failed != nil {
				_ = to.Close()
				return
			}
			sent.Add(int64(n))
		}
	}()
	return l.Addr().String(), sent
}

// slow has a write of epoch 1 hang inside tgtd, and returns what lets it go on and what
// its sender is told.
func (l *lab) slow(cfg iscsi.Config, n uint64) (release func(), answered <-chan error) {
	l.Helper()
	var sent *atomic.Int64
	through := cfg
	through.Portal, sent = passage(l.T, cfg.Portal)
	s, err := iscsi.Dial(l.ctx, through)
	l.must("login", err)
	l.Cleanup(func() { _ = s.Close() })
	_, err = iscsi.Do(l.ctx, s, "first write", iscsi.Write16(10, 0, record(1, 0))) // its threads are there now
	l.must("write", err)
	release = stall(l.T, l.d.PID())
	before := sent.Load()
	told := make(chan error, 1)
	go func() {
		_, err := iscsi.Do(l.ctx, s, "slow write", iscsi.Write16(10, n, record(1, n)))
		told <- err
	}()
	l.until("the write is on its way", func() bool { return sent.Load() >= before+48+iscsi.Block })
	// tgtd has one thread for its connections: once it has answered another's login,
	// it has read what came before.
	other, err := iscsi.Dial(l.ctx, cfg)
	l.must("second login", err)
	l.Cleanup(func() { _ = other.Close() })
	if e, whole := l.onDisk(n); whole {
		l.Fatalf("record %d of epoch %d has landed already: nothing is slow", n, e)
	}
	return release, told
}

// TestSlowWrite: tgtd answers all that the fence asks while a write hangs in its disk.
// The fence is not confirmed before that write has landed.
func TestSlowWrite(t *testing.T) {
	l := newLab(t)
	cfg := l.start(1)
	release, answered := l.slow(cfg, 5)
	l.marks = 1
	evidence, err := array.Run(l.ctx, array.Env{
		Array: l.a, Now: time.Now, Wait: array.WaitBy(time.Now),
		Marks: func(context.Context, string) (fleet.Epoch, error) { return 1, nil },
	}, array.Plan{Ref: array.Ref{Server: "db", Epoch: 1}, Volumes: []string{"data"}, Every: time.Millisecond, Within: 500 * time.Millisecond})
	var failed *array.FenceError
	if !errors.As(err, &failed) || failed.Source != array.SourceSessions && failed.Source != array.SourceKill && failed.Source != array.SourceClose {
		t.Fatalf("a fence with a write inside: %v, %v", evidence, err)
	}
	if _, err := l.a.Map(l.ctx, l.mapOf(2), l.proof(2)); !errors.Is(err, array.ErrHeld) {
		t.Errorf("epoch 2 with a write of epoch 1 inside: %v", err)
	}
	release()
	if err := <-answered; err == nil {
		t.Error("the slow write was acknowledged to a session that was killed")
	}
	_, err = l.fence(l.a, 1, cfg)
	l.must("fence after the write", err)
	if e, whole := l.onDisk(5); e != 1 || !whole {
		t.Errorf("record 5 is of epoch %d (whole %v): nothing was inside, so that this shows nothing", e, whole)
	}
	next, err := iscsi.Dial(l.ctx, l.start(2))
	l.must("login of epoch 2", err)
	defer func() { _ = next.Close() }()
	_, err = iscsi.Do(l.ctx, next, "write", iscsi.Write16(10, 5, record(2, 5)))
	l.must("write of epoch 2", err)
	if e, whole := l.onDisk(5); e != 2 || !whole {
		t.Errorf("record 5 is of epoch %d (whole %v)", e, whole)
	}
}

// TestSlowWriteLands is the control of TestSlowWrite: the map is gone, the sessions are
// killed, both calls have returned, and the write lands on the next epoch's.
func TestSlowWriteLands(t *testing.T) {
	l := newLab(t)
	release, answered := l.slow(l.start(1), 5)
	r := array.Ref{Server: "db", Epoch: 1}
	l.must("unmap", l.a.Unmap(l.ctx, r))
	all, err := l.a.Sessions(l.ctx, r)
	l.must("sessions", err)
	for _, s := range all {
		l.must("kill", l.a.Kill(l.ctx, s))
	}
	// The next epoch comes in by another way to the same file.
	other := l.d.array(t.TempDir())
	other.cfg.Prefix += ".other"
	l.must("link", os.Link(l.file, array.FilePath(other.cfg.Dir, "data")))
	m := l.mapOf(2)
	to, err := other.Map(l.ctx, m, l.proof(2))
	l.must("map", err)
	next, err := iscsi.Dial(l.ctx, m.Config(to))
	l.must("login of epoch 2", err)
	defer func() { _ = next.Close() }()
	_, err = iscsi.Do(l.ctx, next, "write", iscsi.Write16(10, 5, record(2, 5)))
	l.must("write of epoch 2", err)
	if e, whole := l.onDisk(5); e != 2 || !whole {
		t.Fatalf("record 5 is of epoch %d (whole %v)", e, whole)
	}
	release()
	<-answered
	l.until("the stale write lands", func() bool { e, _ := l.onDisk(5); return e == 1 })
}
