package decide_test

import (
	"testing"
	"time"

	"relight/internal/core/decide"
	"relight/internal/core/fleet"
)

// Where no call for any epoch had an effect there is no machine to recover: the rung
// would ask five times for what never was.
func TestRecoverNeedsAMachine(t *testing.T) {
	now := time.Date(2031, 1, 1, 0, 0, 0, 0, time.UTC)
	v := recoverable(now)
	hollow := func(e fleet.Epoch) fleet.Evidence {
		return fleet.Evidence{Method: fleet.NeverStarted, Server: "db", Epoch: e, At: now}
	}
	v.Status.Evidence = []fleet.Evidence{hollow(2)}
	if rung := begins(t, v, now); rung != fleet.Recover {
		t.Errorf("epoch 1 ran, and the rung is %q", rung)
	}
	v.Status.Evidence = []fleet.Evidence{hollow(1), hollow(2)}
	if rung := begins(t, v, now); rung != fleet.Relaunch {
		t.Errorf("nothing ever ran, and the rung is %q", rung)
	}
}

// A machine that was terminated cannot be started on other hardware: the rung would be
// lost, and with it an epoch that nothing could prove dead. What was stopped can.
func TestRecoverNeedsAMachineThatIsThere(t *testing.T) {
	now := time.Date(2031, 1, 1, 0, 0, 0, 0, time.UTC)
	v := recoverable(now)
	for state, want := range map[fleet.InstanceState]fleet.Rung{fleet.InstanceStopped: fleet.Recover, fleet.InstanceTerminated: fleet.Relaunch} {
		v.Observed = fleet.Observed{At: now, Instances: []fleet.Instance{{Server: "db", Epoch: 2, Host: "host-1", State: state, At: now}}}
		if rung := begins(t, v, now); rung != want {
			t.Errorf("its machine is %s, and the rung is %q", state, rung)
		}
	}
}

// recoverable is a server that is down, on a platform that can recover it.
func recoverable(now time.Time) decide.View {
	return decide.View{
		Server: fleet.Server{Name: "db", Spec: fleet.ServerSpec{Rules: fleet.Rules{Mode: fleet.Auto, Ladder: fleet.Ladder{
			Rungs: []fleet.RungSpec{{Rung: fleet.Recover, Tries: 3}, {Rung: fleet.Relaunch, Tries: 3}}, Window: fleet.Duration(time.Hour),
		}}}},
		Status:  fleet.Status{Server: "db", Epoch: 2, Phase: fleet.PhaseRunning},
		Finding: fleet.Finding{Verdict: fleet.Down, Since: now.Add(-time.Minute)},
		Traits:  fleet.Traits{Provider: "sim", Rungs: []fleet.Rung{fleet.Recover, fleet.Relaunch}},
		Guards:  fleet.Guards{Authority: fleet.Authority{Term: 1, Until: now.Add(time.Minute)}, Modes: []fleet.ModeSetting{{Scope: "fleet", Mode: fleet.Auto}}},
	}
}

func begins(t *testing.T, v decide.View, now time.Time) fleet.Rung {
	t.Helper()
	d := decide.Next(v, now)
	if d.Begins == nil {
		t.Fatalf("nothing begins: %s", d.Reason)
	}
	return d.Begins.Rung
}
