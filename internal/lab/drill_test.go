package lab_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"relight/internal/core/fleet"
)

// TestDrillsOnTheLab runs the five drills of a runbook as one command on a real virtual
// machine, with reports in all three forms.
func TestDrillsOnTheLab(t *testing.T) {
	l := up(t, "d")
	if err := l.Populate(t.Context()); err != nil {
		t.Fatal(err)
	}
	page := filepath.Join(t.TempDir(), "drills.html")
	cmd := exec.CommandContext(t.Context(), exe, "drill", "run", "--all", "--with", exe+" lab drill --name "+l.Name, "--yes", "-o", "json", "--report", page)
	cmd.Env = append(os.Environ(), "RELIGHT_CONFIG="+l.ClientConfig())
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	var report struct {
		Passed bool          `json:"passed"`
		Drills []fleet.Drill `json:"drills"`
	}
	if jsonErr := json.Unmarshal(out, &report); err != nil || jsonErr != nil || !report.Passed || len(report.Drills) != len(fleet.DrillNames()) {
		t.Fatalf("%v, %v, %s\n%s", err, jsonErr, out, said.String())
	}
	for _, d := range report.Drills {
		r := d.Result
		t.Logf("%-9s RTO %s, longest pause %s, %d acknowledged, %d lost", d.Name, r.RTO, r.Pause, r.Acked, r.Lost)
		if r.RTO <= 0 || r.Acked == 0 || r.Lost != 0 || r.TwoWriters != 0 || r.Epoch < d.Epoch {
			t.Errorf("drill %s: %+v", d.Name, r)
		}
		if moved := r.Epoch > d.Epoch; !moved && (d.Name == fleet.DrillHostLoss || d.Name == fleet.DrillFailback) {
			t.Errorf("drill %s kept epoch %d", d.Name, r.Epoch)
		}
	}
	text, err := os.ReadFile(page)
	if err != nil || !strings.Contains(string(text), "host-loss") {
		t.Errorf("the page: %v", err)
	}
	if err := l.Drill(t.Context(), []string{"break", "app-kill", "vm-9", "ha"}, nil, nil); err == nil {
		t.Error("a server that is not there was broken")
	}
}
