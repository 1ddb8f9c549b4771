package controller

import (
	"strings"
	"testing"
	"time"

	"relight/internal/core/decide"
	"relight/internal/core/event"
	"relight/internal/core/fleet"
)

// More hosts die at once than may be healed without a person: not even the first
// recovery begins (S5).
func TestStormHoldsTheFirstRecoveryToo(t *testing.T) {
	names := []string{"a", "b", "c", "d", "e", "f"}
	r := newRig(t, processStyle(), names...)
	r.mustWorld(applyText(r.live.journal, r.clock.Now(), strings.Replace(siteYAML, "mode: auto", "mode: auto\n  storm: {hosts: 1, window: 5m}", 1)))
	r.until(30*time.Second, "all are launched", func() bool { return r.healthy(names...) })
	launched := r.begun()
	r.world.Lock()
	r.mustWorld(r.world.KillHost("host-1"))
	r.mustWorld(r.world.KillHost("host-2"))
	r.world.Unlock()
	end := r.clock.Now().Add(20 * time.Second)
	r.until(time.Minute, "20s pass", func() bool { return r.clock.Now().After(end) })
	if n := r.begun() - launched; n != 0 {
		r.dump()
		t.Fatalf("%d recoveries began in a storm", n)
	}
	held := 0
	for _, n := range names {
		v := r.live.viewer.View(n, r.clock.Now())
		if d := decide.Next(v.View, r.clock.Now()); d.Hold != nil && d.Hold.Gate == decide.GateStorm && d.Hold.NeedsPerson {
			held++
		}
	}
	if held != 4 {
		t.Fatalf("%d servers are held by the storm, want the 4 of the dead hosts", held)
	}
}

// begun counts the recoveries that ever began.
func (r *rig) begun() int {
	return len(r.live.chronicle.Latest(ringSize, func(e event.Event) bool { return e.Kind == event.RecoveryBegun }))
}

// A person's word lets one storm go on, as it was seen: not the next, larger one (S5).
func TestStormGoesOnAtAWord(t *testing.T) {
	names := []string{"a", "b", "c", "d", "e", "f"}
	r := newRig(t, processStyle(), names...)
	r.mustWorld(applyText(r.live.journal, r.clock.Now(), strings.Replace(siteYAML, "mode: auto", "mode: auto\n  storm: {hosts: 1, window: 5m}", 1)))
	r.until(30*time.Second, "all are launched", func() bool { return r.healthy(names...) })
	r.world.Lock()
	r.mustWorld(r.world.KillHost("host-1"))
	r.mustWorld(r.world.KillHost("host-2"))
	r.world.Unlock()
	b := &Backend{Journal: r.live.journal, State: r.live.state, Clock: r.clock, Loops: &Loops{Deadlines: NewDeadlines(), State: r.live.state, Clock: r.clock}}
	storm := func() *fleet.StormRecord {
		v, err := b.Storm(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return v.Storm
	}
	r.until(time.Minute, "the storm is recorded", func() bool { return storm() != nil })
	if _, err := b.StormGoOn(t.Context(), "ann", "storm-of-yesterday", "seen"); err == nil {
		t.Error("a word about another storm lets this one go on")
	}
	if v := r.live.viewer.View("a", r.clock.Now()); v.Guards.Storm == nil || v.Guards.Storm.ID != storm().ID {
		t.Errorf("why does not know the storm: %+v", v.Guards.Storm)
	}
	if _, err := b.StormGoOn(t.Context(), "ann", storm().ID, "seen"); err != nil {
		t.Fatal(err)
	}
	r.until(2*time.Minute, "all are healed", func() bool { return r.healthy(names...) })
	r.until(time.Minute, "the storm is over", func() bool { return storm() == nil })
}
