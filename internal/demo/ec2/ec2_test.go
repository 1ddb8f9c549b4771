package ec2

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"relight/internal/demo/phases"
	"relight/internal/provider/aws/stage"
)

// fast is how much faster than the wall clock the account's time passes in the test.
const fast = 16

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
	r, err := run(t.Context(), Options{Exe: exe, Out: &told, Err: &errs}, pace{fast, "{downAfter: 5s, impairedAfter: 3s}"})
	if err != nil || !r.Healed || r.AckedLost != 0 || r.TwoWriters != 0 || r.Acked == 0 || r.Throttled == 0 {
		t.Errorf("%v: %+v\n%s\n%s", err, r, errs.String(), told.String())
	}
	t.Log(told.String())
	if len(r.Faults) != 6 {
		t.Fatalf("%d faults were played", len(r.Faults))
	}
	by := map[string]Result{}
	for _, f := range r.Faults {
		by[f.Name] = f
		t.Logf("%s: %v after %.0f s, %s to %s", f.Name, f.Steps, f.Heal/1000, f.From, f.To)
		if !f.Healed || len(f.Steps) == 0 || f.After < f.Before {
			t.Errorf("%+v", f)
		}
	}
	places(t, by)
	waterfall(t, told.String(), r)
	shape(t, r)
}

// places: what a volume and a subnet bind to a zone stays there, and only where a machine
// type is sold out is another one taken. The server of the lost zone works again there, no
// sooner than its zone does: its document allows no other place.
func places(t *testing.T, by map[string]Result) {
	t.Helper()
	for name, f := range by {
		want := f.From
		if name == "capacity-shortage" {
			want.Type = "m6i.large"
		}
		if f.To != want || f.From.Type != "m7i.large" || !strings.HasPrefix(f.From.Zone, stage.Region) {
			t.Errorf("%s: from %s to %s", name, f.From, f.To)
		}
	}
	if f := by["capacity-shortage"]; f.To.Zone != stage.Region+"b" || f.After <= f.Before {
		t.Errorf("the shortage: epoch %d → %d, %s", f.Before, f.After, f.To)
	}
	if f := by["lost-zone"]; f.To.Zone != stage.Region+"c" {
		t.Errorf("the lost zone: %s", f.To)
	}
	if f := by["lost-zone"]; f.Heal < phases.MillisOf(mendAfter/fast) {
		t.Errorf("the server of the lost zone works after %.0f ms, before its zone does", float64(f.Heal))
	}
}

// waterfall: people see of each fault how it was healed, from detection to verification,
// and where the shortage sent its server.
func waterfall(t *testing.T, told string, r Report) {
	t.Helper()
	for _, f := range r.Faults {
		_, story, is := strings.Cut(told, "\n"+f.Name+": healed after ")
		story, _, _ = strings.Cut(story, "\n\n")
		bars := regexp.MustCompile(`(?m)^  (detect|fence|attach|launch|verify) *\|[ #]{50}\| +[0-9.]+ ms$`).FindAllStringSubmatch(story, -1)
		if !is || len(bars) < 2 || bars[0][1] != "detect" || bars[len(bars)-1][1] != "verify" || !strings.Contains(story, strings.Join(f.Steps, ", ")) {
			t.Errorf("%s has %d bars:\n%s", f.Name, len(bars), story)
		}
	}
	if want := "m7i.large in " + stage.Region + "b → m6i.large in " + stage.Region + "b"; strings.Count(told, " → m") != 1 || !strings.Contains(told, want) {
		t.Errorf("nobody is told: %s", want)
	}
}

// shape: the JSON form is a public format; programs find each of its fields.
func shape(t *testing.T, r Report) {
	t.Helper()
	var out bytes.Buffer
	if err := r.WriteJSON(&out); err != nil {
		t.Fatal(err)
	}
	var form map[string]any
	if err := json.Unmarshal(out.Bytes(), &form); err != nil || strings.Count(out.String(), "\n") != 1 {
		t.Fatalf("%v: %s", err, out.String())
	}
	keys := func(of any) string {
		m, _ := of.(map[string]any)
		return strings.Join(slices.Sorted(maps.Keys(m)), " ")
	}
	if got := keys(form); got != "acked acked_lost calls faults healed throttled two_writers" {
		t.Errorf("the report has %s", got)
	}
	list, _ := form["faults"].([]any)
	for _, f := range list {
		if got := keys(f); got != "attach_ms detect_ms epoch_after epoch_before fence_ms from heal_ms healed launch_ms name server steps to verify_ms" {
			t.Errorf("a fault has %s", got)
		}
	}
	guide, err := os.ReadFile("../../../docs/guide/demo.md")
	if err != nil {
		t.Fatal(err)
	}
	_, chapter, _ := strings.Cut(string(guide), "\n## relight demo --provider aws\n")
	for _, key := range strings.Fields(keys(form) + " epoch_after epoch_before from to steps server") {
		if !strings.Contains(chapter, "`"+key+"`") {
			t.Errorf("docs/guide/demo.md does not tell of %s", key)
		}
	}
	if len(list) != len(r.Faults) {
		t.Errorf("%d faults", len(list))
	}
}

// What is asked for and cannot be done is said before anything starts.
func TestDemoRefuses(t *testing.T) {
	used := t.TempDir()
	if err := os.WriteFile(filepath.Join(used, "client.json"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for want, o := range map[string]Options{
		"there is no case 7; they are 1 to 6": {Cases: []int{1, 7}},
		"is not empty":                        {Dir: used},
	} {
		var told bytes.Buffer
		o.Exe, o.Out, o.Err = "/nonexistent", &told, &told
		if _, err := Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), want) || told.Len() > 0 {
			t.Errorf("%v, not %q\n%s", err, want, told.String())
		}
	}
	all, err := chosen(nil)
	some, err2 := chosen([]int{5, 1})
	if err != nil || err2 != nil || len(all) != 6 || len(some) != 2 || some[0].name != all[0].name || some[1].name != "capacity-shortage" {
		t.Errorf("%d and %d cases, %v, %v", len(all), len(some), err, err2)
	}
}
