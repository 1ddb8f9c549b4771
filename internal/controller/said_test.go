package controller

import (
	"errors"
	"testing"
	"time"

	"relight/internal/core/decide"
	"relight/internal/core/fleet"
)

// Between a decision and its record somebody forbids it, and is told that this holds:
// the step is not begun, whether the two come in one transaction or in two (S11).
func TestWhatIsSaidMeanwhileHolds(t *testing.T) {
	put := func(kind, name string, v any) func(*rig, *Tx) error {
		return func(_ *rig, tx *Tx) error { tx.Put(kind, name, v); return nil }
	}
	again := func(kind, name string) func(*rig, *Tx) error { // as a person does who changes a document
		return func(r *rig, tx *Tx) error {
			doc, _, err := r.live.journal.document(r.t.Context(), kind, name)
			tx.Put(kind, name, doc)
			return err
		}
	}
	cases := map[string]struct {
		say   func(*rig, *Tx) error
		holds bool
	}{
		"the fleet is frozen":       {put(kindFreeze, "fleet", fleet.Freeze{By: "ann", Reason: "test"}), true},
		"a window opens":            {put(kindWindow, "w", fleet.Maintenance{ID: "w", Scope: "fleet", Owner: "ann"}), true},
		"the server is paused":      {put(kindPause, "a", fleet.Pause{Server: "a", By: "ann", Reason: "test"}), true},
		"another server is paused":  {put(kindPause, "b", fleet.Pause{Server: "b", By: "ann", Reason: "test"}), false},
		"the server's own mode":     {again(kindServer, "a"), true},
		"another server's own mode": {again(kindServer, "b"), false},
		"the mode of all":           {again(kindPolicy, "default"), true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			r, v, d := aboutToRestart(t)
			err := r.live.journal.Do(t.Context(), r.clock.Now(), func(tx *Tx) error {
				err := c.say(r, tx)
				if got := tx.saysElse("a", v.said); got != c.holds {
					t.Errorf("in the same transaction: %v, want %v", got, c.holds)
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			err = r.live.healer.intend(t.Context(), v, d, r.clock.Now())
			if errors.Is(err, errAgain) != c.holds || err != nil && !errors.Is(err, errAgain) {
				t.Errorf("to begin: %v, want it refused: %v", err, c.holds)
			}
		})
	}
}

// After a write of which nobody knows whether it happened all is read anew: it may have
// been a person's.
func TestDecidedBeforeADoubt(t *testing.T) {
	r, v, d := aboutToRestart(t)
	r.live.journal.stale = true
	if err := r.live.healer.intend(t.Context(), v, d, r.clock.Now()); !errors.Is(err, errAgain) {
		t.Errorf("to begin: %v, want it decided again", err)
	}
}

// What a change said that is taken back was not said.
func TestTakenBackIsNotSaid(t *testing.T) {
	r, v, _ := aboutToRestart(t)
	tx := newTx(r.live.state)
	mark := tx.mark()
	tx.Put(kindFreeze, "fleet", fleet.Freeze{By: "ann", Reason: "test"})
	tx.rollback(mark)
	if tx.saysElse("a", v.said) {
		t.Error("a freeze that was rolled back holds")
	}
}

// aboutToRestart returns a decision to restart server a, which a person asked for.
func aboutToRestart(t *testing.T) (*rig, viewed, decide.Decision) {
	t.Helper()
	r := newRig(t, processStyle(), "a", "b")
	r.until(30*time.Second, "all are launched", func() bool { return r.healthy("a", "b") })
	v := r.live.viewer.View("a", r.clock.Now())
	v.Request = &fleet.Request{Server: "a", Epoch: v.Status.Epoch, Rung: fleet.RestartApp, By: "ann", Reason: "test"}
	d := decide.Next(v.View, r.clock.Now())
	if d.Begins == nil {
		t.Fatalf("nothing begins: %s", d.Reason)
	}
	return r, v, d
}
