package aws

import (
	"context"
	"errors"
	"strconv"
	"sync"

	"relight/internal/core/pace"
	"relight/internal/provider"
)

// Gate holds back reads until their API has a token, in the order in which they came:
// a sweep of a large account is a hundred pages, and one page that is refused would
// cost all of it. The calls of steps are paced elsewhere; see provider.WithPacing.
type Gate struct {
	clock provider.Clock

	mu      sync.Mutex
	machine *pace.Machine
	limited map[string]bool
	seq     uint64
	waiting map[string]chan struct{}
}

// NewGate returns a gate whose buckets are full. APIs that are not named pass freely.
func NewGate(apis []pace.API, clock provider.Clock) *Gate {
	g := &Gate{clock: clock, machine: pace.New(pace.Config{APIs: apis}, clock.Now()), limited: map[string]bool{}, waiting: map[string]chan struct{}{}}
	for _, a := range apis {
		g.limited[a.Name] = true
	}
	return g
}

// Pass returns when a call of the API may go out, or with the context's error.
func (g *Gate) Pass(ctx context.Context, api string) error {
	if !g.limited[api] {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.seq++
	id, turn := strconv.FormatUint(g.seq, 10), make(chan struct{})
	g.waiting[id] = turn
	defer delete(g.waiting, id)
	g.machine.Offer(pace.Work{ID: id, Server: id, Uses: []string{api}}, g.clock.Now())
	for {
		now := g.clock.Now()
		for _, grant := range g.machine.Take(now) {
			for _, w := range grant.Works {
				close(g.waiting[w.ID])
				delete(g.waiting, w.ID)
			}
		}
		if g.waiting[id] == nil {
			return nil
		}
		pause := g.machine.Next(now).Sub(now)
		g.mu.Unlock()
		err := g.clock.Pause(ctx, pause, turn)
		g.mu.Lock()
		if err != nil && g.waiting[id] != nil {
			g.machine.Withdraw(id)
			return err
		}
	}
}

// Refused notes that the platform refused a call for want of tokens.
func (g *Gate) Refused(api string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.machine.Throttled(api, g.clock.Now())
}

// Limited reports whether an error is AWS's refusal of a call for want of tokens.
func Limited(err error) bool {
	var e *APIError
	return errors.As(err, &e) && throttles[e.Code]
}
