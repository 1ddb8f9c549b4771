package beat

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Conn sends datagrams to controllers and receives from them.
type Conn interface {
	// Send sends to the controller with this index.
	Send(target int, datagram []byte) error
	// Receive waits for a datagram; it fails once the Conn is closed.
	Receive(buf []byte) (int, error)
	Close() error
}

// udpConn is a Conn over one UDP socket.
type udpConn struct {
	*net.UDPConn
	targets []netip.AddrPort
}

// Dial opens a UDP socket for the controllers at these addresses.
func Dial(targets []netip.AddrPort) (Conn, error) {
	c, err := net.ListenUDP("udp", nil)
	if err != nil {
		return nil, fmt.Errorf("beat sender: %w", err)
	}
	return &udpConn{c, targets}, nil
}

// Send implements Conn.
func (c *udpConn) Send(target int, datagram []byte) error {
	_, err := c.WriteToUDPAddrPort(datagram, c.targets[target])
	return err
}

// Receive implements Conn.
func (c *udpConn) Receive(buf []byte) (int, error) {
	n, _, err := c.ReadFromUDPAddrPort(buf)
	return n, err
}

// RunnerConfig is what a Runner needs.
type RunnerConfig struct {
	// Conn is closed when Run returns.
	Conn  Conn
	Clock Clock
	// Items returns what the agent says now; it is called before each beat.
	Items func() []Item
	// Detour sends a round's beats another way and returns the acks that came back;
	// it is called from goroutines of its own, a few at a time, and returns soon
	// after ctx ends. It is needed if the sender has a detour.
	Detour func(ctx context.Context, beats [][]byte) (acks [][]byte, err error)
	// Rerouted is told when the sender takes the detour and when it leaves it. May
	// be nil.
	Rerouted func(detour bool)
	// Work is called for each ack that says that work is waiting; it must not
	// wait. May be nil.
	Work func()
	// Failed is told of sends that failed, acks that were refused and items that
	// could not be sent; beats go on. May be nil.
	Failed func(error)
}

// Runner owns the socket and the timer of a Sender.
type Runner struct {
	cfg   RunnerConfig
	nudge chan struct{}

	// detours holds a place for each detour under way: a connection that died
	// without a word must not hold up the rounds that follow.
	detours chan struct{}
	acked   chan struct{}

	mu     sync.Mutex // guards what follows
	sender *Sender
	detour bool
}

// maxDetours is how many rounds may be on the detour at a time.
const maxDetours = 4

// NewRunner returns a runner for the sender, which it owns until Run returns.
func NewRunner(s *Sender, cfg RunnerConfig) *Runner {
	if cfg.Failed == nil {
		cfg.Failed = func(error) {}
	}
	if cfg.Rerouted == nil {
		cfg.Rerouted = func(bool) {}
	}
	return &Runner{
		cfg: cfg, nudge: make(chan struct{}, 1), acked: make(chan struct{}, 1),
		detours: make(chan struct{}, maxDetours), sender: s, detour: s.Detour(),
	}
}

// Nudge sends a beat at once, because something has changed.
func (r *Runner) Nudge() {
	select {
	case r.nudge <- struct{}{}:
	default: // one is waiting already
	}
}

// Lease returns the lease as granted so far. The holder compares Until with its
// own clock, the one that the runner was given.
func (r *Runner) Lease() Lease {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sender.Lease()
}

// Run beats until ctx ends or the Conn fails.
func (r *Runner) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer func() { _ = r.cfg.Conn.Close() }()
	wg.Go(func() { cancel(r.receive()) })
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			if err := context.Cause(ctx); !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
				return fmt.Errorf("beat sender: %w", err)
			}
			return nil
		case <-timer.C:
			r.send(ctx, &wg)
		case <-r.nudge:
			r.mu.Lock()
			r.sender.Nudge(r.cfg.Clock())
			r.mu.Unlock()
		case <-r.acked:
		}
		r.mu.Lock()
		due := r.sender.Due()
		rerouted := r.detour != r.sender.Detour()
		r.detour = r.sender.Detour()
		r.mu.Unlock()
		if rerouted {
			r.cfg.Rerouted(r.detour)
		}
		timer.Reset(max(time.Duration(due-r.cfg.Clock()), 0))
	}
}

// send sends a round if one is due.
func (r *Runner) send(ctx context.Context, wg *sync.WaitGroup) {
	items := r.cfg.Items()
	r.mu.Lock()
	out, err := r.sender.Step(r.cfg.Clock(), items)
	r.mu.Unlock()
	if err != nil {
		r.cfg.Failed(err)
	}
	direct := out.Sealed
	if out.Detour {
		r.sendRound(ctx, wg, slices.Clone(out.Sealed))
		direct = nil
	}
	if out.Probe != nil {
		direct = append(direct, out.Probe)
	}
	for _, d := range direct {
		if err := r.cfg.Conn.Send(out.Target, d); err != nil {
			r.cfg.Failed(fmt.Errorf("send beat to controller %d: %w", out.Target, err))
		}
	}
}

// sendRound sends a round by the detour; if too many are under way it is lost like
// any datagram.
func (r *Runner) sendRound(ctx context.Context, wg *sync.WaitGroup, beats [][]byte) {
	select {
	case r.detours <- struct{}{}:
	default:
		return
	}
	wg.Go(func() {
		defer func() { <-r.detours }()
		acks, err := r.cfg.Detour(ctx, beats)
		if err != nil && ctx.Err() == nil {
			r.cfg.Failed(fmt.Errorf("send beats by the detour: %w", err))
		}
		for _, ack := range acks {
			r.take(ack)
		}
	})
}

// receive takes acks until the Conn fails, and returns why.
func (r *Runner) receive() error {
	buf := make([]byte, MaxDatagram+1)
	for {
		n, err := r.cfg.Conn.Receive(buf)
		if err != nil {
			return err
		}
		r.take(buf[:n])
	}
}

// take takes one ack, whichever way it came.
func (r *Runner) take(ack []byte) {
	r.mu.Lock()
	err := r.sender.Acked(r.cfg.Clock(), ack)
	work := err == nil && r.sender.Work()
	r.mu.Unlock()
	if err != nil {
		r.cfg.Failed(err)
		return
	}
	if work && r.cfg.Work != nil {
		r.cfg.Work()
	}
	select {
	case r.acked <- struct{}{}:
	default:
	}
}
