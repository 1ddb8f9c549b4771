package decide_test

import (
	"testing"
	"time"

	"relight/internal/core/decide"
	"relight/internal/core/fleet"
)

// A refused launch proves that nothing was started, unless a controller died with
// an earlier call of it unanswered: that one may have had its effect (S2).
func TestRefusalAfterALostCallProvesNothing(t *testing.T) {
	now := time.Date(2031, 1, 1, 0, 0, 0, 0, time.UTC)
	launch := fleet.Step{Kind: fleet.StepLaunch, Server: "db", Epoch: 2, Rung: fleet.Relaunch, Token: "t"}
	for calls, want := range map[int]int{1: 1, 2: 0} {
		status := fleet.Status{Server: "db", Epoch: 1, Recovery: &fleet.Recovery{Rung: fleet.Relaunch, From: 1}}
		for range calls {
			status = decide.Intend(status, decide.Decision{Step: &launch}, now)
		}
		status = decide.Record(status, launch, decide.Result{State: fleet.StepFailed, Class: "refused", Error: "no lease"}, now)
		got := 0
		for _, e := range status.Evidence {
			if e.Method == fleet.NeverStarted {
				got++
			}
		}
		if got != want {
			t.Errorf("%d calls, the last refused: %d pieces of evidence, want %d", calls, got, want)
		}
	}
}
