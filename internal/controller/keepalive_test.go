package controller

import (
	"errors"
	"strings"
	"testing"
	"time"

	"relight/internal/core/decide"
	"relight/internal/core/fleet"
)

// Two that are decided from the same look must not both be taken away from those
// that are to be kept alive: neither in two transactions nor in one (S5).
func TestTwoAtOnceAreNotBothTaken(t *testing.T) {
	for name, together := range map[string]bool{"one after the other": false, "in one transaction": true} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, processStyle(), "a", "b", "c")
			r.mustWorld(applyText(r.live.journal, r.clock.Now(), strings.Replace(siteYAML, "mode: auto", "mode: auto\n  budget: {keepAlive: 2}", 1)))
			r.until(30*time.Second, "all are launched", func() bool { return r.healthy("a", "b", "c") })
			h, now := r.live.healer, r.clock.Now()
			begin := func(tx *Tx, v viewed) error { return takeLives(tx, v, []string{"fleet"}) }
			var views []viewed
			for _, name := range []string{"a", "b"} {
				v := r.live.viewer.View(name, now)
				v.Request = &fleet.Request{Server: name, Epoch: v.Status.Epoch, Rung: fleet.RestartApp, By: "ann", Reason: "test"}
				views = append(views, v)
			}
			if !together {
				for i, v := range views {
					d := decide.Next(v.View, now)
					if d.Begins == nil || len(d.Takes.Lives) != 1 {
						t.Fatalf("%s does not begin: %s", v.Server.Name, d.Reason)
					}
					if err := h.intend(t.Context(), v, d, now); errors.Is(err, errAgain) != (i == 1) {
						t.Fatalf("number %d: %v", i+1, err)
					}
				}
				return
			}
			err := r.live.journal.Do(t.Context(), now, func(tx *Tx) error {
				if err := begin(tx, views[0]); err != nil {
					return err
				}
				if err := begin(tx, views[1]); !errors.Is(err, errAgain) {
					t.Errorf("the second of one transaction: %v, want decide again", err)
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		})
	}
}
