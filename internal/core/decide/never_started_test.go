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

// However often the proof had to be read back in between, a launch whose answer was
// lost is remembered: a later refusal proves nothing (S1).
func TestALostLaunchIsNotForgotten(t *testing.T) {
	now := time.Date(2031, 1, 1, 0, 0, 0, 0, time.UTC)
	launch := fleet.Step{Kind: fleet.StepLaunch, Server: "db", Epoch: 2, Rung: fleet.Relaunch, Token: "t"}
	off := fleet.Step{Kind: fleet.StepPowerOff, Server: "db", Epoch: 1, Host: "host-1", Rung: fleet.Relaunch, Token: "p"}
	status := fleet.Status{Server: "db", Epoch: 1, Recovery: &fleet.Recovery{Rung: fleet.Relaunch, From: 1}}
	call := func(step fleet.Step, res decide.Result) {
		status = decide.Intend(status, decide.Decision{Step: &step}, now)
		status = decide.Record(status, step, res, now)
	}
	call(launch, decide.Result{State: fleet.StepUnknown, Error: "no reply"})
	for range 40 {
		call(off, decide.Result{State: fleet.StepFailed, Class: "retry", Error: "the device does not answer"})
	}
	call(launch, decide.Result{State: fleet.StepFailed, Class: "refused", Error: "no lease"})
	for _, e := range status.Evidence {
		if e.Method == fleet.NeverStarted {
			t.Fatal("the launch whose answer was lost is forgotten")
		}
	}
	if n := len(status.Recovery.Failed); n > 16 {
		t.Fatalf("%d failures are carried along", n)
	}
	if f := status.Recovery.Fences; len(f) != 1 || f[0].Failed != 40 {
		t.Fatalf("fences %+v", f)
	}
}
