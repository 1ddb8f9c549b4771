package lab_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
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
	dir := t.TempDir()
	file, page := filepath.Join(dir, "drills.json"), filepath.Join(dir, "drills.html")
	cmd := exec.CommandContext(t.Context(), exe, "drill", "run", "--all", "--with", exe+" lab drill --name "+l.Name, "--yes", "--report", file, "--report", page)
	cmd.Env = append(os.Environ(), "RELIGHT_CONFIG="+l.ClientConfig())
	var said strings.Builder
	cmd.Stderr = &said
	text, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v, %s\n%s", err, text, said.String())
	}
	var report struct {
		Passed bool          `json:"passed"`
		Drills []fleet.Drill `json:"drills"`
	}
	data, err := os.ReadFile(file)
	if jsonErr := json.Unmarshal(data, &report); err != nil || jsonErr != nil || !report.Passed || len(report.Drills) != len(fleet.DrillNames()) {
		t.Fatalf("%v, %v, %s\n%s", err, jsonErr, data, text)
	}
	rows := strings.Split(strings.TrimSpace(string(text)), "\n")
	if want := len(fleet.DrillNames()) + 1; len(rows) != want {
		t.Fatalf("the text has %d lines, want %d:\n%s", len(rows), want, text)
	}
	for i, d := range report.Drills {
		r := d.Result
		if f := strings.Fields(rows[i+1]); !slices.Equal(f[:4], []string{string(d.Name), d.Server, d.Host, r.To}) || f[len(f)-1] != "passed" {
			t.Errorf("drill %s reads %q", d.Name, rows[i+1])
		}
		t.Logf("%-9s RTO %s, longest pause %s, %d acknowledged, %d lost", d.Name, r.RTO, r.Pause, r.Acked, r.Lost)
		if r.RTO <= 0 || r.Acked == 0 || r.Lost != 0 || r.TwoWriters != 0 || r.Epoch < d.Epoch {
			t.Errorf("drill %s: %+v", d.Name, r)
		}
		if moved := r.Epoch > d.Epoch; !moved && (d.Name == fleet.DrillHostLoss || d.Name == fleet.DrillFailback) {
			t.Errorf("drill %s kept epoch %d", d.Name, r.Epoch)
		}
	}
	if data, err := os.ReadFile(page); err != nil || strings.Count(string(data), `<td class="passed">`) != len(report.Drills) {
		t.Errorf("the page: %v\n%s", err, data)
	}
	if err := l.Drill(t.Context(), []string{"break", "app-kill", "vm-9", "ha"}, nil, nil); err == nil {
		t.Error("a server that is not there was broken")
	}
}
