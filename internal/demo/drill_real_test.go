package demo_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"relight/internal/core/fleet"
	"relight/internal/dev"
)

// TestOP_DRILL runs the five drills of a runbook as one command, on real processes.
func TestOP_DRILL(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the program and runs a fleet for a quarter of a minute")
	}
	exe := build(t, "")
	f, err := dev.Start(t.Context(), dev.Options{Dir: t.TempDir(), Exe: exe})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	page := filepath.Join(t.TempDir(), "drills.html")
	cmd := exec.CommandContext(t.Context(), exe, "drill", "run", "--all", "--with", exe+" demo-drill --dir "+f.Dir, "--yes", "-o", "json", "--report", page)
	cmd.Env = append(os.Environ(), "RELIGHT_CONFIG="+f.ClientConfig())
	out, err := cmd.Output()
	var report struct {
		Passed bool          `json:"passed"`
		Drills []fleet.Drill `json:"drills"`
	}
	if jsonErr := json.Unmarshal(out, &report); err != nil || jsonErr != nil || !report.Passed || len(report.Drills) != len(fleet.DrillNames()) {
		t.Fatalf("%v, %v, %s", err, jsonErr, out)
	}
	for _, d := range report.Drills {
		if d.Result.RTO <= 0 || d.Result.Acked == 0 || d.Result.Lost != 0 || d.Result.TwoWriters != 0 || d.Result.Epoch <= d.Epoch {
			t.Errorf("drill %s: %+v", d.Name, d.Result)
		}
	}
	if _, err := os.Stat(page); err != nil {
		t.Error(err)
	}
}
