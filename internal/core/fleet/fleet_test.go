package fleet_test

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"relight/internal/core/fleet"
)

func TestDuration(t *testing.T) {
	var v struct{ D fleet.Duration }
	if err := json.Unmarshal([]byte(`{"D":"1m30s"}`), &v); err != nil || v.D.Std() != 90*time.Second {
		t.Fatalf("%s, %v", v.D, err)
	}
	if text, err := json.Marshal(v); err != nil || string(text) != `{"D":"1m30s"}` {
		t.Fatalf("%s, %v", text, err)
	}
	for _, bad := range []string{"", "soon", "5", "-3s"} {
		d := fleet.Duration(time.Second)
		if err := d.UnmarshalText([]byte(bad)); err == nil || d != fleet.Duration(time.Second) {
			t.Errorf("%q is taken as %s", bad, d)
		}
	}
}

// TestZeroValuesAreCareful: what nobody set must never read as a yes.
func TestZeroValuesAreCareful(t *testing.T) {
	var (
		a fleet.Answer
		v fleet.Verdict
		s fleet.Source
	)
	if a != fleet.CannotTell || v != fleet.Unknown || v.String() != "unknown" || a.String() != "cannot tell" {
		t.Fatalf("%s %s", a, v)
	}
	if s.Independent(s) {
		t.Fatal("a source is independent of itself")
	}
	if fleet.Down.String() != "down" || fleet.Yes.String() != "yes" || fleet.No.String() != "no" {
		t.Fatal("words")
	}
}

func TestIndependenceNeedsBoth(t *testing.T) {
	beat := fleet.Source{Channel: fleet.ChannelBeat, Vantage: "controller"}
	for other, want := range map[fleet.Source]bool{
		{Channel: fleet.ChannelProbe, Vantage: "controller"}: false,
		{Channel: fleet.ChannelBeat, Vantage: "host-2"}:      false,
		{Channel: fleet.ChannelProbe, Vantage: "host-2"}:     true,
	} {
		if beat.Independent(other) != want || other.Independent(beat) != want {
			t.Errorf("%s and %s: independent %v", beat, other, !want)
		}
	}
}

func TestMethods(t *testing.T) {
	for m, final := range map[fleet.Method]bool{
		fleet.FirstEpoch: false, fleet.Stopped: false, fleet.PoweredOff: false,
		fleet.Reaped: true, fleet.Terminated: true, fleet.Sealed: true, fleet.Attested: true, fleet.NeverStarted: true,
	} {
		if m.Final() != final {
			t.Errorf("%s final: %v", m, !final)
		}
	}
}

func TestStates(t *testing.T) {
	for _, s := range []fleet.InstanceState{
		fleet.InstancePending, fleet.InstanceRunning, fleet.InstanceStopping, fleet.InstanceStopped, fleet.InstanceLost, "nonsense", "",
	} {
		if s.Gone() {
			t.Errorf("%s can change again", s)
		}
		if !s.TakesRoom(fleet.CannotTell) {
			t.Errorf("%s takes no room", s)
		}
	}
	if fleet.InstanceReaped.TakesRoom(fleet.Yes) || fleet.InstanceLost.TakesRoom(fleet.No) {
		t.Error("what has gone takes room")
	}
	if !fleet.InstanceTerminated.Gone() || !fleet.InstanceReaped.Gone() {
		t.Error("terminated and reaped are for ever")
	}
}

// TestEveryStepIsGuarded: only records go past the guards, and whatever starts or
// attaches needs a proof.
func TestEveryStepIsGuarded(t *testing.T) {
	records := []fleet.StepKind{fleet.StepClimb, fleet.StepClose, fleet.StepGiveUp, fleet.StepAdopt}
	starts := []fleet.StepKind{fleet.StepLaunch, fleet.StepAttach, fleet.StepRecover}
	for _, k := range append(append(slices.Clone(records), starts...), fleet.StepRestartApp, fleet.StepReboot, fleet.StepStop, fleet.StepSeal, fleet.StepPowerOff, fleet.StepDetach, fleet.StepSnapshot, "later") {
		if k.Destructive() == slices.Contains(records, k) || k.Record() != slices.Contains(records, k) {
			t.Errorf("%s destructive: %v", k, k.Destructive())
		}
		if k.NeedsProof() != slices.Contains(starts, k) {
			t.Errorf("%s needs a proof: %v", k, k.NeedsProof())
		}
	}
}

func TestObjects(t *testing.T) {
	for o, want := range map[fleet.Object]string{{}: "", {Volume: "data"}: "volume data", {Address: "127.0.1.1"}: "address 127.0.1.1"} {
		if o.String() != want {
			t.Errorf("%q, want %q", o, want)
		}
	}
}

func TestMaintenanceEnds(t *testing.T) {
	from := time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	m := fleet.Maintenance{From: from, Until: from.Add(time.Hour)}
	for at, want := range map[time.Duration]bool{-1: false, 0: true, time.Hour - 1: true, time.Hour: false} {
		if m.Covers(from.Add(at)) != want {
			t.Errorf("%s after its begin: %v", at, !want)
		}
	}
}

func TestChecks(t *testing.T) {
	if c := (fleet.Check{Interval: 1, Timeout: 1}); !c.IsZero() {
		t.Error("an interval alone is no check")
	}
	for _, c := range []fleet.Check{{HTTP: "/"}, {TCP: ":80"}, {Exec: []string{"true"}}, {Beat: true}} {
		if c.IsZero() {
			t.Errorf("%+v is a check", c)
		}
	}
	if r := fleet.Rungs(); !slices.Equal(r, []fleet.Rung{fleet.RestartApp, fleet.Reboot, fleet.Recover, fleet.Relaunch, fleet.Move}) {
		t.Errorf("the ladder is %v", r)
	}
}
