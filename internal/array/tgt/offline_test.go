package tgt

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"relight/internal/array"
	"relight/internal/array/iscsi"
	"relight/internal/core/fleet"
)

func (l *lab) fenceWith(a array.Array, within time.Duration) ([]fleet.Evidence, error) {
	return array.Run(l.ctx, array.Env{
		Array: a, Now: time.Now, Wait: array.WaitBy(time.Now),
		Marks: func(context.Context, string) (fleet.Epoch, error) { return 1, nil },
	}, array.Plan{
		Ref: array.Ref{Server: "db", Epoch: 1}, Volumes: []string{"data"}, Every: time.Millisecond, Within: within,
		Offline: &array.Offline{LUNs: []string{"data"}, After: within / 4},
	})
}

// TestOfflineUnderLoad: a guest that writes without pause, and whose session nobody can
// end, is left without its LUN. Nothing of it lands after the evidence, while its session
// stands and the next epoch writes over the very record at which it waits.
func TestOfflineUnderLoad(t *testing.T) {
	l := newLab(t)
	cfg := l.start(1)
	w := l.writer(cfg, 1, 1)
	defer w.end()
	hold, err := iscsi.Dial(l.ctx, cfg)
	l.must("login", err)
	defer func() { _ = hold.Close() }()
	_, err = iscsi.Do(l.ctx, hold, "first read", iscsi.Read16(10, 0, 1))
	l.must("read", err)
	held, err := hold.Hold(l.ctx, iscsi.Write16(10, blocks-1, record(1, blocks-1)))
	l.must("hold", err)
	l.until("records", func() bool { return w.acked.Load() > 40 })
	evidence, err := l.fenceWith(without{l.a, "kill"}, 10*time.Second)
	l.must("fence", err)
	if !evidence[0].Offline {
		t.Fatalf("evidence %+v: no session was left, so that this shows nothing", evidence[0])
	}
	last := w.acked.Load()
	for n := last - 30; n <= last; n++ {
		if e, whole := l.onDisk(n); e != 1 || !whole {
			t.Fatalf("record %d was acknowledged and is lost", n)
		}
	}
	next, err := iscsi.Dial(l.ctx, l.start(2))
	l.must("login of epoch 2", err)
	defer func() { _ = next.Close() }()
	for n := last + 1; n < last+6; n++ {
		_, err = iscsi.Do(l.ctx, next, "write", iscsi.Write16(10, n%blocks, record(2, n)))
		l.must("write of epoch 2", err)
	}
	if r, err := held.Finish(l.ctx); err == nil && r.Status == iscsi.Good {
		t.Error("a write whose data came after the fence was acknowledged")
	}
	failed := w.failed.Load()
	l.until("the old epoch tried again", func() bool { return w.failed.Load() > failed+5 })
	for n := last + 1; n < last+6; n++ {
		if e, whole := l.onDisk(n); e != 2 || !whole {
			t.Errorf("record %d is of epoch %d (whole %v)", n, e, whole)
		}
	}
	if got := w.acked.Load(); got > last+1 { // one answer may have lain in its socket
		t.Errorf("the old epoch was acknowledged %d records after the fence", got-last)
	}
	maps, err := l.a.Maps(l.ctx, "db")
	l.must("maps", err)
	if len(maps) != 2 || !slices.ContainsFunc(maps, func(m array.Mapped) bool { return m.Epoch == 1 && m.Offline }) {
		t.Errorf("maps %+v", maps)
	}
}

// TestOfflineWaitsForCommands: with a write inside its disk tgtd refuses to take the unit
// out, and there is no evidence.
func TestOfflineWaitsForCommands(t *testing.T) {
	l := newLab(t)
	release, answered := l.slow(l.start(1), 5)
	evidence, err := l.fenceWith(l.a, 500*time.Millisecond)
	var failed *array.FenceError
	if !errors.As(err, &failed) || !errors.Is(err, array.ErrInside) {
		t.Fatalf("a fence with a write inside: %v, %v", evidence, err)
	}
	t.Log(err)
	release()
	<-answered
	_, err = l.fenceWith(l.a, 10*time.Second)
	l.must("fence after the write", err)
	if e, whole := l.onDisk(5); e != 1 || !whole {
		t.Errorf("record 5 is of epoch %d (whole %v): nothing was inside, so that this shows nothing", e, whole)
	}
}

// TestOnlineZeroIsNoFence: what tgtd calls offline lets writes through; this is why the
// driver takes the unit out instead.
func TestOnlineZeroIsNoFence(t *testing.T) {
	l := newLab(t)
	s, err := iscsi.Dial(l.ctx, l.start(1))
	l.must("login", err)
	defer func() { _ = s.Close() }()
	target, err := l.a.find(l.ctx, array.Ref{Server: "db", Epoch: 1})
	l.must("find", err)
	_, err = l.a.run(l.ctx, "--op", "update", "--mode", "logicalunit", "--tid", target.id(), "--lun", "10", "--params", "online=0")
	l.must("online=0", err)
	if _, err := iscsi.Do(l.ctx, s, "write", iscsi.Write16(10, 3, record(1, 3))); err != nil {
		t.Errorf("tgtd refuses writes to a unit with online=0 now (%v): the driver can be simpler", err)
	}
}
