package beat

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
)

// ReceiverConfig says where a Receiver listens.
type ReceiverConfig struct {
	// Addr is a UDP address such as ":7946".
	Addr string
	// Sockets is how many sockets share the address, each with its own goroutine;
	// 0 means 1. The kernel spreads the agents over them.
	Sockets int
	// Buffer is the size of each socket's receive buffer in bytes; 0 means 16 MB.
	// The kernel cuts it to net.core.rmem_max unless the process may override it.
	Buffer int
	// Clock stamps the beats; it must be the one by which the table's grants are set.
	Clock Clock
}

// Receiver reads beats from sockets into a table and sends the acks.
type Receiver struct {
	table    *Table
	clock    Clock
	conns    []*net.UDPConn
	acksLost atomic.Uint64
}

// Listen opens the sockets.
func Listen(cfg ReceiverConfig, table *Table) (*Receiver, error) {
	if cfg.Sockets == 0 {
		cfg.Sockets = 1
	}
	if cfg.Buffer == 0 {
		cfg.Buffer = 16 << 20
	}
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var opt error
		err := c.Control(func(fd uintptr) { opt = socketOptions(fd, cfg.Sockets > 1, cfg.Buffer) })
		return errors.Join(err, opt)
	}}
	r := &Receiver{table: table, clock: cfg.Clock}
	addr := cfg.Addr
	for range cfg.Sockets {
		c, err := lc.ListenPacket(context.Background(), "udp", addr)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("beat receiver %s: %w", addr, err), r.Close())
		}
		r.conns = append(r.conns, c.(*net.UDPConn))
		addr = c.LocalAddr().String() // port 0 was asked for: share the one that came
	}
	return r, nil
}

// Addr is where the receiver listens.
func (r *Receiver) Addr() netip.AddrPort {
	return r.conns[0].LocalAddr().(*net.UDPAddr).AddrPort()
}

// Close closes the sockets; Run returns.
func (r *Receiver) Close() error {
	var err error
	for _, c := range r.conns {
		if e := c.Close(); !errors.Is(e, net.ErrClosed) {
			err = errors.Join(err, e)
		}
	}
	return err
}

// Run takes beats until ctx ends or a socket fails, and closes the sockets.
func (r *Receiver) Run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = r.Close() })
	defer stop()
	var wg sync.WaitGroup
	errs := make([]error, len(r.conns))
	for i, c := range r.conns {
		wg.Go(func() {
			errs[i] = r.loop(c)
			_ = r.Close()
		})
	}
	wg.Wait()
	if ctx.Err() != nil {
		return nil
	}
	return errors.Join(errs...)
}

// loop serves one socket.
func (r *Receiver) loop(c *net.UDPConn) error {
	b, err := newBatch(c)
	if err != nil {
		return fmt.Errorf("beat receiver: %w", err)
	}
	var w worker
	for {
		n, err := b.recv()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return nil
			}
			return fmt.Errorf("beat receiver: %w", err)
		}
		now := r.clock()
		for i := range n {
			ack, err := r.table.handle(&w, now, b.ackBuf(), b.datagram(i))
			if err == nil {
				b.queue(i, ack)
			}
		}
		lost, err := b.flush()
		r.acksLost.Add(uint64(lost))
		if err != nil && !errors.Is(err, net.ErrClosed) {
			return fmt.Errorf("beat receiver: %w", err)
		}
	}
}

// Losses returns how many datagrams the kernel dropped before they were read, and
// how many acks it did not take. A controller that loses beats itself must doubt
// its own verdicts first.
func (r *Receiver) Losses() (beats, acks uint64) {
	for _, c := range r.conns {
		n, err := kernelDrops(c)
		if err == nil {
			beats += n
		}
	}
	return beats, r.acksLost.Load()
}
