package controller

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"relight/internal/core/decide"
	"relight/internal/core/event"
)

// A hold is told once, and again when a person comes to be needed, or the gate waits
// for something else and that is no mere flicker.
func TestAHoldIsToldAgainWhenItIsAnother(t *testing.T) {
	now := time.Date(2031, 5, 1, 12, 0, 0, 0, time.UTC)
	h := &Healer{}
	window := func(id string) *decide.Hold { return &decide.Hold{Gate: decide.GateMaintenance, Of: id} }
	for n, step := range []struct {
		after time.Duration
		hold  *decide.Hold
		told  bool
	}{
		{0, window("w1"), true},
		{time.Second, window("w1"), false},
		{2 * time.Second, window("w2"), false},
		{time.Minute, window("w2"), true},
		{time.Minute, &decide.Hold{Gate: decide.GateMaintenance, Of: "w2", NeedsPerson: true}, true},
		{time.Minute, &decide.Hold{Gate: decide.GatePlacement}, true},
		{time.Minute, &decide.Hold{Gate: decide.GatePlacement, NeedsPerson: true}, true},
		{time.Minute, &decide.Hold{Gate: decide.GatePlacement}, false},
		{time.Hour, nil, false},
		{time.Hour, &decide.Hold{Gate: decide.GatePlacement}, true},
	} {
		if told := h.holdsAnew("db", step.hold, now.Add(step.after)); told != step.told {
			t.Errorf("step %d, %+v after %s: told %v, want %v", n, step.hold, step.after, told, step.told)
		}
	}
}

// Who only watches must read in the record what would have been done.
func TestObserveSaysWhatItWouldDo(t *testing.T) {
	r := newRig(t, processStyle(), "db")
	r.until(30*time.Second, "it is launched", func() bool { return r.healthy("db") })
	r.mustWorld(applyText(r.live.journal, r.clock.Now(), strings.Replace(siteYAML, "mode: auto", "mode: observe", 1)))
	r.world.Lock()
	r.mustWorld(r.world.KillHost("host-1"))
	r.world.Unlock()
	said := ""
	r.until(30*time.Second, "it is held by the mode", func() bool {
		held := r.live.chronicle.Latest(ringSize, func(e event.Event) bool { return e.Kind == event.Held && e.Gate == decide.GateMode })
		if len(held) > 0 {
			said = held[0].Event.Message
		}
		return said != ""
	})
	if !strings.Contains(said, "otherwise: seal volume data") {
		t.Errorf("the event does not say what would be done: %s", said)
	}
}

// Closed incidents beyond those that are kept are dropped, the oldest first, also by
// a controller that has only just read them; open ones never are.
func TestOldIncidentsAreDropped(t *testing.T) {
	r := newRig(t, processStyle(), "db")
	start := r.clock.Now()
	put := func(n int, closed bool) {
		t.Helper()
		in := Incident{ID: fmt.Sprintf("INC-%05d", n), Cause: fmt.Sprint("server s", n), Opened: start}
		if closed {
			in.Closed = start.Add(time.Duration(n) * time.Second)
		}
		r.mustWorld(r.live.journal.Do(t.Context(), start, func(tx *Tx) error {
			tx.Put(kindIncident, in.ID, in)
			return nil
		}))
	}
	put(0, false)
	for n := 1; n <= keepClosed+3; n++ {
		put(n, true)
		put(n, true) // written again, it is still one
	}
	r.start()
	for n := keepClosed + 4; n <= keepClosed+6; n++ {
		put(n, true)
	}
	left := r.live.state.Names(kindIncident)
	if len(left) > keepClosed+2 || len(left) < keepClosed+1 || !slices.Contains(left, "INC-00000") || slices.Contains(left, "INC-00005") || !slices.Contains(left, "INC-00007") {
		t.Errorf("%d incidents are left, from %v", len(left), left[:3])
	}
	if in, ok := Get[Incident](r.live.state, kindIncident, "INC-00000"); !ok || !in.Closed.IsZero() {
		t.Error("the open incident was dropped")
	}
	stored, _, err := r.store.List(t.Context(), path(kindIncident, ""))
	if err != nil || len(stored) != len(left) {
		t.Errorf("the store holds %d incidents, the state %d: %v", len(stored), len(left), err)
	}
}
