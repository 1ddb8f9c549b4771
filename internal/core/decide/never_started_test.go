package decide_test

import (
	"testing"
	"time"

	"relight/internal/core/decide"
	"relight/internal/core/fleet"
)

// try is a recovery of a server that takes epoch 2.
type try struct {
	status fleet.Status
	now    time.Time
}

func newTry() *try {
	now := time.Date(2031, 1, 1, 0, 0, 0, 0, time.UTC)
	return &try{now: now, status: fleet.Status{Server: "db", Epoch: 1, Host: "host-1", Recovery: &fleet.Recovery{Rung: fleet.Relaunch, From: 1, FromHost: "host-1"}}}
}

var (
	launchStep = fleet.Step{Kind: fleet.StepLaunch, Server: "db", Epoch: 2, Host: "host-2", Rung: fleet.Relaunch, Token: "t"}
	attachStep = fleet.Step{Kind: fleet.StepAttach, Server: "db", Epoch: 2, Host: "host-2", Rung: fleet.Relaunch, Token: "a", Object: fleet.Object{Volume: "data"}}
)

func (y *try) intend(step fleet.Step) {
	y.status = decide.Intend(y.status, decide.Decision{Step: &step, FromHost: "host-1"}, y.now)
}

func (y *try) call(step fleet.Step, state fleet.StepState, class string) {
	y.intend(step)
	y.status = decide.Record(y.status, step, decide.Result{State: state, Class: class, Error: "no"}, y.now)
}

// givesUp ends the try, by the next rung or for good.
func (y *try) givesUp(kind fleet.StepKind) {
	y.intend(fleet.Step{Kind: kind, Server: "db", Epoch: 2, Rung: fleet.Relaunch, Token: "c"})
}

func (y *try) hollow() bool {
	for _, e := range y.status.Evidence {
		if e.Method == fleet.NeverStarted && e.Epoch == 2 && e.Host == "host-1" {
			return true
		}
	}
	return false
}

// An epoch that is given up was never started if the journal knows that no call of
// it had an effect; one call of which it cannot tell is enough to doubt (S2).
func TestNeverStarted(t *testing.T) {
	failed, unknown, done := fleet.StepFailed, fleet.StepUnknown, fleet.StepDone
	for name, c := range map[string]struct {
		play func(y *try)
		want bool
	}{
		"a refused launch":                  {func(y *try) { y.call(launchStep, failed, "refused") }, true},
		"a host without room":               {func(y *try) { y.call(launchStep, failed, "capacity") }, true},
		"a refused attach":                  {func(y *try) { y.call(attachStep, failed, "refused") }, true},
		"a volume in other hands":           {func(y *try) { y.call(attachStep, failed, "conflict") }, true},
		"throttled until it gave up":        {func(y *try) { y.call(launchStep, failed, "retry"); y.call(launchStep, failed, "retry") }, true},
		"an answer was lost":                {func(y *try) { y.call(launchStep, unknown, "retry"); y.call(launchStep, failed, "refused") }, false},
		"an attach had its effect":          {func(y *try) { y.call(attachStep, done, ""); y.call(launchStep, failed, "refused") }, false},
		"the epoch exists":                  {func(y *try) { y.call(launchStep, failed, "conflict") }, false},
		"nobody classed the error":          {func(y *try) { y.call(launchStep, failed, "") }, false},
		"a controller died":                 {func(y *try) { y.intend(launchStep); y.call(launchStep, failed, "refused") }, false},
		"a controller died in another call": {func(y *try) { y.intend(attachStep); y.call(launchStep, failed, "refused") }, false},
		"it was never answered":             {func(y *try) { y.intend(launchStep) }, false},
	} {
		for _, end := range []fleet.StepKind{fleet.StepClimb, fleet.StepGiveUp} {
			y := newTry()
			c.play(y)
			if y.hollow() {
				t.Errorf("%s: it is said before the try is given up", name)
			}
			y.givesUp(end)
			if y.hollow() != c.want {
				t.Errorf("%s, then %s: never started %v, want %v", name, end, y.hollow(), c.want)
			}
		}
	}
}

// However often the proof had to be read back in between, a launch whose answer was
// lost is remembered: a later refusal proves nothing (S1).
func TestALostLaunchIsNotForgotten(t *testing.T) {
	y := newTry()
	off := fleet.Step{Kind: fleet.StepPowerOff, Server: "db", Epoch: 1, Host: "host-1", Rung: fleet.Relaunch, Token: "p"}
	y.call(launchStep, fleet.StepUnknown, "retry")
	for range 40 {
		y.call(off, fleet.StepFailed, "retry")
	}
	y.call(launchStep, fleet.StepFailed, "refused")
	if n := len(y.status.Recovery.Failed); n > 16 {
		t.Fatalf("%d failures are carried along", n)
	}
	if f := y.status.Recovery.Fences; len(f) != 1 || f[0].Failed != 40 {
		t.Fatalf("fences %+v", f)
	}
	if y.givesUp(fleet.StepClimb); y.hollow() {
		t.Fatal("the launch whose answer was lost is forgotten")
	}
}

// A recovery for which no source gives a proof needs a person, and goes on trying: a
// source that answers at last is enough (L1).
func TestStuckFenceNeedsAPerson(t *testing.T) {
	y := newTry()
	stop := fleet.Step{Kind: fleet.StepStop, Server: "db", Epoch: 1, Host: "host-1", Rung: fleet.Relaunch, Token: "s"}
	for n := range 6 {
		if got, want := y.status.Phase == fleet.PhaseNeedsPerson, n >= 5; got != want {
			t.Fatalf("after %d failures its phase is %q", n, y.status.Phase)
		}
		y.call(stop, fleet.StepFailed, "notFound")
	}
	if y.status.Recovery == nil {
		t.Fatal("it has given up")
	}
	e := fleet.Evidence{Method: fleet.Reaped, Server: "db", Epoch: 1}
	y.intend(stop)
	y.status = decide.Record(y.status, stop, decide.Result{State: fleet.StepDone, Evidence: []fleet.Evidence{e}}, y.now)
	if y.status.Phase != fleet.PhaseRecovering {
		t.Fatalf("with a proof its phase is %q", y.status.Phase)
	}
}
