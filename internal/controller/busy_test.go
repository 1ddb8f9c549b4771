package controller

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"relight/internal/provider"
)

// hasty is a clock that moves on each time somebody looks at it.
type hasty struct {
	mu   sync.Mutex
	now  time.Time
	step time.Duration
}

// Now implements Clock.
func (h *hasty) Now() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.now = h.now.Add(h.step)
	return h.now
}

// A controller that is busy for seconds with the many that are due at once is not
// frozen: it must not take itself for the cause of what it sees.
func TestWhoIsBusyIsNotFrozen(t *testing.T) {
	r := newRig(t, processStyle())
	const many = 400
	for n := range many {
		r.mustWorld(applyText(r.live.journal, r.clock.Now(), fmt.Sprintf("apiVersion: relight/v1alpha1\nkind: Server\nmetadata: {name: s-%03d}\nspec: {provider: sim, template: {sim: {}}}\n", n)))
	}
	clock := &hasty{now: r.clock.Now(), step: 2 * time.Millisecond}
	r.live.healer.Clock, r.live.healer.Providers = clock, map[string]provider.Provider{}
	ctx, stop := context.WithCancel(t.Context())
	scanned := 0
	loops := &Loops{
		Healer: r.live.healer, Collector: r.live.collector, State: r.live.state, Reigning: r.live.reign, Deadlines: NewDeadlines(),
		Clock: clock, Pace: Pace{Scan: 50 * time.Millisecond, Workers: 4}, Log: slog.New(slog.DiscardHandler),
		Scanned: func(due int) {
			if scanned++; scanned > 1 {
				stop()
			}
		},
	}
	if err := loops.Run(ctx); err != nil {
		t.Fatal(err)
	}
	var known Known
	r.live.collector.Seen("s-000", "", &known)
	if busy := clock.Now().Sub(r.clock.Now()); busy < 2*stallAfter {
		t.Fatalf("the loop was busy for %s only", busy)
	}
	if o := known.Observer; !o.StalledAt.IsZero() {
		t.Errorf("the observer believes that it was frozen for %s", o.Stall)
	}
}
