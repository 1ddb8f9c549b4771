package beat

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
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

	mu     sync.Mutex // guards sender
	sender *Sender
}

// NewRunner returns a runner for the sender, which it owns from now on.
func NewRunner(s *Sender, cfg RunnerConfig) *Runner {
	if cfg.Failed == nil {
		cfg.Failed = func(error) {}
	}
	return &Runner{cfg: cfg, nudge: make(chan struct{}, 1), sender: s}
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
	defer r.cfg.Conn.Close()
	acked := make(chan struct{}, 1)
	wg.Go(func() { cancel(r.receive(acked)) })
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
			r.send()
		case <-r.nudge:
			r.mu.Lock()
			r.sender.Nudge(r.cfg.Clock())
			r.mu.Unlock()
		case <-acked:
		}
		r.mu.Lock()
		due := r.sender.Due()
		r.mu.Unlock()
		timer.Reset(max(time.Duration(due-r.cfg.Clock()), 0))
	}
}

// send sends a round if one is due.
func (r *Runner) send() {
	items := r.cfg.Items()
	r.mu.Lock()
	out, err := r.sender.Step(r.cfg.Clock(), items)
	r.mu.Unlock()
	if err != nil {
		r.cfg.Failed(err)
	}
	for _, d := range out.Sealed {
		if err := r.cfg.Conn.Send(out.Target, d); err != nil {
			r.cfg.Failed(fmt.Errorf("send beat to controller %d: %w", out.Target, err))
		}
	}
}

// receive takes acks until the Conn fails, and returns why.
func (r *Runner) receive(acked chan<- struct{}) error {
	buf := make([]byte, MaxDatagram+1)
	for {
		n, err := r.cfg.Conn.Receive(buf)
		if err != nil {
			return err
		}
		r.mu.Lock()
		err = r.sender.Acked(r.cfg.Clock(), buf[:n])
		work := err == nil && r.sender.Work()
		r.mu.Unlock()
		if err != nil {
			r.cfg.Failed(err)
			continue
		}
		if work && r.cfg.Work != nil {
			r.cfg.Work()
		}
		select {
		case acked <- struct{}{}:
		default:
		}
	}
}
