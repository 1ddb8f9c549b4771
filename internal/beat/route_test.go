package beat

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// detourRig is a runner whose two ways to one table can be shut one by one.
type detourRig struct {
	rig    *rig
	clock  Clock
	conn   *fakeConn
	runner *Runner
	shut   atomic.Bool // the detour
	posts  atomic.Int64
	turns  []bool
}

func newDetourRig(t *testing.T) *detourRig {
	d := &detourRig{rig: newRig(t, 1), clock: bubbleClock()}
	d.conn = newFakeConn(d.rig.table, d.clock)
	s := newTestSender(1, 1)
	s.cfg.Detour = true
	d.runner = NewRunner(s, RunnerConfig{
		Conn: d.conn, Clock: d.clock, Items: func() []Item { return []Item{{Server: "db"}} },
		Detour: d.detour, Rerouted: func(detour bool) { d.turns = append(d.turns, detour) },
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- d.runner.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return d
}

// detour takes 100 ms each way. Shut, it leaves the caller waiting.
func (d *detourRig) detour(ctx context.Context, beats [][]byte) (acks [][]byte, err error) {
	d.posts.Add(1)
	if d.shut.Load() {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	<-time.After(100 * time.Millisecond) // virtual
	for _, b := range beats {
		ack, err := d.rig.table.Handle(d.clock(), nil, b)
		if err != nil {
			return acks, err
		}
		acks = append(acks, ack)
	}
	<-time.After(100 * time.Millisecond)
	return acks, nil
}

// pass lets time pass and returns the least that was left of the lease meanwhile.
func (d *detourRig) pass(t time.Duration) (least time.Duration) {
	least = time.Hour
	for range t / (50 * time.Millisecond) {
		<-time.After(50 * time.Millisecond)
		synctest.Wait()
		least = min(least, time.Duration(d.runner.Lease().Until-d.clock()))
	}
	return least
}

func TestDetourKeepsTheLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDetourRig(t)
		d.pass(3 * time.Second)
		if d.posts.Load() != 0 {
			t.Error("took the detour though datagrams are answered")
		}
		d.conn.mute.Store(true)
		if left := d.pass(time.Minute); left < 4*time.Second {
			t.Errorf("with the detour there were %v left of a lease of 9 s", left)
		}
		if fmt.Sprint(d.turns) != "[true]" {
			t.Errorf("told of turns %v, want [true]", d.turns)
		}
		if _, ok := d.rig.table.Item(1, "db"); !ok {
			t.Error("the item did not arrive")
		}
		d.conn.mute.Store(false)
		d.pass((probeRounds + 2) * time.Second)
		before := d.posts.Load()
		if left := d.pass(10 * time.Second); left < 7*time.Second || d.posts.Load() != before || fmt.Sprint(d.turns) != "[true false]" {
			t.Errorf("back on datagrams: %v left, %d posts more, turns %v", left, d.posts.Load()-before, d.turns)
		}
	})
}

func TestLeaseEndsIfBothWaysAreShut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDetourRig(t)
		d.pass(3 * time.Second)
		until := d.runner.Lease().Until
		d.conn.mute.Store(true)
		d.shut.Store(true)
		d.pass(time.Minute)
		if l := d.runner.Lease(); l.Until > until+int64(1200*time.Millisecond) {
			t.Errorf("the lease until %d went on until %d", until, l.Until)
		}
		// Posts that hang do not pile up, and datagrams are tried each round.
		if n := d.posts.Load(); n > maxDetours {
			t.Errorf("%d posts though the first %d hang", n, maxDetours)
		}
		d.conn.mute.Store(false)
		if d.pass(1500 * time.Millisecond); time.Duration(d.runner.Lease().Until-d.clock()) < 7*time.Second {
			t.Errorf("datagrams are answered again; lease until %d at %d", d.runner.Lease().Until, d.clock())
		}
	})
}

// Where beats are slow for the lease, three rounds would be too long a wait.
func TestDetourIsTakenBeforeTheLeaseEnds(t *testing.T) {
	s := greeted(t, 1)
	s.cfg.Detour = true
	now := s.Due()
	b := step(t, s, now)
	ack := Ack{Agent: 1, Counter: b[0].Counter, Session: 77, Term: 5, Lease: 4 * time.Second} // 3 s for the holder
	if err := s.Acked(now, sealAck(ack)); err != nil {
		t.Fatal(err)
	}
	granted := now
	for !s.Detour() && s.Due() < granted+5*second {
		step(t, s, s.Due())
	}
	if left := granted + 3*second - s.sentAt; left < int64(s.cfg.Every)/2 {
		t.Errorf("the detour is taken when %v of the lease are left", time.Duration(left))
	}
}

func TestDetourComesAfterAllControllers(t *testing.T) {
	s := greeted(t, 2)
	s.cfg.Detour = true
	var ways string
	for range 24 {
		out, err := s.Step(s.Due(), nil)
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case out.Detour && out.Probe != nil:
			ways += fmt.Sprintf("(%d)", out.Target)
		case out.Detour:
			ways += "d"
		default:
			ways += fmt.Sprint(out.Target)
		}
		if !out.Detour {
			continue
		}
		// The detour is answered: only the tenth round asks for the direct way.
		k := testKey(1)
		b, err := OpenBeat(&k, out.Sealed[0])
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Acked(s.sentAt, sealAck(Ack{Agent: 1, Counter: b.Counter, Session: 9, Term: 5})); err != nil {
			t.Fatal(err)
		}
	}
	if want := "000111ddddddddd(0)dddddddd"; ways != want {
		t.Errorf("ways %s, want %s", ways, want)
	}
	if err := s.Acked(0, sealAck(Ack{Agent: 1, Counter: 1, Session: 9, Term: 5})); !errors.Is(err, ErrUnasked) {
		t.Errorf("an ack that nobody asked for: %v", err)
	}
}
