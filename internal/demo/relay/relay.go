// Package relay passes TCP and UDP on between a host and its controller, and can
// be cut like a cable: nothing is refused, nothing comes through. After the cut
// is mended, TCP connections go on where they were, as retransmission would have
// it; datagrams of the meantime are lost.
package relay

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
)

// Options say what is relayed where.
type Options struct {
	// Listen is the local IP; the ports are chosen.
	Listen string
	// TCP and UDP are where traffic goes, host:port.
	TCP, UDP string
}

// Relay is a running relay. Close it.
type Relay struct {
	opt    Options
	tcp    net.Listener
	udp    *net.UDPConn
	ctx    context.Context
	cancel context.CancelFunc
	work   sync.WaitGroup

	mu    sync.Mutex
	whole chan struct{} // closed while the cable is whole
	conns map[net.Conn]bool
}

// Open starts a relay.
func Open(o Options) (*Relay, error) {
	var lc net.ListenConfig
	tcp, err := lc.Listen(context.Background(), "tcp", net.JoinHostPort(o.Listen, "0"))
	if err != nil {
		return nil, fmt.Errorf("relay: %w", err)
	}
	udp, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP(o.Listen)})
	if err != nil {
		return nil, fmt.Errorf("relay: %w", errors.Join(err, tcp.Close()))
	}
	r := &Relay{opt: o, tcp: tcp, udp: udp, whole: make(chan struct{}), conns: map[net.Conn]bool{}}
	close(r.whole)
	r.ctx, r.cancel = context.WithCancel(context.Background())
	r.work.Go(r.accept)
	r.work.Go(r.datagrams)
	return r, nil
}

// TCP is the relay's address for connections, UDP that for datagrams.
func (r *Relay) TCP() string { return r.tcp.Addr().String() }

// UDP is the relay's address for datagrams.
func (r *Relay) UDP() string { return r.udp.LocalAddr().String() }

// Cut lets nothing through from now on, in neither direction.
func (r *Relay) Cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.open() {
		r.whole = make(chan struct{})
	}
}

// Restore ends a cut.
func (r *Relay) Restore() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.open() {
		close(r.whole)
	}
}

// open must be called with mu held.
func (r *Relay) open() bool {
	select {
	case <-r.whole:
		return true
	default:
		return false
	}
}

// Close ends the relay and everything that goes through it.
func (r *Relay) Close() {
	r.cancel()
	_ = r.tcp.Close()
	_ = r.udp.Close()
	r.mu.Lock()
	for c := range r.conns {
		_ = c.Close()
	}
	r.mu.Unlock()
	r.work.Wait()
}

// pass waits until the cable is whole; it is false once the relay is closed.
func (r *Relay) pass() bool {
	r.mu.Lock()
	whole := r.whole
	r.mu.Unlock()
	select {
	case <-whole:
		return true
	case <-r.ctx.Done():
		return false
	}
}

// keep notes a connection, so that Close ends it; false if that was done already.
func (r *Relay) keep(c net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ctx.Err() != nil {
		_ = c.Close()
		return false
	}
	r.conns[c] = true
	return true
}

func (r *Relay) drop(c net.Conn) {
	_ = c.Close()
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.conns, c)
}

func (r *Relay) accept() {
	for {
		c, err := r.tcp.Accept()
		if err != nil {
			return
		}
		if r.keep(c) {
			r.work.Go(func() { r.connect(c) })
		}
	}
}

// connect carries one connection. Its two halves end apart, and the end of a half
// is passed on as such: a peer that has said its last may still listen.
func (r *Relay) connect(c net.Conn) {
	defer r.drop(c)
	if !r.pass() {
		return
	}
	var d net.Dialer
	up, err := d.DialContext(r.ctx, "tcp", r.opt.TCP)
	if err != nil || !r.keep(up) {
		return
	}
	defer r.drop(up)
	var halves sync.WaitGroup
	halves.Go(func() { r.pump(up, c) })
	halves.Go(func() { r.pump(c, up) })
	halves.Wait()
}

func (r *Relay) pump(to, from net.Conn) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if !r.pass() {
			return
		}
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				_ = from.Close()
				return
			}
		}
		if err != nil {
			if t, ok := to.(*net.TCPConn); ok {
				_ = t.CloseWrite()
			}
			return
		}
	}
}

// datagrams relays each sender through a socket of its own, so that answers find
// their way back.
func (r *Relay) datagrams() {
	ways := map[string]*net.UDPConn{}
	defer func() {
		for _, up := range ways {
			_ = up.Close()
		}
	}()
	buf := make([]byte, 64<<10)
	for {
		n, from, err := r.udp.ReadFromUDP(buf)
		if err != nil {
			return
		}
		if !r.isWhole() {
			continue
		}
		up := ways[from.String()]
		if up == nil {
			if up = r.way(from); up == nil {
				continue
			}
			ways[from.String()] = up
		}
		// An error here is the refusal of an earlier datagram: on a real network
		// the sender would not hear of it either.
		_, _ = up.Write(buf[:n])
	}
}

func (r *Relay) isWhole() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.open()
}

// way opens the socket of one sender and relays what comes back.
func (r *Relay) way(from *net.UDPAddr) *net.UDPConn {
	addr, err := net.ResolveUDPAddr("udp", r.opt.UDP)
	if err != nil {
		return nil
	}
	up, err := net.DialUDP("udp", nil, addr)
	if err != nil || !r.keep(up) {
		return nil
	}
	r.work.Go(func() {
		defer r.drop(up)
		buf := make([]byte, 64<<10)
		for r.ctx.Err() == nil {
			n, err := up.Read(buf)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil && r.isWhole() {
				_, _ = r.udp.WriteToUDP(buf[:n], from)
			}
		}
	})
	return up
}
