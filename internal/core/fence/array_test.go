package fence

import (
	"strings"
	"testing"
	"time"

	"relight/internal/core/fleet"
)

// mixed has a directory and a LUN.
func mixed() fleet.Server {
	s := fleet.Server{Name: "a"}
	s.Spec.Fence = fleet.FenceStorage
	s.Spec.Identity.Volumes = []fleet.Volume{
		{Name: "dir", Path: "/srv/a", Reach: fleet.ReachMachine},
		{Name: "lun", LUN: &fleet.LUN{Array: "san-1", Name: "a-lun", Unit: 1}, Reach: fleet.ReachArray},
	}
	return s
}

func about3(method fleet.Method, volume string) fleet.Evidence {
	return fleet.Evidence{Method: method, Server: "a", Epoch: 3, Volume: volume, At: time.Unix(0, 0)}
}

// Each volume is proved by its own kind: a LUN has no epoch file that an agent could
// have raised, a directory no initiator that an array could have removed.
func TestEachVolumeByItsOwnKind(t *testing.T) {
	sealed, removed := fleet.Sealed, fleet.InitiatorRemoved
	for name, c := range map[string]struct {
		list    []fleet.Evidence
		missing string
	}{
		"both":             {[]fleet.Evidence{about3(sealed, "dir"), about3(removed, "lun")}, ""},
		"only the seal":    {[]fleet.Evidence{about3(sealed, "dir")}, "array san-1 has not shut epoch 3 out of volume lun"},
		"only the array":   {[]fleet.Evidence{about3(removed, "lun")}, "volume dir is not sealed against epoch 3"},
		"a sealed LUN":     {[]fleet.Evidence{about3(sealed, "dir"), about3(sealed, "lun")}, "array san-1 has not shut epoch 3 out of volume lun"},
		"a shut directory": {[]fleet.Evidence{about3(removed, "dir"), about3(removed, "lun")}, "volume dir is not sealed against epoch 3"},
		"no volume named":  {[]fleet.Evidence{about3(sealed, "dir"), about3(removed, "")}, "array san-1 has not shut epoch 3 out of volume lun"},
	} {
		proof, missing := Prove(mixed(), 3, "host-1", c.list, time.Now())
		if c.missing == "" {
			if len(missing) > 0 || !proof.Covers("a", 4) || len(proof.Evidence()) != 2 {
				t.Errorf("%s: %v, %v", name, proof, missing)
			}
			continue
		}
		if len(missing) != 1 || missing[0].Reason != c.missing || proof.Covers("a", 4) {
			t.Errorf("%s: %v, want %q", name, missing, c.missing)
		}
	}
}

// What an array has shut out stays out: the evidence makes the proof at any age, where
// the spec does not ask for more.
func TestAnArraysWordIsFinalAndNoPowerFence(t *testing.T) {
	s := mixed()
	s.Spec.Identity.Volumes = s.Spec.Identity.Volumes[1:]
	old := []fleet.Evidence{about3(fleet.InitiatorRemoved, "lun")}
	if proof, missing := Prove(s, 3, "", old, time.Now()); len(missing) > 0 || !proof.Covers("a", 4) {
		t.Errorf("%v", missing)
	}
	s.Spec.Fence = fleet.FencePower
	if _, missing := Prove(s, 3, "", old, time.Now()); len(missing) != 1 || !strings.Contains(missing[0].Reason, "fence: power") {
		t.Errorf("%v", missing)
	}
	if got := Describe(old[0]); !strings.Contains(got, "volume lun") || !strings.Contains(got, "no session") {
		t.Errorf("%q", got)
	}
}

// TestDescribeOffline: evidence that rests on LUNs off line does not claim that no
// session is listed.
func TestDescribeOffline(t *testing.T) {
	e := fleet.Evidence{Method: fleet.InitiatorRemoved, Server: "db", Epoch: 3, Volume: "data", By: "array san-1"}
	if got := Describe(e); !strings.Contains(got, "array san-1 lists no session of it") {
		t.Error(got)
	}
	e.Offline = true
	if got := Describe(e); strings.Contains(got, "lists no session") || !strings.Contains(got, "array san-1 has taken its LUN off line with no command inside") {
		t.Error(got)
	}
}
