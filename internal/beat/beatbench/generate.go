package beatbench

import (
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"relight/internal/beat"
	"relight/internal/core/fleet"
)

const (
	sockets = 8
	// changing is one in how many agents changes its answer with each beat; these
	// show when a beat becomes visible.
	changing = 100
	// look is how often acks are drained and what is due is sent.
	look = 50 * time.Microsecond
)

// generator sends beats of many agents from a few sockets. They are plain
// descriptors that nobody waits on: on loopback the receiver's send would otherwise
// be charged with waking the generator, which real agents on other machines
// don't cost.
type generator struct {
	job     job
	clock   beat.Clock
	session uint64
	fds     []int
	keys    []beat.Key
	items   []beat.Item
	counter uint64
	sent    uint64
	acked   atomic.Uint64
	buf     []byte
}

// generate sends beats at the asked rate, once it is asked, and tells how many.
func generate(p *pipe, j job) error {
	g := &generator{job: j, clock: beat.BootClock(), counter: 1, session: 1}
	for i := range j.Agents {
		id := beat.AgentID(i + 1)
		g.keys = append(g.keys, keyOf(j.Seed, id))
		g.items = append(g.items, beat.Item{Server: nameOf(id), Epoch: 1, Alive: fleet.Yes, Works: fleet.Yes})
	}
	defer g.close()
	if err := g.open(); err != nil {
		return err
	}
	if j.Greet {
		if err := g.greet(); err != nil {
			return err
		}
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	done := make(chan struct{})
	defer close(done)
	wg.Go(func() { g.drain(done) })
	// Once around first: a controller meets its agents once, then for days again.
	if err := g.send(j.Agents, max(j.Rate, 30_000)); err != nil {
		return err
	}
	if err := p.write(struct{}{}); err != nil {
		return err
	}
	if err := p.read(&struct{}{}); err != nil {
		return err
	}
	g.settle()
	g.sent = 0
	g.acked.Store(0)
	start := time.Now()
	if err := g.send(int(float64(j.Rate)*j.Length.Seconds()), j.Rate); err != nil {
		return err
	}
	took := time.Since(start)
	g.settle()
	return p.write(generated{Sent: g.sent, Acked: g.acked.Load(), Took: took})
}

func (g *generator) open() error {
	to, err := netip.ParseAddrPort(g.job.Addr)
	if err != nil {
		return err
	}
	for range sockets {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
		if err != nil {
			return fmt.Errorf("socket: %w", err)
		}
		g.fds = append(g.fds, fd)
		if err := unix.Connect(fd, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}); err != nil {
			return fmt.Errorf("connect to %s: %w", to, err)
		}
		if err := errors.Join(unix.SetNonblock(fd, true), unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 4<<20)); err != nil {
			return fmt.Errorf("set up socket: %w", err)
		}
	}
	return nil
}

func (g *generator) close() {
	for _, fd := range g.fds {
		_ = unix.Close(fd)
	}
}

// greet asks for the receiver's session, which holds for all agents.
func (g *generator) greet() error {
	d, err := beat.SealBeat(nil, &g.keys[0], &beat.Beat{Agent: 1, Counter: 1, Kind: beat.GuestAgent})
	if err != nil {
		return err
	}
	buf := make([]byte, beat.MaxDatagram)
	for range 200 {
		if _, err := unix.Write(g.fds[0], d); err != nil {
			return fmt.Errorf("greet receiver: %w", err)
		}
		time.Sleep(10 * time.Millisecond)
		n, err := unix.Read(g.fds[0], buf)
		if err != nil {
			continue
		}
		ack, err := beat.OpenAck(&g.keys[0], buf[:n])
		if err != nil {
			return err
		}
		g.session = ack.Session
		return nil
	}
	return errors.New("receiver does not answer")
}

// send sends n beats at this rate: what is due since the last look leaves at once,
// each beat by a system call of its own.
func (g *generator) send(n, rate int) error {
	start := time.Now()
	for done := 0; done < n; {
		due := min(int(time.Since(start).Seconds()*float64(rate)), n)
		for ; done < due; done++ {
			if err := g.one(); err != nil {
				return err
			}
		}
		time.Sleep(look)
	}
	return nil
}

// one seals and sends the beat of the next agent.
func (g *generator) one() error {
	k := int((g.counter - 1) % uint64(len(g.keys)))
	it := &g.items[k]
	it.Progress++
	if k%changing == 0 {
		it.Works = fleet.Yes + fleet.No - it.Works
	}
	b := beat.Beat{
		Agent: beat.AgentID(k + 1), Counter: g.counter, Session: g.session,
		SentAt: g.clock(), Kind: beat.GuestAgent, Items: g.items[k : k+1],
	}
	g.counter++
	var err error
	if g.buf, err = beat.SealBeat(g.buf[:0], &g.keys[k], &b); err != nil {
		return err
	}
	for {
		_, err := unix.Write(g.fds[g.counter%sockets], g.buf)
		if err == nil {
			break
		}
		if !errors.Is(err, unix.EAGAIN) {
			return fmt.Errorf("send beat: %w", err)
		}
		runtime.Gosched()
	}
	g.sent++
	return nil
}

// drain counts acks until done is closed.
func (g *generator) drain(done <-chan struct{}) {
	buf := make([]byte, beat.MaxDatagram)
	ticker := time.NewTicker(20 * look)
	defer ticker.Stop()
	for {
		select {
		case <-done:
			return
		case <-ticker.C:
		}
		for _, fd := range g.fds {
			for {
				if _, err := unix.Read(fd, buf); err != nil {
					break
				}
				g.acked.Add(1)
			}
		}
	}
}

// settle waits until no more acks come.
func (g *generator) settle() {
	for last := g.acked.Load(); ; {
		time.Sleep(50 * time.Millisecond)
		now := g.acked.Load()
		if now == last {
			return
		}
		last = now
	}
}
