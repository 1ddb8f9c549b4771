package fence_test

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"relight/internal/core/fence"
	"relight/internal/core/fleet"
)

// TestGrade: what each proof is told to stand on, and whether that stays true.
func TestGrade(t *testing.T) {
	released := func(a fleet.Answer) fleet.Evidence {
		return fleet.Evidence{Method: fleet.Terminated, Server: "lic-01", Epoch: 3, At: now, Support: "vol-1 is available", Released: a}
	}
	for _, row := range []struct {
		server, evidence string
		more             []fleet.Evidence
		grade            fleet.GradeName
		final            bool
	}{
		{"storage data:zone", "", []fleet.Evidence{released(fleet.Yes)}, fleet.GradeFreed, true},
		{"storage data:zone", "", []fleet.Evidence{released(fleet.No)}, fleet.GradeEnded, true},
		{"storage data:zone", "", []fleet.Evidence{released(fleet.CannotTell)}, fleet.GradeEnded, true},
		{"storage data:zone", "reaped 3", nil, fleet.GradeEnded, true},
		{"storage data:zone", "stopped 3", nil, fleet.GradeHalted, false},
		{"power data:machine", "poweredOff 3 host=host-1", nil, fleet.GradeHalted, false},
		{"storage data:machine log:machine", "sealed 3 volume=data; sealed 3 volume=log", nil, fleet.GradeShutOut, true},
		{"storage data:array", "initiatorRemoved 3 volume=data", nil, fleet.GradeShutOut, true},
		{"both data:array", "initiatorRemoved 3 volume=data; stopped 3", nil, fleet.GradeBoth, false},
		{"both data:array", "initiatorRemoved 3 volume=data", []fleet.Evidence{released(fleet.Yes)}, fleet.GradeBoth, true},
		{"both data:zone", "", []fleet.Evidence{released(fleet.Yes)}, fleet.GradeFreed, true},
		{"storage data:zone", "attested 3", nil, fleet.GradeAttested, true},
		// A person's word is what the proof stands on, whatever else is known.
		{"storage data:zone", "attested 3", []fleet.Evidence{released(fleet.Yes)}, fleet.GradeAttested, true},
		// Of an epoch that never was the proof is that of the one before.
		{"storage data:zone", "neverStarted 3 host=host-1; terminated 2", nil, fleet.GradeEnded, true},
		{"storage data:zone", "neverStarted 3; neverStarted 2; neverStarted 1", nil, fleet.GradeUnstarted, true},
	} {
		t.Run(row.server+"/"+row.evidence, func(t *testing.T) {
			proof, missing := fence.Prove(server(row.server), 3, "host-1", append(evidence(t, row.evidence), row.more...), now)
			if len(missing) > 0 {
				t.Fatal(missing)
			}
			g, is := proof.Grade()
			if !is || g.Name != row.grade || g.Final != row.final || g.Means == "" || !strings.HasPrefix(g.String(), string(row.grade)+": ") {
				t.Errorf("%v %v (final %v), want %s", is, g, g.Final, row.grade)
			}
		})
	}
	first, _ := fence.Prove(server("power"), 0, "", nil, now)
	if g, is := first.Grade(); !is || g.Name != fleet.GradeUnstarted {
		t.Errorf("the first epoch: %v", g)
	}
	if g, is := (fence.Proof{}).Grade(); is {
		t.Errorf("no proof has the grade %s", g)
	}
}

// TestAGradeDemandsNothing: what goes with the evidence makes no proof and takes none
// away, whatever it says.
func TestAGradeDemandsNothing(t *testing.T) {
	methods := []fleet.Method{fleet.FirstEpoch, fleet.Reaped, fleet.Terminated, fleet.Stopped, fleet.PoweredOff, fleet.Sealed, fleet.InitiatorRemoved, fleet.Attested, "released"}
	rapid.Check(t, func(t *rapid.T) {
		s := server(rapid.SampledFrom([]string{"storage data:machine", "storage data:zone", "both data:array", "power data:machine", "storage"}).Draw(t, "server"))
		var plain, told []fleet.Evidence
		for range rapid.IntRange(0, 4).Draw(t, "n") {
			e := fleet.Evidence{Method: rapid.SampledFrom(methods).Draw(t, "method"), Server: "lic-01", Epoch: 3, Volume: "data", Host: "host-1", At: now.Add(-time.Duration(rapid.IntRange(0, 20).Draw(t, "age")) * time.Second)}
			plain = append(plain, e)
			e.Support, e.Released = "vol-1 is available", rapid.SampledFrom([]fleet.Answer{fleet.Yes, fleet.No, fleet.CannotTell}).Draw(t, "released")
			told = append(told, e)
		}
		without, _ := fence.Prove(s, 3, "host-1", plain, now)
		with, _ := fence.Prove(s, 3, "host-1", told, now)
		if without.Covers("lic-01", 4) != with.Covers("lic-01", 4) {
			t.Fatalf("%v proves %v, and with what goes with it %v", plain, without, with)
		}
	})
}
