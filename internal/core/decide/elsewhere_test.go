package decide_test

import (
	"strings"
	"testing"
	"time"

	"relight/internal/core/decide"
	"relight/internal/core/fleet"
)

// refusedInZone is a server of EC2 whose instance has ended and for which its zone has
// had no room for an hour; its newest snapshot is two hours old.
func refusedInZone() decide.View {
	v := decide.View{Traits: fleet.Traits{Provider: "aws", Rungs: []fleet.Rung{fleet.Reboot, fleet.Recover, fleet.Relaunch, fleet.Move}}}
	v.Server.Name, v.Server.Spec.Provider = "wiki", "aws"
	v.Server.Spec.Identity.Volumes = []fleet.Volume{{Name: "data", ID: "vol-1", Reach: fleet.ReachZone, FromSnapshot: &fleet.FromSnapshot{MaxLoss: fleet.Duration(3 * time.Hour)}}}
	v.Server.Spec.Template.EC2 = &fleet.EC2Template{Subnet: "subnet-a", Elsewhere: &fleet.EC2Elsewhere{
		After: fleet.Duration(30 * time.Minute), Zones: []fleet.EC2Zone{{Zone: "zone-b", Subnet: "subnet-b"}, {Zone: "zone-c", Subnet: "subnet-c"}},
	}}
	v.Server.Spec.Ladder = fleet.Ladder{Window: fleet.Duration(24 * time.Hour), VerifyWithin: fleet.Duration(time.Minute)}
	for _, r := range fleet.Rungs() {
		v.Server.Spec.Ladder.Rungs = append(v.Server.Spec.Ladder.Rungs, fleet.RungSpec{Rung: r, Tries: 3})
	}
	ended := noon.Add(-time.Hour)
	v.Finding = fleet.Finding{Verdict: fleet.Down, Since: ended, Reason: "EC2 says terminated"}
	v.Status = fleet.Status{Server: "wiki", Phase: fleet.PhaseRecovering, Epoch: 1, Verdict: fleet.Down, VerdictSince: ended, Recovery: &fleet.Recovery{
		ID: "wiki.1.1", Rung: fleet.Move, From: 1, Begun: ended, DownSince: ended, RungBegun: noon,
		Lack: &fleet.Lack{Refusals: 4, Rounds: 4, Since: ended, At: noon, Error: "InsufficientInstanceCapacity"},
		Last: &fleet.StepRecord{Step: fleet.Step{Kind: fleet.StepClimb, Rung: fleet.Move}, State: fleet.StepDone},
	}}
	v.Status.Evidence = []fleet.Evidence{{Method: fleet.Terminated, Server: "wiki", Epoch: 1, By: "EC2", At: noon}}
	v.Observed = fleet.Observed{Server: "wiki", At: noon, Complete: true, Volumes: []fleet.VolumeState{{Volume: "data", Held: fleet.No, At: noon, Snapshot: &fleet.Snapshot{ID: "snap-1", At: noon.Add(-2 * time.Hour)}}}}
	v.Guards = fleet.Guards{Modes: []fleet.ModeSetting{{Scope: "fleet", Mode: fleet.Auto}}, Authority: fleet.Authority{Until: noon.Add(time.Hour)}}
	return v
}

// A start in another zone states what is lost, in the step, the decision and the record.
func TestElsewhereStatesTheLoss(t *testing.T) {
	v := refusedInZone()
	d := decide.Next(v, noon)
	if d.Step == nil || d.Step.Kind != fleet.StepLaunch || d.Step.Host != "zone-b" || d.Away == nil || d.Away.Subnet != "subnet-b" {
		t.Fatalf("step %+v, away %+v: %s", d.Step, d.Away, d.Reason)
	}
	loss := "volume data from snapshot snap-1 of " + noon.Add(-2*time.Hour).UTC().Format("2006-01-02 15:04:05 UTC") + " (2h0m0s old); what was written after that is lost"
	if !strings.Contains(strings.ReplaceAll(d.Reason, "(2h old)", "(2h0m0s old)"), loss) {
		t.Errorf("the reason does not state the loss (%s): %s", loss, d.Reason)
	}
	s := decide.Intend(v.Status, d, noon)
	if s.Away == nil || s.Away.Zone != "zone-b" || !strings.Contains(s.Recovery.Lost, "snap-1") || d.Takes.Host != "" {
		t.Errorf("away %+v, lost %q, takes %+v", s.Away, s.Recovery.Lost, d.Takes)
	}
	// That zone has no room either: the next one is tried, and what was made is kept in mind.
	s = decide.Record(s, *d.Step, decide.Result{State: fleet.StepFailed, Class: "capacity", Error: "no room", Made: map[fleet.Object]fleet.Made{{Volume: "data"}: {ID: "vol-2"}}}, noon)
	v.Status = s
	d = decide.Next(v, noon.Add(time.Second))
	if d.Step == nil || d.Step.Kind != fleet.StepClimb || d.Step.Rung != fleet.Move {
		t.Fatalf("%+v: %s", d.Step, d.Reason)
	}
	v.Status = decide.Intend(s, d, noon.Add(time.Second))
	if v.Status.Away != nil || len(v.Status.Unused) != 1 || v.Status.Unused[0].ID != "vol-2" {
		t.Errorf("nothing was started there: away %+v, unused %+v", v.Status.Away, v.Status.Unused)
	}
	if d = decide.Next(v, noon.Add(2*time.Second)); d.Step == nil || d.Step.Host != "zone-c" {
		t.Errorf("%+v: %s", d.Step, d.Reason)
	}
}

// What the spec does not allow is not done, however long the server waits.
func TestElsewhereNeedsAllOfIt(t *testing.T) {
	for name, change := range map[string]func(*decide.View){
		"never leaves its zone":                              func(v *decide.View) { v.Server.Spec.Identity.Volumes[0].FromSnapshot = nil },
		"names no other zone":                                func(v *decide.View) { v.Server.Spec.Template.EC2.Elsewhere = nil },
		"eni-1 never leaves its zone (it has no newAddress)": func(v *decide.View) { v.Server.Spec.Identity.Interfaces = []fleet.Interface{{ID: "eni-1"}} },
		"maxLoss allows 1h": func(v *decide.View) {
			v.Server.Spec.Identity.Volumes[0].FromSnapshot.MaxLoss = fleet.Duration(time.Hour)
		},
		"no complete snapshot":         func(v *decide.View) { v.Observed.Volumes[0].Snapshot = nil },
		"must have had no room for 2h": func(v *decide.View) { v.Server.Spec.Template.EC2.Elsewhere.After = fleet.Duration(2 * time.Hour) },
		"observe":                      func(v *decide.View) { v.Guards.Modes[0].Mode = fleet.Observe },
		"end epoch 1":                  func(v *decide.View) { v.Status.Evidence = nil },
	} {
		v := refusedInZone()
		change(&v)
		if r := v.Status.Recovery; name != "end epoch 1" && name != "observe" {
			r.Rung, r.NotBefore, r.Last = fleet.Relaunch, noon.Add(time.Minute), nil // it waits for room in its own zone
		}
		d := decide.Next(v, noon)
		if d.Step != nil && d.Step.Kind.NeedsProof() {
			t.Errorf("%s: it starts: %s", name, d.Reason)
		}
		if !strings.Contains(d.Reason, name) {
			t.Errorf("%s: it says: %s", name, d.Reason)
		}
	}
}

// In mode ask a person approves the loss itself: another snapshot is another plan.
func TestElsewhereAsks(t *testing.T) {
	v := refusedInZone()
	v.Guards.Modes[0].Mode = fleet.Ask
	v.Server.Spec.Approvals = 1
	d := decide.Next(v, noon)
	if d.Hold == nil || d.Hold.Plan == "" || !strings.Contains(d.Reason, "snap-1") {
		t.Fatalf("hold %+v: %s", d.Hold, d.Reason)
	}
	v.Guards.Approvals = []fleet.Approval{{Server: "wiki", Epoch: 1, Plan: d.Hold.Plan, By: "eve", At: noon, Until: noon.Add(time.Hour)}}
	if d = decide.Next(v, noon); d.Step == nil {
		t.Errorf("approved, and it holds: %s", d.Reason)
	}
	v.Observed.Volumes[0].Snapshot.ID = "snap-0"
	if d = decide.Next(v, noon); d.Step != nil {
		t.Errorf("approved for another loss, and done: %s", d.Reason)
	}
	ahead := decide.Foresee(v, noon, 32)
	if len(ahead.Steps) == 0 || !strings.Contains(ahead.Steps[0].Why, "snap-0") {
		t.Errorf("the plan does not show the loss: %+v", ahead.Steps)
	}
}

// lostWith is a server whose zone is seen to be lost for an hour, at the begin of its
// relaunch; nothing refused it room.
func lostWith(evidence ...fleet.Evidence) decide.View {
	v := refusedInZone()
	r := v.Status.Recovery
	r.Rung, r.Lack, r.Last = fleet.Relaunch, nil, nil
	v.Status.Evidence = evidence
	v.Observed.Zone = &fleet.ZoneState{Name: "zone-a", Lost: fleet.Yes, Since: noon.Add(-time.Hour), Detail: "EC2 says unavailable"}
	return v
}

// A zone that is lost gives no proof: nothing is started elsewhere beside what may still
// run in it, however long that takes. With the proof the zone is not asked for room.
func TestLostZoneNeedsAProof(t *testing.T) {
	for name, c := range map[string]struct {
		evidence []fleet.Evidence
		age      time.Duration
		leaves   bool
	}{
		"none":                      {nil, 0, false},
		"about an older epoch":      {[]fleet.Evidence{{Method: fleet.Terminated, Server: "wiki", Epoch: 0, At: noon}}, 0, false},
		"stopped a while ago":       {[]fleet.Evidence{{Method: fleet.Stopped, Server: "wiki", Epoch: 1, At: noon.Add(-time.Minute)}}, 0, false},
		"terminated":                {[]fleet.Evidence{{Method: fleet.Terminated, Server: "wiki", Epoch: 1, At: noon}}, 0, true},
		"a person's word":           {[]fleet.Evidence{{Method: fleet.Attested, Server: "wiki", Epoch: 1, By: "eve", At: noon}}, 0, true},
		"terminated, lost a moment": {[]fleet.Evidence{{Method: fleet.Terminated, Server: "wiki", Epoch: 1, At: noon}}, 59 * time.Minute, false},
	} {
		v := lostWith(c.evidence...)
		v.Observed.Zone.Since = v.Observed.Zone.Since.Add(c.age)
		d := decide.Next(v, noon)
		leaves := d.Step != nil && d.Step.Kind == fleet.StepClimb && d.Step.Rung == fleet.Move
		if leaves != c.leaves {
			t.Errorf("%s: leaves %v: %+v %s", name, leaves, d.Step, d.Reason)
		}
		if !c.leaves && d.Step != nil && d.Step.Host == "zone-b" {
			t.Errorf("%s: it starts elsewhere: %s", name, d.Reason)
		}
		if !leaves {
			continue
		}
		v.Status = decide.Intend(v.Status, d, noon)
		if d = decide.Next(v, noon.Add(time.Second)); d.Step == nil || d.Step.Kind != fleet.StepLaunch || d.Step.Host != "zone-b" {
			t.Errorf("%s: then %+v: %s", name, d.Step, d.Reason)
		}
	}
	v := lostWith(fleet.Evidence{Method: fleet.Terminated, Server: "wiki", Epoch: 1, At: noon})
	v.Observed.Zone = nil
	if d := decide.Next(v, noon); d.Step == nil || d.Step.Kind != fleet.StepLaunch || d.Step.Host != "" {
		t.Errorf("its zone is there, and it leaves: %+v %s", d.Step, d.Reason)
	}
}

// A zone is left on a fresh refusal only: room may have come back since an old one.
func TestElsewhereAsksOnceMore(t *testing.T) {
	v := refusedInZone()
	r := v.Status.Recovery
	r.Rung, r.Last = fleet.Relaunch, nil
	d := decide.Next(v, noon)
	if d.Step == nil || d.Step.Kind != fleet.StepLaunch {
		t.Fatalf("%+v: %s", d.Step, d.Reason)
	}
	v.Status = decide.Record(decide.Intend(v.Status, d, noon), *d.Step, decide.Result{State: fleet.StepFailed, Class: "capacity", Error: "no room"}, noon)
	if d = decide.Next(v, noon.Add(time.Second)); d.Step == nil || d.Step.Rung != fleet.Move {
		t.Errorf("a fresh refusal: %+v: %s", d.Step, d.Reason)
	}
	if d = decide.Next(v, noon.Add(2*time.Minute)); d.Step == nil || d.Step.Kind != fleet.StepLaunch || d.Step.Host != "" {
		t.Errorf("an old refusal: %+v: %s", d.Step, d.Reason)
	}
}
