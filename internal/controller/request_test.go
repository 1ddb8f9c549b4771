package controller

import (
	"errors"
	"strings"
	"testing"
	"time"

	"relight/internal/api/client"
	"relight/internal/core/fleet"
)

// A rung that nobody can carry out is refused with those that there are; one that
// waits from before is dropped, so that it keeps nothing else from happening.
func TestRungThatNobodyHas(t *testing.T) {
	r := newRig(t, processStyle(), "db")
	r.until(30*time.Second, "it is launched", func() bool { return r.healthy("db") })
	b := &Backend{Journal: r.live.journal, State: r.live.state, Viewer: r.live.viewer, Clock: r.clock}
	_, err := b.Heal(t.Context(), "ann", "db", client.HealRequest{Rung: fleet.Reboot, Reason: "it hangs"})
	var p *client.Problem
	if !errors.As(err, &p) || p.Code != client.CodeRefused || !strings.Contains(p.Detail, "it has: ") {
		t.Errorf("heal with a rung that the provider lacks: %v", err)
	}
	r.mustWorld(r.live.journal.Do(t.Context(), r.clock.Now(), func(tx *Tx) error {
		tx.Put(kindRequest, "db", fleet.Request{Server: "db", Epoch: r.status("db").Epoch, Rung: fleet.Reboot, By: "ann", Reason: "it hangs"})
		return nil
	}))
	r.until(time.Second, "the request is dropped", func() bool {
		_, waits := Get[fleet.Request](r.live.state, kindRequest, "db")
		return !waits
	})
	if !r.healthy("db") {
		t.Error("something was done to it")
	}
}
