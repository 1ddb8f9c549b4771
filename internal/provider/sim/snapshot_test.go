package sim_test

import (
	"errors"
	"testing"

	"relight/internal/core/fence"
	"relight/internal/core/fleet"
	"relight/internal/provider"
	"relight/internal/provider/sim"
	"relight/internal/world"
)

// A snapshot is refused of what may live, shuts its epoch out first, and is taken once
// however often it is asked for.
func TestSnapshotOfALUN(t *testing.T) {
	w := newWorld(false)
	s := fleet.Server{Name: "db"}
	s.Spec.Identity.Volumes = []fleet.Volume{{Name: "data", Reach: fleet.ReachArray, LUN: &fleet.LUN{Array: "san-1", Name: "db-data", Unit: 1}}}
	sim.Declare(w, s, "")
	w.Lock()
	l := w.Volume(sim.VolumeID(s, "data")).LUN()
	w.LetIn(l, 1)
	w.Unlock()
	p := sim.New(w, sim.Options{AttachFirst: true})
	call := provider.Call{Server: s, Term: 1, Step: fleet.Step{Kind: fleet.StepSnapshot, Server: "db", Epoch: 1, Object: fleet.Object{Volume: "data"}, Token: "t"}}
	_, err := p.Do(t.Context(), call)
	var refused *provider.Error
	if !errors.As(err, &refused) || refused.Class != provider.Refused || !l.LetsIn(1) {
		t.Fatalf("without a proof: %v", err)
	}
	if _, err := w.KeepLUN(l, 1); !errors.Is(err, world.ErrConflict) {
		t.Errorf("of a LUN with a map: %v", err)
	}
	call.Proof, _ = fence.Prove(s, 1, "", []fleet.Evidence{{Method: fleet.Reaped, Server: "db", Epoch: 1}}, w.Now())
	first, err := p.Do(t.Context(), call)
	if err != nil || l.LetsIn(1) || len(first.Evidence) != 1 {
		t.Fatalf("%+v, %v", first, err)
	}
	again, err := p.Do(t.Context(), call)
	if err != nil || again.Detail != first.Detail {
		t.Errorf("%+v, %v, want %q again", again, err, first.Detail)
	}
}
