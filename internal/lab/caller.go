package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"
)

// callEvery is how often a caller asks: what it measures is that exact at best.
const callEvery = 5 * time.Millisecond

// Answer is one that a caller heard.
type Answer struct {
	At time.Time
	// Who the one that answered says that it is: its name and its epoch.
	Who string
}

// Caller is a client that asks an address again and again who answers there: what a
// move of the address is to those who use it, whoever holds it meanwhile.
type Caller struct {
	conn net.PacketConn
	wait sync.WaitGroup
	stop context.CancelFunc

	mu sync.Mutex
	// heard has the first and the last answer of each one that followed another.
	heard [][2]Answer
	// times is how often each one answered.
	times map[string]int
}

// ServerAddress is where clients find the lab's server, in every epoch.
func (l *Lab) ServerAddress() string { return l.address() }

// Call starts a client in the client's namespace. Close it.
func (l *Lab) Call(ctx context.Context, addr string) (*Caller, error) {
	ip, err := netip.ParseAddr(addr)
	if err != nil {
		return nil, err
	}
	c := &Caller{times: map[string]int{}}
	err = within(l.namespace(nodeClient), func() error {
		var lc net.ListenConfig
		var err error
		c.conn, err = lc.ListenPacket(ctx, "udp4", l.management(last(nodeClient))+":0")
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("the client cannot ask: %w", err)
	}
	ctx, c.stop = context.WithCancel(ctx)
	c.wait.Go(func() { c.ask(ctx, net.UDPAddrFromAddrPort(netip.AddrPortFrom(ip, ServePort))) })
	c.wait.Go(c.hear)
	return c, nil
}

func (c *Caller) ask(ctx context.Context, to net.Addr) {
	every := time.NewTicker(callEvery)
	defer every.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-every.C:
			_, _ = c.conn.WriteTo([]byte("who"), to) // nobody there is what is looked for
		}
	}
}

func (c *Caller) hear() {
	buf := make([]byte, 512)
	for {
		n, _, err := c.conn.ReadFrom(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		// A guest on standby, which is nobody yet, says less.
		if f := strings.Fields(string(buf[:n])); err == nil && len(f) == 4 {
			c.note(Answer{At: time.Now(), Who: f[0] + " " + f[1]})
		}
	}
}

func (c *Caller) note(a Answer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.times[a.Who]++
	if n := len(c.heard); n > 0 && c.heard[n-1][1].Who == a.Who {
		c.heard[n-1][1] = a
		return
	}
	c.heard = append(c.heard, [2]Answer{a, a})
}

// Last is the newest answer; the zero one if nobody ever answered.
func (c *Caller) Last() Answer {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.heard) == 0 {
		return Answer{}
	}
	return c.heard[len(c.heard)-1][1]
}

// Times is how often one that is called so has answered.
func (c *Caller) Times(who string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.times[who]
}

// Move is the last answer of the one that was called so, and the first one after it of
// somebody else. False while nobody else has answered since then.
func (c *Caller) Move(who string) (end, begin Answer, moved bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, h := range c.heard {
		switch {
		case h[1].Who == who:
			end, begin, moved = h[1], Answer{}, false
		case !moved && !end.At.IsZero():
			begin, moved = c.heard[i][0], true
		}
	}
	return end, begin, moved
}

// Close ends the client.
func (c *Caller) Close() error {
	c.stop()
	err := c.conn.Close()
	c.wait.Wait()
	return err
}
