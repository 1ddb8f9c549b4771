package detector

import (
	"math"
	"math/rand/v2"
	"sort"
	"sync/atomic"
	"time"
)

// Scenario is what a network and its members suffer.
type Scenario struct {
	Name string
	// Loss is the share of packets lost on each path, each for itself.
	Loss float64
	// Burst is the mean length of the spans in which a member's own link carries
	// nothing, in both directions; BurstShare is their share of the time. With
	// them a path between two members is cut for twice that share.
	Burst      time.Duration
	BurstShare float64
	// Starved is the share of members that get no processor time for spans that are
	// log-uniform between ShortestPause and LongestPause, MeanRun apart.
	Starved float64
}

// The pauses of a starved member.
const (
	ShortestPause = 100 * time.Millisecond
	LongestPause  = 10 * time.Second
	MeanRun       = 10 * time.Second
)

// Retransmission as Linux does it: the first time-outs of a connection request and
// of a segment; each further one is twice as long.
const (
	connectRTO = time.Second
	segmentRTO = 200 * time.Millisecond
)

// span is a stretch of time, the end not included.
type span struct{ from, to time.Duration }

// Network decides by its seed alone what becomes of each packet. Two detectors
// with the same scenario, members and seed meet the same outages and pauses, and
// the same loss on the n-th packet of each path. It is safe for concurrent use
// once no more faults are added.
type Network struct {
	scenario Scenario
	seed     uint64
	members  int
	ends     int
	drawn    []atomic.Uint32 // packets on each path
	in, out  [][]span        // by member: when its link carries nothing
	pauses   [][]span        // by member: when it gets no processor time
}

// NewNetwork returns a network of so many members, and of so many more ends that
// are no members and never starve, for so long.
func NewNetwork(s Scenario, members, others int, length time.Duration, seed uint64) *Network {
	ends := members + others
	n := &Network{
		scenario: s, seed: mix(seed + 1), members: members, ends: ends, drawn: make([]atomic.Uint32, ends*ends),
		in: make([][]span, ends), out: make([][]span, ends), pauses: make([][]span, ends),
	}
	for m := range ends {
		rng := rand.New(rand.NewPCG(seed, uint64(m))) //nolint:gosec // a seed that repeats
		if s.Burst > 0 {
			gap := float64(s.Burst) * (1 - s.BurstShare) / s.BurstShare
			n.in[m] = alternate(length, func() float64 { return gap * rng.ExpFloat64() }, func() float64 { return float64(s.Burst) * rng.ExpFloat64() })
			n.out[m] = n.in[m]
		}
		if n.Starved(m) {
			low, high := math.Log(float64(ShortestPause)), math.Log(float64(LongestPause))
			n.pauses[m] = alternate(length, func() float64 { return float64(MeanRun) * rng.ExpFloat64() }, func() float64 { return math.Exp(low + (high-low)*rng.Float64()) })
		}
	}
	return n
}

// alternate draws bad spans, apart by gaps, until length is filled.
func alternate(length time.Duration, gap, bad func() float64) []span {
	var out []span
	for at := time.Duration(gap()); at < length; {
		end := at + time.Duration(bad())
		out = append(out, span{at, end})
		at = end + time.Duration(gap())
	}
	return out
}

// Starved reports whether the member is one of those short of processor time: every
// fifth at a share of 20 %.
func (n *Network) Starved(member int) bool {
	return n.scenario.Starved > 0 && member < n.members && member%int(math.Round(1/n.scenario.Starved)) == 0
}

// Cut adds an outage of a member's link. Faults of one member must come in order
// and must not overlap.
func (n *Network) Cut(member int, from, to time.Duration, in, out bool) {
	if in {
		n.in[member] = append(n.in[member], span{from, to})
	}
	if out {
		n.out[member] = append(n.out[member], span{from, to})
	}
}

// Pause adds a span in which the member gets no processor time.
func (n *Network) Pause(member int, from, to time.Duration) {
	n.pauses[member] = append(n.pauses[member], span{from, to})
}

// within returns the span that holds at.
func within(list []span, at time.Duration) (span, bool) {
	if len(list) == 0 {
		return span{}, false
	}
	i := sort.Search(len(list), func(i int) bool { return list[i].to > at })
	if i < len(list) && list[i].from <= at {
		return list[i], true
	}
	return span{}, false
}

// Awake returns the first moment from at on in which the member runs.
func (n *Network) Awake(member int, at time.Duration) time.Duration {
	for {
		s, ok := within(n.pauses[member], at)
		if !ok {
			return at
		}
		at = s.to
	}
}

// Lost reports whether a packet that is sent at the moment is lost.
func (n *Network) Lost(from, to int, at time.Duration) bool {
	if _, cut := within(n.out[from], at); cut {
		return true
	}
	if _, cut := within(n.in[to], at); cut {
		return true
	}
	if n.scenario.Loss <= 0 {
		return false
	}
	k := n.drawn[from*n.ends+to].Add(1)
	x := mix(mix(n.seed^uint64(from)<<16^uint64(to)) ^ uint64(k))
	return float64(x>>11)/(1<<53) < n.scenario.Loss
}

// mix is the finalizer of SplitMix64: neighbours get unrelated values.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// Connect returns when a TCP connection that is asked for at the moment is open.
// The kernel of a starved member answers for it. False means not before limit.
func (n *Network) Connect(from, to int, at, limit time.Duration) (time.Duration, bool) {
	for rto := connectRTO; at < limit; rto *= 2 {
		if !n.Lost(from, to, at) && !n.Lost(to, from, at) {
			return at, true
		}
		at += rto
	}
	return limit, false
}

// Deliver returns when a segment on an open TCP connection arrives. False means
// not before limit.
func (n *Network) Deliver(from, to int, at, limit time.Duration) (time.Duration, bool) {
	for rto := segmentRTO; at < limit; rto *= 2 {
		if !n.Lost(from, to, at) {
			return at, true
		}
		at += rto
	}
	return limit, false
}
