package decide_test

import (
	"testing"
	"time"

	"relight/internal/core/decide"
	"relight/internal/core/fleet"
)

// A person has stated that epoch 2 is dead, and it lives after all and keeps what
// epoch 3 is to be given: it is stopped within the recovery, which goes on after it.
func TestWhoKeepsTheIdentityIsStopped(t *testing.T) {
	now := time.Date(2031, 1, 1, 0, 0, 0, 0, time.UTC)
	attach := fleet.Step{Kind: fleet.StepAttach, Server: "db", Epoch: 3, Host: "host-2", Rung: fleet.Relaunch, Token: "a", Object: fleet.Object{Volume: "data"}}
	v := decide.View{
		Server: fleet.Server{Name: "db", Spec: fleet.ServerSpec{Rules: fleet.Rules{Mode: fleet.Auto}}},
		Status: fleet.Status{Server: "db", Epoch: 3, Host: "host-2", Phase: fleet.PhaseRecovering, Evidence: []fleet.Evidence{{Method: fleet.Attested, Server: "db", Epoch: 2, By: "bob", At: now}}, Recovery: &fleet.Recovery{
			ID: "r", Rung: fleet.Relaunch, From: 2, FromHost: "host-1", To: 3, Host: "host-2", ActedAt: now,
			Last: &fleet.StepRecord{Step: attach, State: fleet.StepFailed, Class: "conflict", Tries: 4, Begun: now, Ended: now},
		}},
		Finding:  fleet.Finding{Verdict: fleet.Down, Since: now.Add(-time.Minute)},
		Traits:   fleet.Traits{Provider: "sim", Rungs: []fleet.Rung{fleet.Relaunch}, AttachFirst: true, Places: true, Seals: true},
		Guards:   fleet.Guards{Authority: fleet.Authority{Term: 1, Until: now.Add(time.Minute)}, Modes: []fleet.ModeSetting{{Scope: "fleet", Mode: fleet.Auto}}},
		Observed: fleet.Observed{Server: "db", At: now, Complete: true},
		Hosts:    []fleet.Host{{Name: "host-1", InContact: fleet.Yes, Units: 8}, {Name: "host-2", InContact: fleet.Yes, Units: 8}},
	}
	if d := decide.Next(v, now); d.Step != nil && d.Step.Kind == fleet.StepStop {
		t.Fatalf("nobody is in the way, and %s", d.Reason)
	}
	v.Observed.Instances = []fleet.Instance{{Server: "db", Epoch: 2, Host: "host-1", State: fleet.InstancePending, At: now}}
	d := decide.Next(v, now)
	if d.Step == nil || d.Step.Kind != fleet.StepStop || d.Step.Epoch != 2 || d.Step.Host != "host-1" {
		t.Fatalf("epoch 2 keeps the volume, and the next step is %+v: %s", d.Step, d.Reason)
	}
	s := decide.Intend(v.Status, d, now)
	if s.Recovery.Last.Step.Token != "a" || len(s.Leftovers) != 1 {
		t.Errorf("the stop is taken for a step of the rung: %+v", s.Recovery.Last)
	}
	s = decide.Record(s, *d.Step, decide.Result{State: fleet.StepDone}, now)
	if s.Leftovers[0].State != fleet.StepDone || s.Recovery.Last.State != fleet.StepFailed {
		t.Errorf("its end is noted as %q, that of the attach as %q", s.Leftovers[0].State, s.Recovery.Last.State)
	}
	v.Status = s
	if d := decide.Next(v, now.Add(time.Second)); d.Step != nil && d.Step.Kind == fleet.StepStop {
		t.Errorf("it is stopped again at once: %s", d.Reason)
	}
	v.Guards.Freeze = &fleet.Freeze{By: "ann"}
	v.Status.Leftovers = nil
	if d := decide.Next(v, now); d.Step != nil {
		t.Errorf("the fleet is frozen, and %s", d.Reason)
	}
}

// Epoch 2 was shut out of its volumes and runs on, and epoch 3 finds no room on its host.
func TestWhoKeepsTheRoomIsStopped(t *testing.T) {
	now := time.Date(2031, 1, 1, 0, 0, 0, 0, time.UTC)
	attach := fleet.Step{Kind: fleet.StepAttach, Server: "db", Epoch: 3, Host: "host-1", Rung: fleet.Relaunch, Token: "a", Object: fleet.Object{Address: "10.0.0.1"}}
	v := decide.View{
		Server: fleet.Server{Name: "db", Spec: fleet.ServerSpec{Rules: fleet.Rules{Mode: fleet.Auto}}},
		Status: fleet.Status{Server: "db", Epoch: 3, Host: "host-1", Phase: fleet.PhaseRecovering, Recovery: &fleet.Recovery{
			ID: "r", Rung: fleet.Relaunch, From: 2, FromHost: "host-1", To: 3, Host: "host-1", ActedAt: now,
			Last: &fleet.StepRecord{Step: attach, State: fleet.StepFailed, Class: "capacity", Tries: 1, Begun: now, Ended: now},
		}},
		Finding:  fleet.Finding{Verdict: fleet.Down, Since: now.Add(-time.Minute)},
		Traits:   fleet.Traits{Provider: "sim", Rungs: []fleet.Rung{fleet.Relaunch}, AttachFirst: true, Places: true, Seals: true},
		Guards:   fleet.Guards{Authority: fleet.Authority{Term: 1, Until: now.Add(time.Minute)}, Modes: []fleet.ModeSetting{{Scope: "fleet", Mode: fleet.Auto}}},
		Observed: fleet.Observed{Server: "db", At: now, Complete: true},
		Hosts:    []fleet.Host{{Name: "host-1", InContact: fleet.Yes, Units: 8}, {Name: "host-2", InContact: fleet.Yes, Units: 8}},
	}
	for host, stops := range map[string]bool{"host-1": true, "host-2": false} {
		v.Observed.Instances = []fleet.Instance{{Server: "db", Epoch: 2, Host: host, State: fleet.InstanceRunning, At: now}}
		d := decide.Next(v, now)
		stopped := d.Step != nil && d.Step.Kind == fleet.StepStop && d.Step.Epoch == 2 && d.Step.Host == host && d.Step.Rung == ""
		if stopped != stops {
			t.Errorf("epoch 2 runs on %s, and the next step is %+v: %s", host, d.Step, d.Reason)
		}
	}
}
