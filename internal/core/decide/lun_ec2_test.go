package decide_test

import (
	"strings"
	"testing"
	"time"

	"relight/internal/core/decide"
	"relight/internal/core/fleet"
)

// cutOff is a server of EC2 behind a link that is cut, whose only volume is a LUN. Its
// instance was told to end that long ago, and nobody has seen that it did.
func cutOff(ago time.Duration, evidence ...fleet.Evidence) decide.View {
	v := refusedInZone()
	v.Traits.Arrays = true
	v.Server.Spec.Fence = fleet.FenceStorage
	v.Server.Spec.Identity.Volumes = []fleet.Volume{{Name: "data", LUN: &fleet.LUN{Array: "san-1", Name: "wiki-data", Unit: 1}, Reach: fleet.ReachArray}}
	for i := range v.Server.Spec.Template.EC2.Elsewhere.Zones {
		v.Server.Spec.Template.EC2.Elsewhere.Zones[i].Arrays = []string{"san-1"}
	}
	v.Observed.Instances = []fleet.Instance{{Server: "wiki", Epoch: 1, Host: "zone-a", State: fleet.InstanceStopping, At: noon}}
	v.Observed.Volumes = []fleet.VolumeState{{Volume: "data", Epoch: 1, Holder: 1, Held: fleet.Yes, At: noon}}
	r := v.Status.Recovery
	r.Rung, r.Lack, r.Last, r.RungBegun = fleet.Relaunch, nil, nil, noon.Add(-10*time.Minute)
	r.Fences = []fleet.FenceTry{{Source: "stop on an unknown host", Epoch: 1, At: noon.Add(-ago), State: fleet.StepDone, Done: 1, Failed: 1, Error: "it reported its effect, but that was not read back"}}
	v.Status.Evidence = evidence
	return v
}

func shutOut() fleet.Evidence {
	return fleet.Evidence{Method: fleet.InitiatorRemoved, Server: "wiki", Epoch: 1, Volume: "data", By: "array san-1", At: noon}
}

// EC2 gets the time that it takes to end an instance; then the array shuts the epoch out,
// and its word starts the next one, while the instance is not seen to have ended.
func TestArrayProvesBehindACutLink(t *testing.T) {
	if d := decide.Next(cutOff(30*time.Second), noon); d.Step != nil || !strings.Contains(d.Reason, "waits until that is seen") {
		t.Errorf("half a minute after the stop: %+v, %s", d.Step, d.Reason)
	}
	d := decide.Next(cutOff(time.Minute), noon)
	if d.Step == nil || d.Step.Kind != fleet.StepSeal || d.Step.Object.Volume != "data" || d.Step.Epoch != 1 || d.Step.Via != "" {
		t.Errorf("a minute after it: %+v, %s", d.Step, d.Reason)
	}
	d = decide.Next(cutOff(time.Minute, shutOut()), noon)
	if d.Step == nil || d.Step.Kind != fleet.StepLaunch || d.Step.Epoch != 2 || !d.Proof.Covers("wiki", 2) {
		t.Errorf("shut out: %+v, %s", d.Step, d.Reason)
	}
	v := cutOff(time.Minute, shutOut())
	v.Status.Recovery.Rung = fleet.Recover
	if d := decide.Next(v, noon); d.Step == nil || d.Step.Kind != fleet.StepClimb || !strings.Contains(d.Reason, "shut out of its volumes, and nobody saw it stopped") {
		t.Errorf("a recover of what runs on: %+v, %s", d.Step, d.Reason)
	}
}

// What the array says is no proof for more than its own LUNs, nor where the end of the
// instance is asked for as well.
func TestArrayIsNoProofForMore(t *testing.T) {
	for name, change := range map[string]func(*decide.View){
		"fence: both":  func(v *decide.View) { v.Server.Spec.Fence = fleet.FenceBoth },
		"fence: power": func(v *decide.View) { v.Server.Spec.Fence = fleet.FencePower },
		"cannot be sealed": func(v *decide.View) {
			v.Server.Spec.Identity.Volumes = append(v.Server.Spec.Identity.Volumes, fleet.Volume{Name: "log", ID: "vol-1", Reach: fleet.ReachZone})
		},
	} {
		v := cutOff(time.Minute, shutOut())
		change(&v)
		d := decide.Next(v, noon)
		if d.Step != nil && d.Step.Kind != fleet.StepStop || len(d.Missing) == 0 || !strings.Contains(d.Missing[0].Reason, name) {
			t.Errorf("%s: %+v, missing %v: %s", name, d.Step, d.Missing, d.Reason)
		}
	}
	v := cutOff(time.Minute)
	v.Traits.Arrays = false
	if d := decide.Next(v, noon); d.Step != nil && d.Step.Kind == fleet.StepSeal || !strings.Contains(d.Reason, "no seals") && d.Step == nil {
		t.Errorf("a provider without arrays: %+v, %s", d.Step, d.Reason)
	}
}

// A place that does not reach the array is never chosen: the server would run without its
// data. Nothing is lost elsewhere, so that a person may ask for it while nobody can tell
// whether the server lives.
func TestLUNsGoWhereTheirArrayIs(t *testing.T) {
	v := cutOff(time.Minute, shutOut())
	v.Status.Recovery.Rung = fleet.Move
	zones := v.Server.Spec.Template.EC2.Elsewhere.Zones
	zones[0].Arrays = []string{"san-2"}
	d := decide.Next(v, noon)
	if d.Step == nil || d.Step.Kind != fleet.StepLaunch || d.Away == nil || d.Away.Zone != "zone-c" || d.Away.Loss() != "" || len(d.Away.Copies) != 0 {
		t.Errorf("%+v, away %+v: %s", d.Step, d.Away, d.Reason)
	}
	zones[1].Arrays = nil
	if d = decide.Next(v, noon); d.Step != nil && d.Step.Kind.NeedsProof() || !strings.Contains(d.Reason, "zone-b does not reach array san-1, zone-c does not reach array san-1") {
		t.Errorf("%+v: %s", d.Step, d.Reason)
	}

	for _, lun := range []bool{true, false} {
		v := cutOff(time.Minute)
		v.Status.Recovery, v.Status.Phase = nil, fleet.PhaseRunning
		v.Finding = fleet.Finding{Verdict: fleet.Unknown, Since: noon, Reason: "its platform has no word on it"}
		v.Request = &fleet.Request{Rung: fleet.Move, By: "eve", At: noon}
		if !lun {
			v.Server.Spec.Identity.Volumes = refusedInZone().Server.Spec.Identity.Volumes
			v.Observed.Volumes = refusedInZone().Observed.Volumes
		}
		d := decide.Next(v, noon)
		if begins := d.Begins != nil && d.Begins.Rung == fleet.Move; begins != lun {
			t.Errorf("LUN %v: asked for, it begins %v: %s", lun, begins, d.Reason)
		}
	}
}
