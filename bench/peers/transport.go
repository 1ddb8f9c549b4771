// Package peers measures Relight's detector and others' in the same seeded network.
// It is a module of its own, so that the product needs none of their code.
package peers

import (
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"

	"relight/internal/bench/detector"
)

const port = 7946

// endless stands for no time limit.
const endless = time.Duration(1<<62 - 1)

// ether joins the members of one cluster by a seeded network, in memory.
type ether struct {
	net   *detector.Network
	begun time.Time
	ends  []*end
	// bad says that the network's faults are on; clusters form without them.
	bad atomic.Bool
	// packets counts datagrams and TCP segments that were sent.
	packets atomic.Uint64
}

func (e *ether) now() time.Duration { return time.Since(e.begun) }

func (e *ether) lost(from, to int, at time.Duration) bool {
	return e.bad.Load() && e.net.Lost(from, to, at)
}

func (e *ether) awake(member int, at time.Duration) time.Duration {
	if !e.bad.Load() {
		return at
	}
	return e.net.Awake(member, at)
}

// end is one member's memberlist.NodeAwareTransport. A member that gets no
// processor time sends and receives nothing until its pause ends.
type end struct {
	ether   *ether
	self    int
	dead    atomic.Bool
	packets chan *memberlist.Packet
	streams chan net.Conn
}

var _ memberlist.NodeAwareTransport = (*end)(nil)

func newEnd(e *ether, self int) *end {
	return &end{ether: e, self: self, packets: make(chan *memberlist.Packet, 4096), streams: make(chan net.Conn, 256)}
}

func addrOf(member int) net.IP { return net.IPv4(10, 0, byte(member>>8), byte(member)) }

func memberAt(addr string) (int, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return 0, err
	}
	ip := net.ParseIP(host).To4()
	if ip == nil {
		return 0, fmt.Errorf("address %q: not one of ours", addr)
	}
	return int(ip[2])<<8 | int(ip[3]), nil
}

// FinalAdvertiseAddr implements memberlist.Transport.
func (t *end) FinalAdvertiseAddr(string, int) (net.IP, int, error) { return addrOf(t.self), port, nil }

// WriteTo implements memberlist.Transport.
func (t *end) WriteTo(b []byte, addr string) (time.Time, error) {
	return t.WriteToAddress(b, memberlist.Address{Addr: addr})
}

// WriteToAddress implements memberlist.NodeAwareTransport.
func (t *end) WriteToAddress(b []byte, a memberlist.Address) (time.Time, error) {
	to, err := memberAt(a.Addr)
	if err != nil {
		return time.Time{}, err
	}
	sent := time.Now()
	if t.dead.Load() {
		return sent, nil
	}
	e := t.ether
	now := e.now()
	at := e.awake(t.self, now)
	e.packets.Add(1)
	if e.lost(t.self, to, at) {
		return sent, nil
	}
	e.after(e.awake(to, at)-now, func() {
		if peer := e.ends[to]; !peer.dead.Load() {
			select {
			case peer.packets <- &memberlist.Packet{Buf: b, From: &net.UDPAddr{IP: addrOf(t.self), Port: port}, Timestamp: time.Now()}:
			default: // its socket buffer is full
			}
		}
	})
	return sent, nil
}

// after calls f after d, at once if there is nothing to wait for.
func (e *ether) after(d time.Duration, f func()) {
	if d <= 0 {
		f()
		return
	}
	time.AfterFunc(d, f)
}

// PacketCh implements memberlist.Transport.
func (t *end) PacketCh() <-chan *memberlist.Packet { return t.packets }

// StreamCh implements memberlist.Transport.
func (t *end) StreamCh() <-chan net.Conn { return t.streams }

// Shutdown implements memberlist.Transport.
func (t *end) Shutdown() error {
	t.dead.Store(true)
	return nil
}

// DialTimeout implements memberlist.Transport.
func (t *end) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	return t.DialAddressTimeout(memberlist.Address{Addr: addr}, timeout)
}

// DialAddressTimeout implements memberlist.NodeAwareTransport.
func (t *end) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	to, err := memberAt(a.Addr)
	if err != nil {
		return nil, err
	}
	e := t.ether
	now := e.now()
	limit := now + timeout
	open, ok := e.awake(t.self, now), true
	e.packets.Add(7) // three to open, four to close
	switch {
	case e.ends[to].dead.Load() || t.dead.Load():
		open, ok = limit, false
	case e.bad.Load():
		open, ok = e.net.Connect(t.self, to, open, limit)
	}
	time.Sleep(open - now)
	if !ok || e.ends[to].dead.Load() {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.ErrDeadlineExceeded}
	}
	near, far := newStream(e, t.self, to), newStream(e, to, t.self)
	near.peer, far.peer = far, near
	e.after(e.awake(to, open)-open, func() {
		select {
		case e.ends[to].streams <- far:
		default:
			_ = far.Close()
		}
	})
	return near, nil
}

// stream is one end of a TCP connection: a write returns at once, as from a
// kernel's buffer, and what was written arrives in order after its retransmissions.
type stream struct {
	ether    *ether
	self, to int
	peer     *stream
	recv     chan []byte
	closed   chan struct{}
	once     sync.Once

	mu    sync.Mutex
	rest  []byte
	until time.Time     // deadline of reads; zero is none
	last  time.Duration // when the last of what was written arrives
	ended bool
}

func newStream(e *ether, self, to int) *stream {
	return &stream{ether: e, self: self, to: to, recv: make(chan []byte, 1024), closed: make(chan struct{})}
}

// Read implements net.Conn.
func (s *stream) Read(b []byte) (int, error) {
	s.mu.Lock()
	if len(s.rest) > 0 {
		n := copy(b, s.rest)
		s.rest = s.rest[n:]
		s.mu.Unlock()
		return n, nil
	}
	ended, until := s.ended, s.until
	s.mu.Unlock()
	if ended {
		return 0, io.EOF
	}
	wait := endless
	if !until.IsZero() {
		wait = time.Until(until)
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case got := <-s.recv:
		s.mu.Lock()
		defer s.mu.Unlock()
		if got == nil {
			s.ended = true
			return 0, io.EOF
		}
		n := copy(b, got)
		s.rest = got[n:]
		return n, nil
	case <-s.closed:
		return 0, net.ErrClosed
	case <-timer.C:
		return 0, &net.OpError{Op: "read", Net: "tcp", Err: os.ErrDeadlineExceeded}
	}
}

// Write implements net.Conn.
func (s *stream) Write(b []byte) (int, error) {
	select {
	case <-s.closed:
		return 0, net.ErrClosed
	default:
	}
	s.send(append(make([]byte, 0, len(b)), b...))
	return len(b), nil
}

// send puts a segment on its way; nil is the end.
func (s *stream) send(b []byte) {
	e := s.ether
	s.mu.Lock()
	defer s.mu.Unlock()
	now := e.now()
	at := e.awake(s.self, now)
	e.packets.Add(2) // and its acknowledgement
	if e.bad.Load() {
		var ok bool
		if at, ok = e.net.Deliver(s.self, s.to, at, at+time.Minute); !ok {
			return
		}
	}
	at = max(e.awake(s.to, at), s.last)
	s.last = at
	e.after(at-now, func() {
		if e.ends[s.to].dead.Load() {
			return
		}
		select {
		case s.peer.recv <- b:
		default:
		}
	})
}

// Close implements net.Conn.
func (s *stream) Close() error {
	s.once.Do(func() {
		close(s.closed)
		s.send(nil)
	})
	return nil
}

// LocalAddr implements net.Conn.
func (s *stream) LocalAddr() net.Addr { return &net.TCPAddr{IP: addrOf(s.self), Port: port} }

// RemoteAddr implements net.Conn.
func (s *stream) RemoteAddr() net.Addr { return &net.TCPAddr{IP: addrOf(s.to), Port: port} }

// SetDeadline implements net.Conn.
func (s *stream) SetDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.until = t
	return nil
}

// SetReadDeadline implements net.Conn.
func (s *stream) SetReadDeadline(t time.Time) error { return s.SetDeadline(t) }

// SetWriteDeadline implements net.Conn: a write never waits.
func (s *stream) SetWriteDeadline(time.Time) error { return nil }
