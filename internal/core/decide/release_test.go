package decide_test

import (
	"strings"
	"testing"
	"time"

	"relight/internal/core/decide"
	"relight/internal/core/fleet"
)

// hanging is a view in which epoch 2 of a server on EC2 runs and was refused its volume
// some time ago, which epoch 1 still has though it has ended.
func hanging(ago time.Duration) (decide.View, time.Time) {
	now := time.Date(2031, 1, 1, 0, 0, 0, 0, time.UTC)
	v := decide.View{
		Server: fleet.Server{Name: "db"},
		Traits: fleet.Traits{Provider: "aws", Rungs: []fleet.Rung{fleet.Relaunch}},
		Guards: fleet.Guards{Authority: fleet.Authority{Term: 1, Until: now.Add(time.Minute)}, Modes: []fleet.ModeSetting{{Scope: "fleet", Mode: fleet.Auto}}},
	}
	v.Server.Spec.Mode = fleet.Auto
	v.Server.Spec.Template.EC2 = &fleet.EC2Template{}
	v.Server.Spec.Ladder = fleet.Ladder{Rungs: []fleet.RungSpec{{Rung: fleet.Relaunch, Tries: 3}}, Window: fleet.Duration(time.Hour), VerifyWithin: fleet.Duration(time.Hour)}
	v.Server.Spec.Identity.Volumes = []fleet.Volume{{Name: "data", ID: "vol-1", Reach: fleet.ReachZone}}
	v.Finding = fleet.Finding{Verdict: fleet.Down, Since: now.Add(-time.Hour)}
	v.Observed = fleet.Observed{
		Server: "db", At: now, Complete: true,
		Instances: []fleet.Instance{{Server: "db", Epoch: 1, State: fleet.InstanceTerminated, At: now}, {Server: "db", Epoch: 2, State: fleet.InstanceRunning, At: now}},
		Volumes:   []fleet.VolumeState{{Volume: "data", Held: fleet.Yes, Holder: 1, Epoch: 1, At: now}},
	}
	v.Status = fleet.Status{
		Server: "db", Epoch: 2, Phase: fleet.PhaseRecovering,
		Evidence: []fleet.Evidence{{Method: fleet.Terminated, Server: "db", Epoch: 1, At: now.Add(-time.Hour)}},
		Recovery: &fleet.Recovery{ID: "r", Rung: fleet.Relaunch, From: 1, To: 2, RungBegun: now.Add(-time.Hour), ActedAt: now.Add(-time.Hour), MayLive: true},
	}
	attach := decide.Next(v, now).Step
	v.Status.Recovery.Last = &fleet.StepRecord{Step: *attach, State: fleet.StepFailed, Class: "conflict", Error: "VolumeInUse", Since: now.Add(-ago), Begun: now.Add(-time.Second), Ended: now.Add(-time.Second), Tries: 3}
	return v, now
}

// told notes that a detach was carried out some time ago.
func told(v *decide.View, source string, ago time.Duration, now time.Time) {
	v.Status.Recovery.Fences = append(v.Status.Recovery.Fences, fleet.FenceTry{Source: source, Epoch: 1, State: fleet.StepDone, Done: 1, Failed: 1, At: now.Add(-ago)})
}

// A volume that hangs at a dead epoch is detached the ordinary way, waited for, and taken
// by force only where the spec allows it and after its time.
func TestReleaseInOrder(t *testing.T) {
	const ordinary, forced = "detach of volume data", "forced detach of volume data"
	allow := func(v *decide.View) {
		v.Server.Spec.Identity.Volumes[0].ForceDetach = &fleet.ForceDetach{After: fleet.Duration(10 * time.Minute)}
	}
	for name, row := range map[string]struct {
		ago    time.Duration
		change func(*decide.View, time.Time)
		// step is what is done next, with force or not, or the words of the hold.
		step  fleet.StepKind
		force bool
		says  string
	}{
		"refused just now":             {10 * time.Second, nil, fleet.StepDetach, false, ""},
		"told, and it has time":        {30 * time.Second, func(v *decide.View, now time.Time) { told(v, ordinary, 20*time.Second, now) }, fleet.StepAttach, false, ""},
		"told in vain, not allowed":    {5 * time.Minute, func(v *decide.View, now time.Time) { told(v, ordinary, 5*time.Minute, now) }, "", false, "does not allow to take it by force"},
		"told in vain, not due":        {5 * time.Minute, func(v *decide.View, now time.Time) { allow(v); told(v, ordinary, 5*time.Minute, now) }, "", false, "it is taken by force at"},
		"told in vain, due":            {time.Hour, func(v *decide.View, now time.Time) { allow(v); told(v, ordinary, 10*time.Minute, now) }, fleet.StepDetach, true, ""},
		"never told, however long ago": {time.Hour, func(v *decide.View, _ time.Time) { allow(v) }, fleet.StepDetach, false, ""},
		"forced in vain": {time.Hour, func(v *decide.View, now time.Time) {
			allow(v)
			told(v, ordinary, time.Hour, now)
			told(v, forced, time.Minute, now)
		}, "", false, "aws ec2 detach-volume --force --volume-id vol-1"},
		"free again": {time.Hour, func(v *decide.View, now time.Time) {
			told(v, ordinary, time.Hour, now)
			v.Observed.Volumes[0].Held, v.Observed.Volumes[0].Holder = fleet.No, 0
			v.Status.Recovery.Last.Ended = now.Add(-time.Minute)
		}, fleet.StepAttach, false, ""},
		"the proof has aged": {time.Hour, func(v *decide.View, now time.Time) {
			allow(v)
			told(v, ordinary, 10*time.Minute, now)
			v.Status.Evidence[0].Method = fleet.Stopped
			v.Observed.Instances = v.Observed.Instances[1:]
		}, fleet.StepStop, false, ""},
		"a stranger has it": {10 * time.Second, func(v *decide.View, _ time.Time) { v.Observed.Volumes[0].Holder = 0 }, fleet.StepAttach, false, ""},
	} {
		v, now := hanging(row.ago)
		if row.change != nil {
			row.change(&v, now)
		}
		d := decide.Next(v, now)
		switch {
		case row.step == "":
			if d.Step != nil || d.Hold == nil || !strings.Contains(d.Reason, row.says) {
				t.Errorf("%s: %+v: %s", name, d.Step, d.Reason)
			}
		case d.Step == nil || d.Step.Kind != row.step || d.Step.Force != row.force:
			t.Errorf("%s: %+v: %s", name, d.Step, d.Reason)
		case row.step == fleet.StepDetach && (d.Step.Epoch != 1 || d.Step.Object.Volume != "data" || !d.Proof.Covers("db", 2)):
			t.Errorf("%s: %+v with %s", name, d.Step, d.Proof)
		}
	}
}

// What runs is ended before anything is taken from it, whatever a person said of it.
func TestNothingIsTakenFromWhatRuns(t *testing.T) {
	v, now := hanging(10 * time.Second)
	v.Status.Evidence[0].Method = fleet.Attested
	v.Observed.Instances[0].State = fleet.InstanceRunning
	if d := decide.Next(v, now); d.Step == nil || d.Step.Kind != fleet.StepStop || d.Step.Epoch != 1 {
		t.Errorf("%+v: %s", d.Step, d.Reason)
	}
}
