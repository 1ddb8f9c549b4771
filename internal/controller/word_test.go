package controller

import (
	"slices"
	"strings"
	"testing"
	"time"

	"relight/internal/core/event"
	"relight/internal/core/fleet"
)

// A person called an epoch dead that nobody could see. It is seen to work again: what
// was said proves nothing any more, and the event says so (S2).
func TestAWordIsVoidOnceItWorks(t *testing.T) {
	r := newRig(t, processStyle(), "db")
	r.until(30*time.Second, "it is launched", func() bool { return r.healthy("db") })
	st := r.status("db")
	st.Verdict, st.VerdictSince = fleet.Unknown, r.clock.Now()
	st.Evidence = append(slices.Clone(st.Evidence), fleet.Evidence{Method: fleet.Attested, Server: "db", Epoch: st.Epoch, By: "ann", At: r.clock.Now().Add(-time.Second)})
	r.mustWorld(r.live.journal.Do(t.Context(), r.clock.Now(), func(tx *Tx) error {
		tx.Put(kindStatus, "db", st)
		return nil
	}))
	r.until(10*time.Second, "it is seen to work", func() bool { return r.status("db").Verdict == fleet.Healthy })
	if slices.ContainsFunc(r.status("db").Evidence, func(e fleet.Evidence) bool { return e.Method == fleet.Attested }) {
		t.Error("the word is still a proof")
	}
	told := r.live.chronicle.Latest(ringSize, func(e event.Event) bool {
		return e.Kind == event.VerdictChanged && strings.Contains(e.Message, "as ann said, is void")
	})
	if len(told) != 1 {
		t.Errorf("told %d times that it is void", len(told))
	}
}
