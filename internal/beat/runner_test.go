package beat

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"relight/internal/core/fleet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bubbleClock is a clock on the virtual time of a synctest bubble.
func bubbleClock() Clock {
	start := time.Now()
	return func() int64 { return int64(time.Since(start)) + second }
}

// fakeConn hands datagrams to a table and its acks back, all in one process.
type fakeConn struct {
	table *Table
	clock Clock
	acks  chan []byte
	done  chan struct{}
	mu    sync.Mutex
	times []time.Time
	mute  atomic.Bool
	fail  error
	once  sync.Once
}

func newFakeConn(table *Table, clock Clock) *fakeConn {
	return &fakeConn{table: table, clock: clock, acks: make(chan []byte, 100), done: make(chan struct{})}
}

func (c *fakeConn) Send(_ int, d []byte) error {
	c.mu.Lock()
	c.times = append(c.times, time.Now())
	c.mu.Unlock()
	if c.fail != nil {
		return c.fail
	}
	ack, err := c.table.Handle(c.clock(), nil, append([]byte(nil), d...))
	if err == nil && !c.mute.Load() {
		c.acks <- ack
	}
	return nil
}

// sent returns when each datagram was sent.
func (c *fakeConn) sent() []time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]time.Time(nil), c.times...)
}

func (c *fakeConn) Receive(buf []byte) (int, error) {
	select {
	case a := <-c.acks:
		return copy(buf, a), nil
	case <-c.done:
		return 0, net.ErrClosed
	}
}

func (c *fakeConn) Close() error {
	c.once.Do(func() { close(c.done) })
	return nil
}

func TestRunnerBeatsAndHoldsTheLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rig := newRig(t, 1)
		clock := bubbleClock()
		conn := newFakeConn(rig.table, clock)
		rig.table.SetWork(1, true)
		works := 0
		r := NewRunner(newTestSender(1, 1), RunnerConfig{
			Conn: conn, Clock: clock, Items: func() []Item { return []Item{{Server: "db"}} }, Work: func() { works++ },
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- r.Run(ctx) }()
		time.Sleep(10*time.Second + time.Millisecond) // virtual
		synctest.Wait()
		if n := len(conn.sent()); n < 9 || n > 13 {
			t.Errorf("%d beats in 10 s", n)
		}
		if works == 0 {
			t.Error("nobody was told that work waits")
		}
		if _, ok := rig.table.Item(1, "db"); !ok {
			t.Error("the item did not arrive")
		}
		// A nudge brings a beat at once.
		before := len(conn.sent())
		r.Nudge()
		r.Nudge()
		time.Sleep(25 * time.Millisecond)
		synctest.Wait()
		if len(conn.sent()) != before+1 && len(conn.sent()) != before+2 {
			t.Errorf("%d beats after a nudge", len(conn.sent())-before)
		}
		// Without acks the lease ends 9 s (10 s less the margin) after the last acked beat.
		conn.mute.Store(true)
		last := conn.sent()[len(conn.sent())-1]
		time.Sleep(time.Minute)
		synctest.Wait()
		left := r.Lease().Until - clock()
		if want := int64(9*time.Second) - int64(time.Since(last)); left != want {
			t.Errorf("lease ends in %d ns, want %d", left, want)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestRunnerReportsFailuresAndGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rig := newRig(t, 1)
		conn := newFakeConn(rig.table, bubbleClock())
		conn.fail = errors.New("network is unreachable")
		var failed []error
		r := NewRunner(newTestSender(1, 1), RunnerConfig{
			Conn: conn, Clock: conn.clock, Items: func() []Item { return nil }, Failed: func(err error) { failed = append(failed, err) },
		})
		done := make(chan error)
		go func() { done <- r.Run(t.Context()) }()
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if len(failed) < 4 || !errors.Is(failed[0], conn.fail) {
			t.Errorf("told of %v", failed)
		}
		conn.Close()
		if err := <-done; !errors.Is(err, net.ErrClosed) {
			t.Errorf("a closed Conn ended Run with %v", err)
		}
	})
}

// The real sockets on loopback: sender, receiver, kernel.
func TestBeatsOverLoopback(t *testing.T) {
	changes := make(chan Change, 10)
	rig := newRig(t, 1)
	rig.table.cfg.Changes = func(c Change) { changes <- c }
	clock := BootClock()
	rig.table.SetGrant(Grant{Term: 5, Lease: 10 * time.Second, NotAfter: clock() + int64(time.Hour)})
	for _, sockets := range []int{1, 2} {
		rcv, err := Listen(ReceiverConfig{Addr: "127.0.0.1:0", Sockets: sockets, Clock: clock}, rig.table)
		if err != nil {
			t.Fatal(err)
		}
		conn, err := Dial([]netip.AddrPort{rcv.Addr()})
		if err != nil {
			t.Fatal(err)
		}
		s := newTestSender(1, CounterStart(time.Now()))
		r := NewRunner(s, RunnerConfig{Conn: conn, Clock: clock, Items: func() []Item {
			return []Item{{Server: "db", Epoch: fleet.Epoch(sockets)}}
		}})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 2)
		go func() { done <- rcv.Run(ctx) }()
		go func() { done <- r.Run(ctx) }()
		if c := <-changes; c.Server != "db" || c.At < c.SentAt {
			t.Errorf("change %+v", c)
		}
		for r.Lease().Until == 0 {
			tick(t)
		}
		if beats, acks := rcv.Losses(); beats != 0 || acks != 0 {
			t.Errorf("lost %d beats, %d acks", beats, acks)
		}
		cancel()
		for range 2 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	}
}

// tick waits a little while something is polled; the test's own deadline ends it.
func tick(t *testing.T) {
	t.Helper()
	timer := time.NewTimer(time.Millisecond)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.Context().Done():
		t.Fatal(t.Context().Err())
	}
}

func TestReceiverEndsWhenItsSocketCloses(t *testing.T) {
	rig := newRig(t, 1)
	rcv, err := Listen(ReceiverConfig{Addr: "127.0.0.1:0", Clock: BootClock()}, rig.table)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { done <- rcv.Run(t.Context()) }()
	if err := rcv.Close(); err != nil {
		t.Error(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, err := Listen(ReceiverConfig{Addr: "256.0.0.1:0", Clock: BootClock()}, rig.table); err == nil {
		t.Error("listening on no address did not fail")
	}
}
