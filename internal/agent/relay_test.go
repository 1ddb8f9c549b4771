package agent

import (
	"context"
	"net"
	"sync"
	"testing"
)

// relay carries TCP connections between an agent and the controller and can be
// cut like a cable: what is on the way stays there and nobody is told.
type relay struct {
	addr, target string

	mu    sync.Mutex
	cut   chan struct{} // closed when the relay is cut
	whole bool
	conns map[net.Conn]bool
}

func newRelay(t *testing.T, target string) *relay {
	t.Helper()
	return newRelayOn(t, "127.0.0.1", target)
}

// newRelayOn is one that is found at another address of this machine.
func newRelayOn(t *testing.T, host, target string) *relay {
	t.Helper()
	l, err := net.Listen("tcp", host+":0")
	must(t, err)
	r := &relay{addr: l.Addr().String(), target: target, whole: true, conns: map[net.Conn]bool{}, cut: make(chan struct{})}
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { r.carry(ctx, c) })
		}
	})
	t.Cleanup(func() {
		cancel()
		_ = l.Close()
		r.mu.Lock()
		for c := range r.conns {
			_ = c.Close()
		}
		r.mu.Unlock()
		wg.Wait()
	})
	return r
}

// carry copies both ways for as long as the relay stays whole. A connection that
// was ever cut stays dead.
func (r *relay) carry(ctx context.Context, a net.Conn) {
	b, err := net.Dial("tcp", r.target)
	if err != nil {
		_ = a.Close()
		return
	}
	r.mu.Lock()
	whole, cut := r.whole, r.cut
	r.conns[a], r.conns[b] = true, true
	r.mu.Unlock()
	var wg sync.WaitGroup
	for _, way := range [][2]net.Conn{{a, b}, {b, a}} {
		wg.Go(func() {
			buf := make([]byte, 64<<10)
			for whole {
				n, err := way[0].Read(buf)
				select {
				case <-cut:
					return
				default:
				}
				if n > 0 {
					_, _ = way[1].Write(buf[:n])
				}
				if err != nil {
					_, _ = a.Close(), b.Close()
					return
				}
			}
		})
	}
	wg.Wait()
	select {
	case <-cut:
		<-ctx.Done() // both ends stay open and nothing comes through
	default:
		if !whole {
			<-ctx.Done()
		}
	}
}

func (r *relay) setWhole(whole bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.whole && !whole {
		close(r.cut)
	} else if whole && !r.whole {
		r.cut = make(chan struct{})
	}
	r.whole = whole
}

// drop ends the connections that there are, and tells both ends.
func (r *relay) drop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for c := range r.conns {
		_ = c.Close()
	}
	clear(r.conns)
}
