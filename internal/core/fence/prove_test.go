package fence_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"relight/internal/core/fence"
	"relight/internal/core/fleet"
)

var now = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// server makes a server from "fence volume:reach volume:reach".
func server(words string) fleet.Server {
	f := strings.Fields(words)
	s := fleet.Server{Name: "lic-01", Spec: fleet.ServerSpec{Rules: fleet.Rules{Fence: fleet.FenceDemand(f[0])}}}
	for _, v := range f[1:] {
		name, reach, _ := strings.Cut(v, ":")
		s.Spec.Identity.Volumes = append(s.Spec.Identity.Volumes, fleet.Volume{Name: name, Reach: fleet.Reach(reach)})
	}
	return s
}

// evidence makes evidence from "method epoch [age] [volume=|host=|server=]", parted by ";".
func evidence(t *testing.T, text string) []fleet.Evidence {
	t.Helper()
	var out []fleet.Evidence
	for _, one := range strings.Split(text, ";") {
		f := strings.Fields(one)
		if len(f) == 0 {
			continue
		}
		e := fleet.Evidence{Method: fleet.Method(f[0]), Server: "lic-01", By: "somebody", At: now}
		if _, err := fmt.Sscan(f[1], &e.Epoch); err != nil {
			t.Fatal(err)
		}
		for _, w := range f[2:] {
			switch key, value, ok := strings.Cut(w, "="); {
			case !ok:
				age, err := time.ParseDuration(w)
				if err != nil {
					t.Fatal(err)
				}
				e.At = now.Add(-age)
			case key == "volume":
				e.Volume = value
			case key == "host":
				e.Host = value
			case key == "first":
				if _, err := fmt.Sscan(value, &e.First); err != nil {
					t.Fatal(err)
				}
			case key == "server":
				e.Server = value
			}
		}
		out = append(out, e)
	}
	return out
}

// TestProve is the table of demand × reach × evidence about epoch 3, which ran on
// host-1. An empty need means that a proof must come out.
func TestProve(t *testing.T) {
	const (
		local     = "storage data:machine"
		two       = "storage data:machine log:host"
		power     = "power data:machine"
		both      = "both data:machine log:host"
		bothNFS   = "both data:machine nfs:shared"
		bothNone  = "both"
		shared    = "storage data:shared"
		zone      = "storage data:zone"
		stateless = "storage"
	)
	rows := []struct{ server, evidence, need string }{
		{local, "", "volume data is not sealed against epoch 3"},
		{local, "reaped 3 100h", ""},
		{local, "terminated 3 100h", ""},
		{local, "attested 3 100h", ""},
		{local, "sealed 3 100h volume=data", ""},
		{local, "stopped 3 15s", ""},
		{local, "stopped 3 15001ms", "not sealed"},
		{local, "stopped 3 -15s", ""},
		{local, "stopped 3 -16s", "not sealed"},
		{local, "poweredOff 3 15s host=host-1", ""},
		{local, "poweredOff 3 16s host=host-1", "not sealed"},
		{local, "poweredOff 3 -16s host=host-1", "not sealed"},
		{local, "poweredOff 3 host=host-2", "not sealed"},
		{local, "poweredOff 3", "not sealed"},
		{local, "firstEpoch 3", "not sealed"},
		{local, "nonsense 3", "not sealed"},
		// Evidence about another epoch or server is worth nothing.
		{local, "reaped 2", "not sealed"},
		{local, "reaped 4", "not sealed"},
		{local, "sealed 2 volume=data", "not sealed"},
		{local, "attested 2", "not sealed"},
		{local, "attested 4", "not sealed"},
		{local, "stopped 4", "not sealed"},
		{local, "reaped 3 server=lic-02", "not sealed"},
		{local, "sealed 3 volume=data server=lic-02", "not sealed"},
		{local, "attested 3 server=lic-02", "not sealed"},
		{local, "reaped 2; stopped 3 1h; attested 3", ""},
		// A seal counts for its own volume, and all are needed.
		{local, "sealed 3 volume=log", "not sealed"},
		{local, "sealed 3", "not sealed"},
		{two, "sealed 3 volume=data", "volume log is not sealed against epoch 3"},
		{two, "sealed 3 volume=log", "volume data is not sealed against epoch 3"},
		{two, "sealed 3 volume=data; sealed 2 volume=log", "volume log is not sealed"},
		{two, "sealed 3 volume=data; sealed 3 volume=log", ""},
		// Where a lock can be lost while its writer lives, a seal is not enough.
		{power, "sealed 3 volume=data", "the spec demands fence: power"},
		{power, "stopped 3", ""},
		{power, "poweredOff 3 host=host-1", ""},
		{power, "poweredOff 3 1h host=host-1", "the spec demands fence: power"},
		{power, "reaped 3", ""},
		{power, "terminated 3", ""},
		{power, "attested 3", ""},
		// One source may lie, or be wrong about which host it switched off.
		{both, "", "volume data is not sealed against epoch 3"},
		{both, "poweredOff 3 host=host-1", "volume data is not sealed"},
		{both, "reaped 3", "volume data is not sealed"},
		{both, "reaped 3; sealed 3 volume=data", "volume log is not sealed"},
		{both, "sealed 3 volume=data; sealed 3 volume=log", "the spec demands fence: both"},
		{both, "sealed 3 volume=data; sealed 3 volume=log; poweredOff 3 1h host=host-1", "the spec demands fence: both"},
		{both, "sealed 3 volume=data; sealed 3 volume=log; poweredOff 3 host=host-2", "the spec demands fence: both"},
		{both, "sealed 3 volume=data; sealed 3 volume=log; poweredOff 3 host=host-1", ""},
		{both, "sealed 3 1h volume=data; sealed 3 1h volume=log; reaped 3 1h", ""},
		{both, "reaped 3; attested 3", ""},
		{bothNFS, "reaped 3", "volume data is not sealed"},
		{bothNFS, "reaped 3; sealed 3 volume=data", ""},
		{bothNone, "", "the spec demands fence: both"},
		{bothNone, "stopped 3", ""},
		{shared, "sealed 3 volume=data", "lies on a network file system"},
		{shared, "poweredOff 3 host=host-1", ""},
		{zone, "sealed 3 volume=data", "cannot be sealed"},
		{zone, "terminated 3", ""},
		{"storage data:machine nfs:shared", "sealed 3 volume=data; sealed 3 volume=nfs", "volume nfs lies on a network file system"},
		{stateless, "", "no volume that could be sealed"},
		{stateless, "sealed 3 volume=data", "no volume that could be sealed"},
		{stateless, "reaped 3", ""},
	}
	for _, row := range rows {
		t.Run(row.server+"/"+row.evidence, func(t *testing.T) {
			proof, missing := fence.Prove(server(row.server), 3, "host-1", evidence(t, row.evidence), now)
			if proof.Covers("lic-01", 4) != (row.need == "") || (len(missing) == 0) != (row.need == "") {
				t.Fatalf("proof %q, missing %v, want missing %q", proof, missing, row.need)
			}
			if row.need != "" && !strings.Contains(missing[0].Reason, row.need) {
				t.Fatalf("missing %q, want %q", missing[0].Reason, row.need)
			}
		})
	}
}

func TestPowerOffNeedsAKnownHost(t *testing.T) {
	list := []fleet.Evidence{{Method: fleet.PoweredOff, Server: "lic-01", Epoch: 3, At: now}}
	if proof, _ := fence.Prove(server("power data:machine"), 3, "", list, now); proof.Covers("lic-01", 4) {
		t.Fatal("nobody knows where it ran, and yet a power-off of nowhere proves it dead")
	}
}

func TestZeroProofCoversNothing(t *testing.T) {
	var zero fence.Proof
	for e := range fleet.Epoch(5) {
		if zero.Covers("", e) || zero.Covers("lic-01", e) {
			t.Fatalf("the zero proof covers epoch %d", e)
		}
	}
	if zero.String() != "no proof" || zero.Epoch() != 0 || len(zero.Evidence()) != 0 {
		t.Fatalf("the zero proof says %q", zero)
	}
}

func TestProofCoversTheNextEpochOfItsServer(t *testing.T) {
	proof, _ := fence.Prove(server("storage data:machine"), 3, "host-1", evidence(t, "reaped 3"), now)
	for _, c := range []struct {
		server string
		epoch  fleet.Epoch
		want   bool
	}{{"lic-01", 4, true}, {"lic-01", 5, false}, {"lic-01", 3, false}, {"lic-01", 2, false}, {"lic-02", 4, false}, {"", 4, false}} {
		if proof.Covers(c.server, c.epoch) != c.want {
			t.Errorf("covers %s epoch %d: %v", c.server, c.epoch, !c.want)
		}
	}
	first, missing := fence.Prove(server("power"), 0, "", nil, now)
	if !first.Covers("lic-01", 1) || first.Covers("lic-02", 1) || len(missing) > 0 {
		t.Errorf("first epoch: %q, missing %v", first, missing)
	}
}

func TestEvidenceOfAProofIsACopy(t *testing.T) {
	proof, _ := fence.Prove(server("storage data:machine"), 3, "host-1", evidence(t, "reaped 3"), now)
	proof.Evidence()[0].Epoch = 9
	if proof.Evidence()[0].Epoch != 3 || proof.Epoch() != 3 {
		t.Fatal("a proof can be changed from outside")
	}
}

func TestWords(t *testing.T) {
	for text, want := range map[string]string{
		"firstEpoch 3":             "no instance was ever started by somebody",
		"reaped 3":                 "all its processes were waited for by somebody",
		"terminated 3":             "terminated for ever by somebody",
		"stopped 3":                "read back as stopped by somebody",
		"poweredOff 3 host=host-1": "host host-1 read back as powered off by somebody",
		"sealed 3 volume=data":     "volume data sealed and read back by somebody",
		"attested 3":               "attested as dead by somebody",
		"nonsense 3":               "nonsense by somebody",
	} {
		if got := fence.Describe(evidence(t, text)[0]); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
	proof, _ := fence.Prove(server("storage data:machine log:machine"), 3, "host-1", evidence(t, "sealed 3 volume=data; sealed 3 volume=log"), now)
	if got := proof.String(); got != "epoch 3: volume data sealed and read back by somebody; volume log sealed and read back by somebody" {
		t.Error(got)
	}
	first, _ := fence.Prove(server("storage"), 0, "", nil, now)
	if first.String() != "first epoch: nothing to fence" {
		t.Error(first.String())
	}
}

// TestMoreEvidenceNeverProvesLess: whatever is added, and in whatever order it
// comes, a proof stays one; and what is about others never makes one.
func TestMoreEvidenceNeverProvesLess(t *testing.T) {
	methods := []fleet.Method{fleet.FirstEpoch, fleet.Reaped, fleet.Terminated, fleet.Stopped, fleet.PoweredOff, fleet.Sealed, fleet.InitiatorRemoved, fleet.Attested}
	one := rapid.Custom(func(t *rapid.T) fleet.Evidence {
		return fleet.Evidence{
			Method: rapid.SampledFrom(methods).Draw(t, "method"), Server: rapid.SampledFrom([]string{"lic-01", "lic-02"}).Draw(t, "server"),
			Epoch: fleet.Epoch(rapid.Uint64Range(0, 5).Draw(t, "epoch")), Volume: rapid.SampledFrom([]string{"data", "log"}).Draw(t, "volume"),
			Host: rapid.SampledFrom([]string{"host-1", "host-2"}).Draw(t, "host"), At: now.Add(-time.Duration(rapid.IntRange(-20, 20).Draw(t, "age")) * time.Second),
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		s := server(rapid.SampledFrom([]string{"storage data:machine", "storage data:machine log:host", "storage data:machine log:array", "power data:machine", "storage"}).Draw(t, "server"))
		list, more := rapid.SliceOfN(one, 0, 4).Draw(t, "list"), rapid.SliceOfN(one, 0, 3).Draw(t, "more")
		few, _ := fence.Prove(s, 3, "host-1", list, now)
		many, _ := fence.Prove(s, 3, "host-1", rapid.Permutation(append(append([]fleet.Evidence{}, list...), more...)).Draw(t, "all"), now)
		if few.Covers("lic-01", 4) && !many.Covers("lic-01", 4) {
			t.Fatal("more evidence proves less")
		}
		for i := range list {
			if list[i].Epoch == 3 {
				list[i].Server = "lic-02"
			}
		}
		if p, _ := fence.Prove(s, 3, "host-1", list, now); p.Covers("lic-01", 4) {
			t.Fatalf("evidence about others proves it: %s", p)
		}
	})
}

// A person's word on an epoch that never was does not hide the one that was: the
// proof tells of that one as long as it can be read back.
func TestAWordOnWhatNeverRan(t *testing.T) {
	s := server("power data:zone")
	said := "neverStarted 2 host=host-1; attested 2; "
	proof, missing := fence.Prove(s, 2, "", evidence(t, said+"stopped 1 1s"), now)
	if len(missing) > 0 || proof.Ran() != 1 {
		t.Errorf("the proof tells of epoch %d: %s, missing %v", proof.Ran(), proof, missing)
	}
	if proof, missing = fence.Prove(s, 2, "", evidence(t, said+"stopped 1 10m"), now); len(missing) > 0 {
		t.Errorf("the person's word is not enough: %s, missing %v", proof, missing)
	}
}

// Numbers that are left out prove nothing by themselves: the epoch before them must be
// proved dead as well, and the next one starts after the last of them.
func TestSkippedNumbers(t *testing.T) {
	s := server("power data:zone")
	for text, first := range map[string]bool{
		"skipped 1002 first=3 host=host-1; terminated 2": true,
		"skipped 1002 first=3 host=host-1; terminated 1": false,
		"skipped 1002 first=4 host=host-1; terminated 2": false,
		"skipped 1002 host=host-1; terminated 2":         false,
		"skipped 1002 first=3 host=host-1":               false,
	} {
		proof, missing := fence.Prove(s, 1002, "", evidence(t, text), now)
		if got := len(missing) == 0 && proof.Covers("lic-01", 1003) && proof.Ran() == 2; got != first {
			t.Errorf("%s: proves %v (%s), want %v", text, got, proof, first)
		}
	}
}
