package controller

import (
	"slices"
	"strings"
	"testing"
	"time"

	"relight/internal/api/client"
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

// A fresh controller has not heard of a server whose stored verdict is healthy. What a person
// says of it then is void as well once it is heard.
func TestAWordBeforeTheFirstPassIsVoid(t *testing.T) {
	r := newRig(t, processStyle(), "db")
	r.until(30*time.Second, "it is launched", func() bool { return r.healthy("db") })
	r.start()
	_, err := r.backend().ConfirmFence(t.Context(), "ann", "db", client.FenceConfirmRequest{Epoch: r.status("db").Epoch, Reason: "it is gone"})
	r.mustWorld(err)
	if !attested(r.status("db")) || r.status("db").Verdict == fleet.Healthy {
		t.Fatalf("the word is recorded as %+v beside verdict %s", r.status("db").Evidence, r.status("db").Verdict)
	}
	r.until(30*time.Second, "it is seen to work", func() bool { return r.status("db").Verdict == fleet.Healthy })
	if attested(r.status("db")) {
		t.Error("the word is still a proof")
	}
	why, err := r.backend().Why(t.Context(), "db")
	if err != nil || why.Decision.Hold != nil {
		t.Errorf("it works, and is held: %s, %v", why.Decision.Reason, err)
	}
}

// One of two said that it is dead, and it was seen to work. What the other one says at the
// next failure is the first word about that.
func TestHalfAWordIsVoidOnceItWorks(t *testing.T) {
	r := newRig(t, processStyle(), "db")
	r.specs = append(r.specs, "apiVersion: relight/v1alpha1\nkind: Policy\nmetadata: {name: default}\nspec:\n  mode: auto\n  approvals: 2\n  isolatedFor: 10s\n  health: {check: {http: \"http://127.0.9.1:80/health\", interval: 100ms, timeout: 200ms}, suspectAfter: 1s, downAfter: 1s, impairedAfter: 1s, startupGrace: 5s}\n  ladder: {verifyWithin: 10s, backOff: 1s, maxBackOff: 10s, window: 1h}\n")
	r.apply()
	r.until(30*time.Second, "it is launched", func() bool { return r.healthy("db") })
	says := func(who string) client.FenceConfirmAnswer {
		t.Helper()
		answer, err := r.backend().ConfirmFence(t.Context(), who, "db", client.FenceConfirmRequest{Epoch: r.status("db").Epoch, Reason: "it is gone"})
		r.mustWorld(err)
		return answer
	}
	r.start()
	if says("ann").Complete {
		t.Fatal("one word was enough where two are demanded")
	}
	r.until(30*time.Second, "it is seen to work", func() bool { return r.status("db").Verdict == fleet.Healthy })
	r.start()
	if says("bob").Complete || attested(r.status("db")) {
		t.Error("a word that was void has made another one complete")
	}
	if !says("cid").Complete || !attested(r.status("db")) {
		t.Error("two words about one failure are not enough")
	}
}

func attested(st fleet.Status) bool {
	return slices.ContainsFunc(st.Evidence, func(e fleet.Evidence) bool { return e.Method == fleet.Attested })
}
