// Package beatbench measures what a beat costs the controller: processor time,
// delay, loss and memory, beside loops that do less. Receiver and generator run as
// processes of their own on loopback, so that the receiver's usage is its own.
package beatbench

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"time"
)

// Row is one result.
type Row struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
	// Peer is what the value is compared with, and Ratio is Value / PeerValue.
	Peer      string  `json:"peer,omitempty"`
	PeerValue float64 `json:"peer_value,omitempty"`
	Ratio     float64 `json:"ratio,omitempty"`
	Goal      string  `json:"goal,omitempty"`
}

// plan bounds a run.
type plan struct {
	agents   int
	rate     int           // beats a second of the measured run
	length   time.Duration // of each run
	ramp     []int         // rates to try for the highest without loss
	rampTime time.Duration
	counts   []int // servers of the memory runs
}

func fullPlan() plan {
	return plan{
		agents: 100_000, rate: 100_000, length: 4 * time.Second,
		ramp:     []int{50_000, 100_000, 150_000, 200_000, 250_000, 300_000, 400_000},
		rampTime: 2 * time.Second, counts: []int{1_000, 10_000, 100_000},
	}
}

// Run measures for about 40 seconds, writes a line for each row to w, and returns
// the rows. The program that calls it must call [Child] first thing in main.
func Run(ctx context.Context, w io.Writer) ([]Row, error) { return run(ctx, w, fullPlan()) }

func run(ctx context.Context, w io.Writer, p plan) ([]Row, error) {
	var seed [8]byte
	if _, err := rand.Read(seed[:]); err != nil {
		return nil, fmt.Errorf("beat bench: %w", err)
	}
	b := &bench{ctx: ctx, plan: p, w: w, seed: fmt.Sprintf("%x", seed)}
	for _, part := range []func() error{b.cost, b.highestRate, b.memory} {
		if err := part(); err != nil {
			return b.rows, fmt.Errorf("beat bench: %w", err)
		}
	}
	return b.rows, nil
}

// bench is one run.
type bench struct {
	ctx  context.Context
	plan plan
	w    io.Writer
	seed string
	rows []Row
}

func (b *bench) add(r Row) {
	if r.PeerValue != 0 {
		r.Ratio = r.Value / r.PeerValue
	}
	b.rows = append(b.rows, r)
	line := fmt.Sprintf("%-37s %12.3f %-8s", r.Name, r.Value, r.Unit)
	if r.Peer != "" {
		line += fmt.Sprintf(" %s: %.3f (x%.2f)", r.Peer, r.PeerValue, r.Ratio)
	}
	if r.Goal != "" {
		line += " goal " + r.Goal
	}
	fmt.Fprintln(b.w, line)
}

// cost measures one rate with the real receiver and with the two lesser loops.
func (b *bench) cost() error {
	reports := map[string]usage{}
	for _, role := range []string{roleBare, roleEcho, roleSealed} {
		u, err := b.load(role, b.plan.rate, b.plan.length)
		if err != nil {
			return err
		}
		reports[role] = u
	}
	u := reports[roleSealed]
	b.add(Row{
		Name: "beat receiver cpu", Value: u.perBeat(), Unit: "us/beat", Goal: "<= 5",
		Peer: "bare ReadBatch loop that discards", PeerValue: reports[roleBare].perBeat(),
	})
	b.add(Row{
		Name: "beat receiver cpu, answered", Value: u.perBeat(), Unit: "us/beat",
		Peer: "bare ReadBatch and WriteBatch loop", PeerValue: reports[roleEcho].perBeat(),
	})
	b.add(Row{Name: "beat receiver cpu outside the kernel", Value: micros(u.User, u.Taken), Unit: "us/beat"})
	b.add(Row{Name: "beat rate offered", Value: u.Rate, Unit: "beats/s"})
	b.add(Row{Name: "beats lost at that rate", Value: float64(u.Sent - u.Taken), Unit: "beats", Goal: "0"})
	b.add(Row{Name: "acks lost at that rate", Value: float64(u.Taken - u.Acked), Unit: "acks"})
	b.add(Row{Name: "beat sent to state visible, p50", Value: u.P50 / 1e6, Unit: "ms"})
	b.add(Row{Name: "beat sent to state visible, p99", Value: u.P99 / 1e6, Unit: "ms", Goal: "< 50"})
	return nil
}

// highestRate raises the rate until beats are lost or the generator cannot follow.
func (b *bench) highestRate() error {
	best, cpu := 0.0, 0.0
	for _, rate := range b.plan.ramp {
		u, err := b.load(roleSealed, rate, b.plan.rampTime)
		if err != nil {
			return err
		}
		if u.Sent != u.Taken || u.Rate < 0.97*float64(rate) {
			break
		}
		best, cpu = u.Rate, u.perBeat()
	}
	b.add(Row{Name: "highest rate without loss", Value: best, Unit: "beats/s"})
	b.add(Row{Name: "receiver cpu at that rate", Value: cpu * best / 1e6, Unit: "cores"})
	return nil
}

// usage is the outcome of one run under load.
type usage struct {
	Sent, Taken, Acked uint64
	CPU, User          time.Duration
	Rate               float64 // beats a second that were really sent
	P50, P99           float64 // ns from send to visible state
}

// perBeat is the processor time of one beat in µs.
func (u usage) perBeat() float64 { return micros(u.CPU, u.Taken) }

func micros(d time.Duration, n uint64) float64 {
	return float64(d.Nanoseconds()) / 1e3 / float64(max(n, 1))
}

// load runs a receiver of this role under the generator.
func (b *bench) load(role string, rate int, length time.Duration) (u usage, err error) {
	rcv, err := start(b.ctx, role, job{Seed: b.seed, Agents: b.plan.agents})
	if err != nil {
		return u, err
	}
	defer func() { err = rcv.stop(err) }()
	var at listening
	if err := rcv.read(&at); err != nil {
		return u, err
	}
	gen, err := start(b.ctx, roleGenerator, job{
		Seed: b.seed, Agents: b.plan.agents, Addr: at.Addr, Rate: rate, Length: length, Greet: role == roleSealed,
	})
	if err != nil {
		return u, err
	}
	defer func() { err = gen.stop(err) }()
	var g generated
	if err := gen.read(&struct{}{}); err != nil { // every agent has beaten once
		return u, err
	}
	var before, after received
	if err := rcv.ask(&before); err != nil {
		return u, err
	}
	if err := gen.ask(&g); err != nil {
		return u, err
	}
	if err := rcv.ask(&after); err != nil {
		return u, err
	}
	return usage{
		Sent: g.Sent, Acked: g.Acked, Rate: float64(g.Sent) / g.Took.Seconds(),
		Taken: after.Taken - before.Taken, CPU: after.CPU - before.CPU,
		User: after.User - before.User, P50: after.P50, P99: after.P99,
	}, nil
}

// memory measures the heap of tables of several sizes.
func (b *bench) memory() error {
	var first, last heap
	var firstCount, lastCount int
	for i, n := range b.plan.counts {
		h, err := b.heap(n)
		if err != nil {
			return err
		}
		b.add(Row{
			Name: fmt.Sprintf("heap at %d servers", n), Value: float64(h.Bytes) / float64(n), Unit: "B/server", Goal: "<= 2048",
		})
		if i == 0 {
			first, firstCount = h, n
		}
		last, lastCount = h, n
	}
	slope := float64(last.Bytes-first.Bytes) / float64(max(lastCount-firstCount, 1))
	b.add(Row{Name: "heap, slope", Value: slope, Unit: "B/server", Goal: "<= 2048"})
	b.add(Row{Name: "detector state", Value: float64(last.State), Unit: "B/server", Goal: "<= 256"})
	return nil
}

func (b *bench) heap(n int) (h heap, err error) {
	c, err := start(b.ctx, roleMemory, job{Seed: b.seed, Agents: n})
	if err != nil {
		return h, err
	}
	defer func() { err = c.stop(err) }()
	return h, c.read(&h)
}
