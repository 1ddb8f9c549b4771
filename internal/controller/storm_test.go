package controller

import (
	"strings"
	"testing"
	"time"

	"relight/internal/core/decide"
	"relight/internal/core/event"
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
