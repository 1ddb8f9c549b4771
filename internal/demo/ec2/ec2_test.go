package ec2

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"testing"
)

// The demo as people run it, with the account's time passing faster and a quicker policy:
// a real controller, all faults at once, everything healed and nothing lost.
func TestDemoHeals(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the program and runs it for the better part of a minute")
	}
	exe := filepath.Join(t.TempDir(), "relight")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-tags", "lambda.norpc", "-o", exe, "relight/cmd/relight").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	var told, errs bytes.Buffer
	r, err := run(t.Context(), Options{Exe: exe, Out: &told, Err: &errs}, pace{16, "{downAfter: 5s, impairedAfter: 3s}"})
	if err != nil || !r.Healed || r.AckedLost != 0 || r.TwoWriters != 0 || r.Acked == 0 || r.Throttled == 0 {
		t.Errorf("%v: %+v\n%s\n%s", err, r, errs.String(), told.String())
	}
	t.Log(told.String())
	if len(r.Faults) != 6 {
		t.Fatalf("%d faults were played", len(r.Faults))
	}
	for _, f := range r.Faults {
		t.Logf("%s: %v after %.0f s", f.Name, f.Steps, f.Heal/1000)
		if !f.Healed || len(f.Steps) == 0 || f.After < f.Before {
			t.Errorf("%+v", f)
		}
	}
}
