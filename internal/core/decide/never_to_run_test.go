package decide_test

import (
	"testing"
	"time"

	"relight/internal/core/decide"
	"relight/internal/core/fleet"
)

// A recovery waits for the proof of epoch 4, which no host knows; a call that came late
// has prepared epoch 3 on a host that is in contact. That one is ended meanwhile (S8);
// one that runs is not, for it may be all that still serves.
func TestWhatWillNeverRunIsEndedMeanwhile(t *testing.T) {
	now := time.Date(2031, 1, 1, 0, 0, 0, 0, time.UTC)
	v := decide.View{
		Server: fleet.Server{Name: "db", Spec: fleet.ServerSpec{Rules: fleet.Rules{Mode: fleet.Auto, Fence: fleet.FencePower}}},
		Status: fleet.Status{Server: "db", Epoch: 4, Host: "host-2", Phase: fleet.PhaseRecovering, Recovery: &fleet.Recovery{
			ID: "r", Rung: fleet.Relaunch, From: 4, FromHost: "host-2", ActedAt: now,
		}},
		Finding:  fleet.Finding{Verdict: fleet.Down, Since: now.Add(-time.Minute)},
		Traits:   fleet.Traits{Provider: "sim", Rungs: []fleet.Rung{fleet.Relaunch}, AttachFirst: true, Places: true, Seals: true},
		Guards:   fleet.Guards{Authority: fleet.Authority{Term: 1, Until: now.Add(time.Minute)}, Modes: []fleet.ModeSetting{{Scope: "fleet", Mode: fleet.Auto}}},
		Observed: fleet.Observed{Server: "db", At: now, Complete: true},
		Hosts:    []fleet.Host{{Name: "host-1", InContact: fleet.Yes, Units: 8}, {Name: "host-2", InContact: fleet.No, Units: 8}},
	}
	waits := decide.Next(v, now)
	if waits.Hold == nil || waits.Hold.Gate != decide.GateProof {
		t.Fatalf("it should wait for a proof: %+v", waits)
	}
	with := func(state fleet.InstanceState, host string) decide.View {
		w := v
		w.Observed.Instances = []fleet.Instance{{Server: "db", Epoch: 3, Host: host, State: state, At: now}}
		return w
	}
	d := decide.Next(with(fleet.InstancePending, "host-1"), now)
	if d.Step == nil || d.Step.Kind != fleet.StepStop || d.Step.Epoch != 3 || d.Step.Host != "host-1" || d.Step.Rung != "" {
		t.Fatalf("epoch 3 is kept, and the next step is %+v: %s", d.Step, d.Reason)
	}
	if d := decide.Next(with(fleet.InstanceRunning, "host-1"), now); d.Step != nil {
		t.Errorf("epoch 3 runs, and %s", d.Reason)
	}
	if d := decide.Next(with(fleet.InstancePending, "host-2"), now); d.Step != nil {
		t.Errorf("nobody can ask host-2, and %s", d.Reason)
	}
	frozen := with(fleet.InstancePending, "host-1")
	frozen.Guards.Freeze = &fleet.Freeze{By: "ann"}
	if d := decide.Next(frozen, now); d.Step != nil || d.Hold == nil {
		t.Errorf("the fleet is frozen, and %s", d.Reason)
	}
}
