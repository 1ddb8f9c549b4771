package pace

import (
	"container/heap"
	"fmt"
	"sort"
	"time"
)

// Node is one server of a fleet that is to come back in order.
type Node struct {
	Server   string
	Priority int
	// After names the servers that must be verified before this one may go on.
	After []string
	// Within is how soon it must be back; 0 asks nothing.
	Within time.Duration
}

// Leg is one call that each server's recovery makes, in order.
type Leg struct {
	Uses []string
	Cost int
	// Takes is how long its effect takes once the call is made.
	Takes time.Duration
	// Gated legs wait until the waves below are finished; what is not gated, such
	// as a launch that holds no volume yet, is done ahead.
	Gated bool
}

// Placed is a server's place in a plan.
type Placed struct {
	Server string
	// Wave counts from 1. Priority is at least that of every server that waits for
	// this one.
	Wave, Priority int
	// Back is when it is foretold to be verified, from the start of the plan.
	Back time.Duration
}

// Plan is an order of recovery with its foretold times.
type Plan struct {
	// Order is the one in which tokens are given.
	Order []Placed
	Waves int
	// Back is when the last one is foretold to be verified.
	Back time.Duration
	// Late lists those that will not be back in time with these quotas.
	Late []Placed
}

// Compile orders the servers into waves and foretells when each is back if every
// call succeeds at once and each goes through the legs. Errors: a server that
// waits for one that is not there, two of one name, a circle.
func Compile(nodes []Node, legs []Leg, apis []API) (Plan, error) {
	index := make(map[string]int, len(nodes))
	for i, n := range nodes {
		if _, twice := index[n.Server]; twice {
			return Plan{}, fmt.Errorf("server %s is there twice", n.Server)
		}
		index[n.Server] = i
	}
	next := make([][]int32, len(nodes)) // who waits for whom
	left := make([]int, len(nodes))
	for i, n := range nodes {
		for _, name := range n.After {
			before, ok := index[name]
			if !ok {
				return Plan{}, fmt.Errorf("server %s waits for %s, which is not there", n.Server, name)
			}
			next[before] = append(next[before], int32(i))
			left[i]++
		}
	}
	placed, err := layers(nodes, next, left)
	if err != nil {
		return Plan{}, err
	}
	plan := Plan{Order: placed}
	sort.SliceStable(plan.Order, func(a, b int) bool {
		x, y := plan.Order[a], plan.Order[b]
		if x.Priority != y.Priority {
			return x.Priority > y.Priority
		}
		return x.Wave < y.Wave
	})
	for _, p := range plan.Order {
		plan.Waves = max(plan.Waves, p.Wave)
	}
	foretell(&plan, legs, apis)
	for _, p := range plan.Order {
		plan.Back = max(plan.Back, p.Back)
		if within := nodes[index[p.Server]].Within; within > 0 && p.Back > within {
			plan.Late = append(plan.Late, p)
		}
	}
	return plan, nil
}

// layers gives each server its wave, one above the highest of those it waits for,
// and the highest priority of those that wait for it.
func layers(nodes []Node, next [][]int32, left []int) ([]Placed, error) {
	placed := make([]Placed, len(nodes))
	var order []int
	for i, n := range nodes {
		placed[i] = Placed{Server: n.Server, Wave: 1, Priority: n.Priority}
		if left[i] == 0 {
			order = append(order, i)
		}
	}
	for k := 0; k < len(order); k++ {
		for _, after := range next[order[k]] {
			placed[after].Wave = max(placed[after].Wave, placed[order[k]].Wave+1)
			if left[after]--; left[after] == 0 {
				order = append(order, int(after))
			}
		}
	}
	if len(order) < len(nodes) {
		for i, n := range nodes {
			if left[i] > 0 {
				return nil, fmt.Errorf("server %s waits, through others, for itself or for those that do", n.Server)
			}
		}
	}
	for k := len(order) - 1; k >= 0; k-- {
		for _, after := range next[order[k]] {
			placed[order[k]].Priority = max(placed[order[k]].Priority, placed[after].Priority)
		}
	}
	return placed, nil
}

// foretell runs the order through the buckets: a call goes when its server is
// ready for it, its wave has begun and all its buckets have a token.
func foretell(plan *Plan, legs []Leg, apis []API) {
	f := foreteller{legs: legs, buckets: map[string][2]*drip{}, left: make([]int, plan.Waves+2), held: make([][]pending, plan.Waves+2), plan: plan, open: 1}
	for _, a := range apis {
		f.buckets[a.Name] = [2]*drip{newDrip(a.Requests, max(a.Batch, 1)), newDrip(a.Resources, 1)}
	}
	for i, p := range plan.Order {
		f.left[p.Wave]++
		f.todo = append(f.todo, pending{server: i})
	}
	heap.Init(&f.todo)
	for len(f.todo) > 0 {
		p, _ := heap.Pop(&f.todo).(pending)
		f.step(p)
	}
}

// pending is a server that is ready for its next leg.
type pending struct {
	at          time.Duration
	server, leg int
}

type foreteller struct {
	plan    *Plan
	legs    []Leg
	buckets map[string][2]*drip
	todo    agenda
	left    []int
	held    [][]pending
	open    int
}

func (f *foreteller) step(p pending) {
	wave := f.plan.Order[p.server].Wave
	if p.leg == len(f.legs) {
		f.plan.Order[p.server].Back = p.at
		f.left[wave]--
		for f.open <= f.plan.Waves && f.left[f.open] == 0 {
			f.open++
			for _, h := range f.held[f.open] {
				h.at = max(h.at, p.at)
				heap.Push(&f.todo, h)
			}
		}
		return
	}
	leg := f.legs[p.leg]
	if leg.Gated && wave > f.open {
		f.held[wave] = append(f.held[wave], p)
		return
	}
	at := p.at
	for _, name := range leg.Uses {
		b := f.buckets[name]
		at = max(at, b[0].next(p.at, 1), b[1].next(p.at, max(leg.Cost, 1)))
	}
	for _, name := range leg.Uses {
		b := f.buckets[name]
		b[0].take(at, 1)
		b[1].take(at, max(leg.Cost, 1))
	}
	heap.Push(&f.todo, pending{at: at + leg.Takes, server: p.server, leg: p.leg + 1})
}

// drip is a token bucket as a queue at a constant rate: full is when it would be
// full again if nothing more was taken.
type drip struct {
	every, depth, full time.Duration
}

// newDrip spreads the cost of one request over the works that it carries.
func newDrip(b Bucket, batch int) *drip {
	if b.IsZero() {
		return nil
	}
	every := time.Duration(float64(time.Second) / b.PerSecond / float64(batch))
	return &drip{every: every, depth: time.Duration(b.Burst*float64(batch)) * every}
}

func (d *drip) next(ready time.Duration, n int) time.Duration {
	if d == nil {
		return 0
	}
	return max(ready, d.full+time.Duration(n)*d.every-d.depth)
}

func (d *drip) take(at time.Duration, n int) {
	if d != nil {
		d.full = max(d.full, at) + time.Duration(n)*d.every
	}
}

// agenda is a heap by time, then by the plan's order.
type agenda []pending

func (a agenda) Len() int { return len(a) }
func (a agenda) Less(i, j int) bool {
	if a[i].at != a[j].at {
		return a[i].at < a[j].at
	}
	return a[i].server < a[j].server
}
func (a agenda) Swap(i, j int) { a[i], a[j] = a[j], a[i] }

// Push implements heap.Interface.
func (a *agenda) Push(x any) {
	p, _ := x.(pending)
	*a = append(*a, p)
}

// Pop implements heap.Interface.
func (a *agenda) Pop() any {
	old := *a
	p := old[len(old)-1]
	*a = old[:len(old)-1]
	return p
}
