package decide

import (
	"strings"
	"testing"
	"time"

	"relight/internal/core/fleet"
)

// The host of the new epoch hears somebody else answer for its address, and the only yes is
// of a check that went there: it may be the old one's, so nothing is healed. The old one is
// ended where it can be reached.
func TestTheYesOfAZombieHealsNothing(t *testing.T) {
	now := time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	s := fleet.Server{Name: "vm"}
	s.Spec.Fence = fleet.FenceStorage
	s.Spec.Template.VM = &fleet.VMTemplate{}
	s.Spec.Identity.Addresses = []fleet.Address{{IP: "10.0.0.7"}}
	s.Spec.Identity.Volumes = []fleet.Volume{{Name: "data", Reach: fleet.ReachArray, LUN: &fleet.LUN{Array: "san-1", Name: "l", Unit: 1}}}
	s.Spec.Health.Check = fleet.Check{HTTP: "http://10.0.0.7/health"}
	s.Spec.Ladder.VerifyWithin = fleet.Duration(time.Minute)
	launched := now.Add(-3 * time.Second)
	r := &fleet.Recovery{
		ID: "r", Rung: fleet.Relaunch, From: 3, FromHost: "host-1", To: 4, Host: "host-2", Begun: now.Add(-20 * time.Second),
		RungBegun: now.Add(-20 * time.Second), ActedAt: launched, EffectAt: launched, MayLive: true,
	}
	v := View{
		Server: s, Traits: fleet.Traits{Provider: "onprem", Places: true, Seals: true, AttachFirst: true, Rungs: []fleet.Rung{fleet.Relaunch}},
		Status: fleet.Status{
			Server: "vm", Epoch: 4, Host: "host-2", Phase: fleet.PhaseRecovering, LaunchedAt: launched, Recovery: r,
			Evidence: []fleet.Evidence{{Method: fleet.InitiatorRemoved, Server: "vm", Epoch: 3, Volume: "data", At: launched}},
		},
		Observed: fleet.Observed{
			Server: "vm", At: now, Complete: true,
			Instances: []fleet.Instance{{Server: "vm", Epoch: 4, Host: "host-2", State: fleet.InstanceRunning, Alive: fleet.Yes, At: now}},
			Volumes:   []fleet.VolumeState{{Volume: "data", Epoch: 4, Holder: 4, Held: fleet.Yes, At: now}},
			Addresses: []fleet.AddressState{{IP: "10.0.0.7", Holder: 4, Host: "host-2", Rival: "52:54:00:00:00:07", At: now}},
		},
		Finding: fleet.Finding{Verdict: fleet.Healthy, Since: now, Reason: "it runs and passes its own check", Evidence: []fleet.Signal{
			{Source: fleet.Source{Channel: fleet.ChannelApp, Vantage: "host-2"}, Question: fleet.Works, Answer: fleet.Yes, Epoch: 4, At: now},
		}},
		Hosts: []fleet.Host{{Name: "host-1", InContact: fleet.No}, {Name: "host-2", InContact: fleet.Yes, Units: 8}},
	}
	v.Guards.Authority = fleet.Authority{Term: 1, Until: now.Add(time.Hour)}
	v.Guards.Modes = []fleet.ModeSetting{{Scope: "fleet", Mode: fleet.Auto}}
	for _, st := range buildSteps(v) {
		r.Done = append(r.Done, st.Token)
	}
	if d := Next(v, now); d.Step != nil || d.Hold == nil || !d.Hold.NeedsPerson || !strings.Contains(d.Reason, "epoch 4 is not verified while somebody else answers for 10.0.0.7") {
		t.Errorf("%+v: %s", d.Step, d.Reason)
	}
	v.Observed.Instances = append(v.Observed.Instances, fleet.Instance{Server: "vm", Epoch: 3, Host: "host-1", State: fleet.InstanceRunning, Alive: fleet.Yes, At: now})
	v.Hosts[0].InContact = fleet.Yes
	if d := Next(v, now); d.Step == nil || d.Step.Kind != fleet.StepStop || d.Step.Epoch != 3 {
		t.Errorf("epoch 3 is in reach: %+v: %s", d.Step, d.Reason)
	}
	v.Observed.Instances = v.Observed.Instances[:1]
	v.Observed.Addresses[0].Rival = ""
	if d := Next(v, now); d.Step == nil || d.Step.Kind != fleet.StepClose {
		t.Errorf("nobody else answers: %+v: %s", d.Step, d.Reason)
	}
}
