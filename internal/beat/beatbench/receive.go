package beatbench

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/net/ipv4"

	"relight/internal/beat"
	"relight/internal/core/fleet"
)

// keyOf is the key of an agent, known to generator and receiver.
func keyOf(seed string, id beat.AgentID) beat.Key {
	return beat.Key(sha256.Sum256(fmt.Appendf(nil, "%s %d", seed, id)))
}

// nameOf is the name of an agent's only server.
func nameOf(id beat.AgentID) string { return fmt.Sprintf("server-%06d", id) }

// newTable enrols the agents in a table that grants leases. changes may be nil.
func newTable(j job, clock beat.Clock, changes func(beat.Change)) (*beat.Table, error) {
	keys := &beat.Keys{}
	for i := range j.Agents {
		id := beat.AgentID(i + 1)
		keys.Set(id, keyOf(j.Seed, id))
	}
	t, err := beat.NewTable(beat.TableConfig{
		Keys: keys, Allowed: func(beat.AgentID, string) bool { return true }, Changes: changes,
		DriftPPM: 500, Margin: time.Second, Rand: rand.Reader,
	}, clock())
	if err != nil {
		return nil, err
	}
	t.SetGrant(beat.Grant{Term: 1, Lease: 15 * time.Second, NotAfter: clock() + int64(time.Hour)})
	return t, nil
}

// delays collects how long beats that change something took to become visible.
type delays struct {
	mu  sync.Mutex
	all []int64
}

// take returns the two quantiles and starts afresh.
func (d *delays) take() (p50, p99 float64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if n := len(d.all); n > 0 {
		slices.Sort(d.all)
		p50, p99 = float64(d.all[n/2]), float64(d.all[n*99/100])
	}
	d.all = d.all[:0]
	return p50, p99
}

// serveSealed runs the real receiver.
func serveSealed(p *pipe, j job) error {
	clock := beat.BootClock()
	d := &delays{all: make([]int64, 0, 1<<20)}
	table, err := newTable(j, clock, func(c beat.Change) {
		now := clock()
		d.mu.Lock()
		d.all = append(d.all, now-c.SentAt)
		d.mu.Unlock()
	})
	if err != nil {
		return err
	}
	r, err := beat.Listen(beat.ReceiverConfig{Addr: "127.0.0.1:0", Clock: clock}, table)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	err = answer(p, r.Addr().String(), func() (uint64, float64, float64) {
		p50, p99 := d.take()
		return table.Stats().Accepted, p50, p99
	})
	cancel()
	return errors.Join(err, <-done)
}

// serveBare runs a loop that reads in batches and, if echo is set, answers as many
// bytes as an ack has, without opening anything.
func serveBare(p *pipe, echo bool) error {
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return err
	}
	_ = c.SetReadBuffer(16 << 20) // cut by the kernel as the receiver's is
	var taken atomic.Uint64
	done := make(chan error, 1)
	go func() { done <- bareLoop(c, echo, &taken) }()
	err = answer(p, c.LocalAddr().String(), func() (uint64, float64, float64) { return taken.Load(), 0, 0 })
	return errors.Join(err, c.Close(), <-done)
}

func bareLoop(c *net.UDPConn, echo bool, taken *atomic.Uint64) error {
	const ackSize = 78
	pc := ipv4.NewPacketConn(c)
	in, out := make([]ipv4.Message, 256), make([]ipv4.Message, 256)
	ack := make([]byte, ackSize)
	for i := range in {
		in[i].Buffers = [][]byte{make([]byte, beat.MaxDatagram)}
		out[i].Buffers = [][]byte{ack}
	}
	for {
		n, err := pc.ReadBatch(in, 0)
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		taken.Add(uint64(n))
		for i := range n {
			out[i].Addr = in[i].Addr
		}
		for sent := 0; echo && sent < n; {
			m, err := pc.WriteBatch(out[sent:n], 0)
			if err != nil {
				return err
			}
			sent += m
		}
	}
}

// answer tells the address and then replies to questions until the parent is gone.
// It waits until nothing more comes, so that what is under way is counted.
func answer(p *pipe, addr string, state func() (taken uint64, p50, p99 float64)) error {
	if err := p.write(listening{Addr: addr}); err != nil {
		return err
	}
	for {
		if err := p.read(&struct{}{}); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		taken, p50, p99 := state()
		for {
			time.Sleep(50 * time.Millisecond)
			again, _, _ := state()
			if again == taken {
				break
			}
			taken = again
		}
		var ru syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &ru); err != nil {
			return err
		}
		user := time.Duration(ru.Utime.Nano())
		cpu := user + time.Duration(ru.Stime.Nano())
		if err := p.write(received{Taken: taken, CPU: cpu, User: user, P50: p50, P99: p99}); err != nil {
			return err
		}
	}
}

// measureHeap fills a table with one beat from each agent and tells what it holds.
func measureHeap(p *pipe, j job) error {
	var before, after runtime.MemStats
	collect(&before)
	table, err := newTable(j, beat.BootClock(), nil)
	if err != nil {
		return err
	}
	for i := range j.Agents {
		id := beat.AgentID(i + 1)
		k := keyOf(j.Seed, id)
		d, err := beat.SealBeat(nil, &k, &beat.Beat{
			Agent: id, Counter: 1, Session: table.Session(), Kind: beat.GuestAgent,
			Items: []beat.Item{{Server: nameOf(id), Epoch: 1, Alive: fleet.Yes, Works: fleet.Yes}},
		})
		if err != nil {
			return err
		}
		if _, err := table.Handle(1, nil, d); err != nil {
			return err
		}
	}
	collect(&after)
	bytes := int64(after.HeapAlloc) - int64(before.HeapAlloc)
	state := int64(beat.StateBytes(len(nameOf(1))))
	runtime.KeepAlive(table)
	return p.write(heap{Bytes: bytes, State: state})
}

// collect collects garbage twice, so that pools are empty, and reads the heap.
func collect(m *runtime.MemStats) {
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(m)
}
