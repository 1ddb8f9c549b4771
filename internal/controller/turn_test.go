package controller

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"relight/internal/core/event"
	"relight/internal/core/fleet"
	"relight/internal/core/pace"
	"relight/internal/provider"
	"relight/internal/provider/sim"
)

// paced puts one bucket before all calls of the rig's provider.
func (r *rig) paced(perSecond, burst float64) *provider.Paced {
	limits := provider.Limits{
		APIs: []pace.API{{Name: "calls", Requests: pace.Bucket{PerSecond: perSecond, Burst: burst}}},
		Uses: func(provider.Call) []string { return []string{"calls"} },
	}
	p := provider.WithPacing(sim.New(r.world, r.opts), limits, sim.Clock(r.world))
	r.live.healer.Providers = map[string]provider.Provider{"sim": provider.WithAuthority(p, r.live.reign.Allowed)}
	r.live.healer.Turns = map[string]Turner{"sim": p}
	return p
}

// prioritized declares servers of rising priority.
func (r *rig) prioritized(names ...string) {
	r.t.Helper()
	for i, n := range names {
		text := strings.Replace(serverYAML(n, fmt.Sprintf("127.0.9.%d", i+1)), "  template:", fmt.Sprintf("  priority: %d\n  template:", i), 1)
		r.mustWorld(applyText(r.live.journal, r.clock.Now(), text))
	}
}

// healed lists the servers in the order in which their recoveries were healed.
func (r *rig) healed() []string {
	var out []string
	for _, rec := range r.live.chronicle.Latest(ringSize, func(e event.Event) bool { return e.Kind == event.RecoveryHealed }) {
		out = append(out, rec.Event.Server)
	}
	return out
}

// Under a narrow quota the more important servers are back first. Those that wait
// have no intent, take nothing and lose no try, however long they wait.
func TestRecoveriesWaitForTheirTurn(t *testing.T) {
	names := []string{"a", "b", "c", "d", "e"}
	r := newRig(t, processStyle(), names...)
	r.prioritized(names...)
	r.until(time.Minute, "all are launched", func() bool { return r.healthy(names...) })
	before := len(r.healed())
	r.paced(0.1, 1)
	r.world.Lock()
	for _, n := range names {
		r.mustWorld(r.world.Kill(r.instanceOf(n)))
	}
	r.world.Unlock()
	most := 0
	r.until(10*time.Minute, "all are healed", func() bool {
		n := 0
		for _, name := range names {
			if r.status(name).Recovery != nil {
				n++
			}
		}
		most = max(most, n)
		return len(r.healed()) == before+len(names)
	})
	order := r.healed()[before:]
	slices.Reverse(order)
	if !slices.Equal(order, names) {
		r.dump()
		t.Errorf("healed in the order %v reversed", order)
	}
	for _, rec := range r.live.chronicle.Latest(ringSize, func(e event.Event) bool { return e.Kind == event.StepEnded }) {
		if rec.Event.Step.State != fleet.StepDone {
			t.Errorf("a step failed: %s", rec.Event.Message)
		}
	}
	if most > 2 {
		t.Errorf("%d recoveries were begun at once on one token in 10 s", most)
	}
	r.verifyAudit()
}

// A pass that waits for its turn holds no worker: with a single one, what is more
// important and came later is done first.
func TestWhatWaitsForItsTurnHoldsNoWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		names := []string{"low", "high"}
		r := newRig(t, processStyle(), names...)
		r.prioritized(names...)
		r.until(time.Minute, "all are launched", func() bool { return r.healthy(names...) })
		before := len(r.healed())
		p := r.paced(0.1, 1)
		loops := &Loops{
			Healer: r.live.healer, Collector: r.live.collector, State: r.live.state, Reigning: r.live.reign, Deadlines: NewDeadlines(),
			Providers: r.live.healer.Providers, Clock: r.clock, Pace: Pace{Scan: 50 * time.Millisecond, Sweep: 200 * time.Millisecond, Workers: 1},
			Log: slog.New(slog.DiscardHandler),
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- loops.Run(ctx) }()
		kill := func(name string) {
			r.world.Lock()
			defer r.world.Unlock()
			r.mustWorld(r.world.Kill(r.instanceOf(name)))
		}
		pass := func(limit time.Duration, what string, done func() bool) {
			t.Helper()
			for begun := time.Now(); !done(); {
				if time.Since(begun) > limit {
					t.Fatalf("not within %s: %s", limit, what)
				}
				<-time.After(50 * time.Millisecond)
				r.world.Lock()
				r.world.Advance(50 * time.Millisecond)
				r.world.Unlock()
			}
		}
		kill("low")
		pass(time.Minute, "low waits for its turn", func() bool { return p.Waiting() == 1 })
		kill("high")
		pass(90*time.Second, "both are healed", func() bool { return len(r.healed()) == before+2 })
		stop()
		<-ended
		if order := r.healed()[before:]; !slices.Equal(order, []string{"high", "low"}) {
			t.Errorf("healed in the order %v", order)
		}
	})
}
