package decide_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"relight/internal/core/decide"
	"relight/internal/core/fleet"
)

// ended is a paused server on LUNs whose last epoch is reaped: what a restore needs.
func ended(t *testing.T) decide.View {
	t.Helper()
	s := newStory(func(cell) {})
	for _, line := range []string{
		"server lic-01 vm volumes=data:array,log:array", "host host-1", "host host-2", "status epoch=3 host=host-1 verified",
		`finding down 4s "two sources say no"`,
	} {
		if err := s.do(line); err != nil {
			t.Fatal(line, err)
		}
	}
	v := s.v
	v.Guards.Pauses = []fleet.Pause{{Server: "lic-01", By: "ann"}}
	v.Status.Evidence = []fleet.Evidence{{Method: fleet.Reaped, Server: "lic-01", Epoch: 3, At: noon}}
	return v
}

func TestNoRestoreWhileAnEpochMayRun(t *testing.T) {
	if proof, no := decide.NoRestore(ended(t), noon); no != nil || !proof.Covers("lic-01", 4) {
		t.Fatalf("%+v, %+v", proof, no)
	}
	for want, change := range map[string]func(*decide.View){
		"none of its volumes is a LUN": func(v *decide.View) {
			v.Server.Spec.Identity.Volumes = []fleet.Volume{{Name: "data", Path: "/srv", Reach: fleet.ReachMachine}}
		},
		"a recovery runs":     func(v *decide.View) { v.Status.Recovery = &fleet.Recovery{Rung: fleet.Relaunch} },
		"the fleet is frozen": func(v *decide.View) { v.Guards.Freeze = &fleet.Freeze{By: "bob"} },
		"it is not paused":    func(v *decide.View) { v.Guards.Pauses[0].Server = "lic-02" },
		"epoch 3 may still run": func(v *decide.View) {
			v.Status.Evidence = []fleet.Evidence{{Method: fleet.Reaped, Server: "lic-01", Epoch: 2, At: noon}}
		},
		"epoch 3 is running on host-1": func(v *decide.View) { // a person was wrong who said that it is dead
			v.Observed.Instances = []fleet.Instance{{Epoch: 3, Host: "host-1", State: fleet.InstanceRunning, At: noon}}
		},
		"epoch 2 is pending on host-2": func(v *decide.View) {
			v.Observed.Instances = []fleet.Instance{{Epoch: 2, Host: "host-2", State: fleet.InstancePending, At: noon}}
		},
		"epoch 5 was seen": func(v *decide.View) {
			v.Observed.Volumes = []fleet.VolumeState{{Volume: "data", Epoch: 5, Held: fleet.Yes, At: noon}}
		},
	} {
		v := ended(t)
		change(&v)
		_, no := decide.NoRestore(v, noon)
		if no == nil || !strings.Contains(no.Why, want) || !strings.HasPrefix(no.Next, "relight ") {
			t.Errorf("want %q: %+v", want, no)
		}
	}
}

// Two volumes are put back one after the other. From the first intent on the epoch is
// fenced, and from the first change on nothing starts until both are done, whatever is
// resumed: also after a controller that died in the middle.
func TestRestoreOfTwoVolumes(t *testing.T) {
	v := ended(t)
	v.Status.Evidence = []fleet.Evidence{{Method: fleet.PoweredOff, Server: "lic-01", Epoch: 3, Host: "host-1", At: noon}}
	all := []string{"data", "log"}
	put := func(volume string) (fleet.Status, fleet.Step) {
		proof, no := decide.NoRestore(v, noon)
		if no != nil {
			t.Fatal(no)
		}
		step := decide.RestoreStep(v, proof, volume, "relight-lic-01-e2", "ann", noon)
		return decide.Restoring(v.Status, proof, step, "ann", "upgrade", noon), step
	}
	holds := func(when string, s fleet.Status, want bool) {
		t.Helper()
		resumed := v
		resumed.Status, resumed.Guards.Pauses = s, nil
		d := decide.Next(resumed, noon)
		if got := d.Hold != nil && d.Hold.Gate == decide.GateRestore; got != want {
			t.Errorf("%s: held by the restore %t, want %t: %+v", when, got, want, d)
		}
	}
	holds("before", v.Status, false)
	if decide.Fenced(v.Status) != 2 {
		t.Fatal("switched off is not for ever")
	}
	first, step := put("data")
	if decide.Fenced(first) != 3 {
		t.Error("no array may let epoch 3 in again from the intent on")
	}
	failed := decide.Restored(first, step, decide.Result{State: fleet.StepFailed, Error: "the array is full"}, all)
	holds("after a failure that changed nothing", failed, false)
	holds("after a crash", first, true)
	holds("after no answer", decide.Restored(first, step, decide.Result{State: fleet.StepUnknown}, all), true)

	v.Status = decide.Restored(first, step, decide.Result{State: fleet.StepDone}, all)
	holds("between the two", v.Status, true)
	second, step := put("log")
	broken := decide.Restored(second, step, decide.Result{State: fleet.StepFailed, Error: "the array is full"}, all)
	holds("the second failed", broken, true)
	done := decide.Restored(second, step, decide.Result{State: fleet.StepDone}, all)
	holds("both are back", done, false)

	v.Status = broken
	again, _ := put("data")
	if again.Restore == nil || slices.Contains(again.Restore.Done, "data") || !again.Restore.Mixed {
		t.Errorf("repeated: %+v", again.Restore)
	}
}

func TestNoDropOfWhatIsPutBack(t *testing.T) {
	v := ended(t)
	v.Guards.Pauses = nil
	if no := decide.NoDrop(v, "relight-lic-01-e2"); no != nil {
		t.Errorf("%+v", no)
	}
	v.Status.Restore = &fleet.Restore{Snapshot: "relight-lic-01-e2", By: "ann"}
	if no := decide.NoDrop(v, "relight-lic-01-e2"); no == nil || !strings.Contains(no.Why, "ann has it put back") {
		t.Errorf("%+v", no)
	}
	a := decide.DropStep(v, "data", "relight-lic-01-e1", "ann", noon)
	b := decide.DropStep(v, "data", "relight-lic-01-e2", "ann", noon.Add(time.Second))
	if a.Token == b.Token || a.Token == "" {
		t.Error("two deeds share a token")
	}
}
