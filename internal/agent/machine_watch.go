package agent

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"time"

	"relight/internal/agent/driver/qemu"
	"relight/internal/agent/guest"
	"relight/internal/agent/keeper"
	"relight/internal/beat/app"
	"relight/internal/core/fleet"
)

const (
	// machinePace is the time between two looks at a machine.
	machinePace = 500 * time.Millisecond
	// guestDeafAfter is how long a guest may be silent and still be asked to end,
	// guestStuckAfter how long its I/O may stand still: an array that restarts takes
	// a while.
	guestDeafAfter  = 2 * time.Second
	guestStuckAfter = 4 * time.Second
	// quietAfter is how long a guest must be silent to count as unheard, busyFor how
	// long after its last I/O it still counts as busy.
	quietAfter = 500 * time.Millisecond
	busyFor    = 3 * machinePace
)

// machineSight is what was seen of a machine.
type machineSight struct {
	state qemu.State // empty while its monitor does not answer
	// counters are what it did, ioAt is when they last rose.
	counters qemu.Counters
	sent     uint64
	ioAt     time.Time
	beat     guest.Beat
	beatAt   time.Time
	// movedAt is when the beats' progress moved last.
	movedAt time.Time
	// moved is the last progress that was handed on.
	moved uint64
	// barked counts how often its watchdog has reset it, the last time at barkedAt.
	barked   int
	barkedAt time.Time
	// stranger is a beat that named another server or epoch.
	stranger string
}

// answers reports whether the guest was heard lately.
func (s machineSight) answers(now time.Time) bool {
	return !s.beatAt.IsZero() && now.Sub(s.beatAt) < guestDeafAfter
}

// mayEnd reports whether a guest that beats can do what its power button asks for:
// it is heard, and its I/O moves while it says that it works. One whose volume does
// not answer cannot write back what it holds, so to wait for it only delays the next
// epoch. One that says that its application fails can.
func (s machineSight) mayEnd(now time.Time) bool {
	stuck := s.beat.State == guest.Works && now.Sub(s.movedAt) >= guestStuckAfter
	return s.answers(now) && !stuck
}

// guestConn is the channel to a guest; the zero one leads nowhere.
type guestConn struct{ conn net.Conn }

var errNoGuest = errors.New("its channel is not open")

func (g guestConn) send(o guest.Order) error {
	if g.conn == nil {
		return errNoGuest
	}
	_ = g.conn.SetWriteDeadline(time.Now().Add(time.Second))
	_, err := g.conn.Write([]byte(o.Line()))
	return err
}

// describe adds to an instance what is known of the machine that it is.
func (m *Machines) describe(i *Instance, body mkey) {
	x := m.get(body)
	m.mu.Lock()
	s, rec := x.sight, x.rec
	m.mu.Unlock()
	if i.State != fleet.InstanceRunning {
		return
	}
	i.Bridge, i.MAC = rec.VM.Bridge, qemu.MAC(i.Server, rec.VM)
	now := time.Now()
	// Firmware, and what boots a machine, send packets, too: one of which nothing was heard
	// yet does not work, however busy it is, or a boot that hangs could not be told.
	i.Unheard = rec.VM.GuestBeat && rec.Heard && s.state == qemu.Running && now.Sub(s.beatAt) > quietAfter && now.Sub(s.ioAt) < busyFor
	var words []string
	switch {
	case s.state == "":
		words = append(words, "its monitor does not answer")
	case s.state != qemu.Running:
		words = append(words, string(s.state))
	}
	switch {
	case s.stranger != "":
		words = append(words, s.stranger)
	case !rec.VM.GuestBeat || s.beatAt.IsZero():
	case s.beat.State != guest.Works:
		words = append(words, strings.TrimSpace(fmt.Sprintf("guest %s %s", s.beat.State, s.beat.Detail)))
	}
	if s.barked > 0 {
		words = append(words, fmt.Sprintf("its watchdog reset it %d times, the last time at %s", s.barked, s.barkedAt.UTC().Format(time.RFC3339)))
	}
	words = append(words, string(rec.Accel))
	if i.Detail != "" {
		words = append([]string{i.Detail}, words...)
	}
	i.Detail = strings.Join(words, "; ")
}

// Heard returns the last beat that came from an instance's guest, and when. Beats
// that name another epoch are not among them.
func (m *Machines) Heard(server string, epoch fleet.Epoch) (guest.Beat, time.Time) {
	x := m.get(m.body(mkey{server, epoch}))
	m.mu.Lock()
	defer m.mu.Unlock()
	return x.sight.beat, x.sight.beatAt
}

// State returns how QEMU says that the instance's machine is; it is empty while
// QEMU does not answer.
func (m *Machines) State(server string, epoch fleet.Epoch) qemu.State {
	x := m.get(m.body(mkey{server, epoch}))
	m.mu.Lock()
	defer m.mu.Unlock()
	return x.sight.state
}

// follow looks after a machine for as long as its process may be there.
func (m *Machines) follow(x *machine) {
	ctx, cancel := context.WithCancel(m.ctx)
	defer cancel()
	defer func() {
		m.mu.Lock()
		x.following = false
		m.mu.Unlock()
	}()
	dir := m.dir(x.key)
	m.mu.Lock()
	channel := x.rec.VM.GuestBeat || x.rec.VM.Boot == fleet.BootWarm
	m.mu.Unlock()
	if channel {
		m.work.Go(func() { m.listenTo(ctx, x, dir) })
	}
	pace := 5 * time.Millisecond
	for ctx.Err() == nil && mayRun(m.process(x.key)) {
		kick := make(chan struct{}, 1)
		mon, err := qemu.Dial(ctx, dir, func(e qemu.Event) {
			if e.Name == qemu.WatchdogFired {
				m.barked(x)
			}
			select {
			case kick <- struct{}{}:
			default:
			}
		})
		if err == nil {
			m.converse(ctx, x, mon, kick)
			mon.Close()
			pace = 5 * time.Millisecond
			continue
		}
		pause(ctx, pace)
		pace = min(2*pace, time.Second)
	}
	m.notify()
}

// barked notes that a machine's watchdog has reset it: nobody of ours did that, and people
// who look must find why it booted.
func (m *Machines) barked(x *machine) {
	m.mu.Lock()
	x.sight.barked, x.sight.barkedAt = x.sight.barked+1, time.Now()
	m.mu.Unlock()
	m.notify()
	m.work.Go(func() {
		kept, err := m.keepConsole(x.key)
		m.opt.Log.Warn("the watchdog of a machine has reset it", "machine", x.key.String(), "console", kept, "error", err)
	})
}

// converse looks at a machine through its monitor until that ends.
func (m *Machines) converse(ctx context.Context, x *machine, mon *qemu.Monitor, kick <-chan struct{}) {
	tick := time.NewTicker(machinePace)
	defer tick.Stop()
	defer m.saw(x, nil, "")
	for looks := 0; ; looks++ {
		state, err := mon.Status(ctx)
		if err != nil {
			m.saw(x, mon, "")
		} else {
			counters, _ := mon.Counters(ctx)
			m.count(x, counters)
			m.saw(x, mon, state)
		}
		if looks%20 == 0 {
			if err := keeper.CapLog(filepath.Join(m.dir(x.key), qemu.ConsoleLog), keeper.LogCap); err != nil {
				m.opt.Log.Warn("console", "machine", x.key.String(), "error", err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-mon.Done():
			return
		case <-tick.C:
		case <-kick:
		}
	}
}

// saw notes how the machine is; a change is news.
func (m *Machines) saw(x *machine, mon *qemu.Monitor, s qemu.State) {
	m.mu.Lock()
	changed := x.sight.state != s
	x.sight.state, x.monitor = s, mon
	m.mu.Unlock()
	if changed {
		m.notify()
	}
}

func (m *Machines) count(x *machine, c qemu.Counters) {
	m.mu.Lock()
	tap := x.rec.Tap
	m.mu.Unlock()
	sent := uint64(0) // not what it was sent: that comes to dead machines, too
	if tap != "" {
		all, _ := qemu.TapTraffic()
		sent = all[tap].Out
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	s := &x.sight
	if s.counters != c || s.sent != sent {
		s.ioAt = time.Now()
	}
	s.counters, s.sent = c, sent
}

// listenTo reads a guest's beats until ctx ends.
func (m *Machines) listenTo(ctx context.Context, x *machine, dir string) {
	for pace := 5 * time.Millisecond; ctx.Err() == nil; pace = min(2*pace, time.Second) {
		c, err := qemu.DialIn(ctx, dir, qemu.BeatSocket)
		if err != nil {
			pause(ctx, pace)
			continue
		}
		pace = 5 * time.Millisecond
		stop := context.AfterFunc(ctx, func() { _ = c.Close() })
		m.mu.Lock()
		x.guest = guestConn{conn: c}
		m.mu.Unlock()
		s := bufio.NewScanner(c)
		s.Buffer(make([]byte, guest.MaxLine), 16*guest.MaxLine)
		for s.Scan() {
			if b, err := guest.ParseBeat(s.Text()); err == nil {
				m.hear(ctx, x, b)
			} else if r, err := guest.ParseReply(s.Text()); err == nil {
				m.answered(x, r)
			}
		}
		m.mu.Lock()
		x.guest = guestConn{}
		m.mu.Unlock()
		stop()
		_ = c.Close()
		pause(ctx, pace)
	}
}

// hear takes a guest's beat. It is handed on, as the application's own heartbeat,
// only if the guest works and its I/O has moved since: one that beats on while its
// storage stands still is heard of as silent.
func (m *Machines) hear(ctx context.Context, x *machine, b guest.Beat) {
	m.mu.Lock()
	k, known := who(x.key, x.rec)
	right := known && b.Server == k.server && b.Epoch == uint64(k.epoch) || x.key.standby() && b.State == guest.Standby
	var news bool
	if !right {
		stranger := fmt.Sprintf("its guest says that it is %s.%d", b.Server, b.Epoch)
		news, x.sight.stranger = x.sight.stranger != stranger, stranger
	} else {
		news = x.sight.stranger != "" || x.sight.beat.State != b.State
		if x.sight.movedAt.IsZero() || b.Progress != x.sight.beat.Progress {
			x.sight.movedAt = time.Now()
		}
		x.sight.stranger, x.sight.beat, x.sight.beatAt = "", b, time.Now()
	}
	forward := right && b.State == guest.Works && b.Progress != x.sight.moved
	if forward {
		x.sight.moved = b.Progress
	}
	first := right && !x.rec.Heard
	m.mu.Unlock()
	if first {
		m.setHeard(x.key, true)
	}
	if news {
		m.notify()
	}
	if forward && m.BeatSocket != nil {
		// Nobody listens while the server's check is another one.
		_ = app.Beat(ctx, m.BeatSocket(k.server, k.epoch), b.Progress)
	}
}

// setHeard notes, for this agent and the next, whether a machine's guest was heard.
func (m *Machines) setHeard(k mkey, heard bool) {
	if err := m.put(k, func(r *record) { r.Heard = heard }); err != nil {
		m.opt.Log.Warn("whether a guest was heard is not kept", "machine", k.String(), "error", err)
	}
}
