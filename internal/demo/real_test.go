package demo_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// report is the public form of a demo's outcome, written down once more so that a
// field that changes its name is found.
type report struct {
	Healed bool `json:"healed"`
	Faults []struct {
		Name     string   `json:"name"`
		Healed   bool     `json:"healed"`
		Detect   *float64 `json:"detect_ms"`
		Fence    *float64 `json:"fence_ms"`
		Launch   *float64 `json:"launch_ms"`
		Attach   *float64 `json:"attach_ms"`
		Verify   *float64 `json:"verify_ms"`
		Heal     *float64 `json:"heal_ms"`
		Overhead *float64 `json:"overhead_ms"`
	} `json:"faults"`
	Acked      int  `json:"acked"`
	AckedLost  *int `json:"acked_lost"`
	TwoWriters *int `json:"two_writers"`
}

// build builds the program, with parts replaced if an overlay is given.
func build(t *testing.T, overlay string) string {
	t.Helper()
	exe := filepath.Join(t.TempDir(), "relight")
	args := []string{"build", "-o", exe}
	if overlay != "" {
		args = append(args, "-overlay", overlay)
	}
	cmd := exec.CommandContext(t.Context(), "go", append(args, "relight/cmd/relight")...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return exe
}

// play runs a demo and returns its report and exit code.
func play(t *testing.T, exe string, args ...string) (report, int, string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), exe, append([]string{"demo", "--json", "--dir", t.TempDir()}, args...)...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	var r report
	dec := json.NewDecoder(&out)
	dec.DisallowUnknownFields()
	if err := dec.Decode(&r); err != nil {
		t.Fatalf("what the demo printed is no report: %v\n%s", err, errs.String())
	}
	if r.AckedLost == nil || r.TwoWriters == nil || dec.More() {
		t.Fatalf("the report is not whole: %+v", r)
	}
	return r, cmd.ProcessState.ExitCode(), errs.String()
}

func TestDemoHeals(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the program and runs it for half a minute")
	}
	r, code, said := play(t, build(t, ""))
	if code != 0 || !r.Healed || *r.AckedLost != 0 || *r.TwoWriters != 0 || r.Acked == 0 {
		t.Errorf("exit code %d, report %+v\n%s", code, r, said)
	}
	if len(r.Faults) != 8 {
		t.Fatalf("%d faults were played", len(r.Faults))
	}
	for _, f := range r.Faults {
		if !f.Healed || f.Detect == nil || f.Fence == nil || f.Launch == nil || f.Attach == nil || f.Verify == nil || f.Heal == nil || f.Overhead == nil {
			t.Errorf("%s: healed %v, or a time is missing", f.Name, f.Healed)
		}
	}
}

// A checker that finds nothing proves nothing until it was shown to find what a
// missing fence does: the same program without proof, lock and seal must lose
// writes when a host is cut off.
func TestDemoNeedsFence(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the program once more")
	}
	binary := build(t, withoutFence(t))
	var two, lost int
	var said string
	// Two writers meet by chance: how soon one tears the other's records is theirs.
	for range 5 {
		r, code, all := play(t, binary, "--case", "5")
		if code == 0 || r.Healed {
			t.Errorf("exit code %d, healed %v: a demo without a fence is content", code, r.Healed)
		}
		t.Logf("of %d acknowledged writes %d are lost, %d moments with two writers", r.Acked, *r.AckedLost, *r.TwoWriters)
		two, lost, said = two+*r.TwoWriters, lost+*r.AckedLost, all
		if two > 0 && lost > 0 {
			return
		}
	}
	t.Errorf("two writers were at work and the checker saw %d moments of it and %d lost writes\n%s", two, lost, said)
}

// withoutFence writes an overlay in which the functions of testdata/nofence take
// the places of those of the same names. It is made from the present sources, so
// that it cannot grow stale without a word.
func withoutFence(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	replace := map[string]string{}
	list, err := filepath.Glob("testdata/nofence/*.go.txt")
	if err != nil || len(list) != 4 {
		t.Fatalf("found %v, %v", list, err)
	}
	for i, part := range list {
		source, err := filepath.Abs(filepath.Join("../..", strings.ReplaceAll(strings.TrimSuffix(filepath.Base(part), ".txt"), "_", "/")))
		if err != nil {
			t.Fatal(err)
		}
		to := filepath.Join(dir, fmt.Sprintf("%d.go", i))
		if err := os.WriteFile(to, splice(t, source, part), 0o600); err != nil {
			t.Fatal(err)
		}
		replace[source] = to
	}
	data, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// splice replaces functions of a source file by those of the same names in part.
func splice(t *testing.T, source, part string) []byte {
	t.Helper()
	text, places := functions(t, source)
	news, theirs := functions(t, part)
	names := slices.SortedFunc(maps.Keys(theirs), func(a, b string) int { return places[b].from - places[a].from })
	for _, name := range names { // from the end, so that places stay where they are
		at, ok := places[name]
		if !ok {
			t.Fatalf("%s has no function %s any more", source, name)
		}
		text = slices.Concat(text[:at.from], news[theirs[name].from:theirs[name].to], text[at.to:])
	}
	return text
}

type place struct{ from, to int }

// functions returns a file's text and where its functions are.
func functions(t *testing.T, path string) ([]byte, map[string]place) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, path, text, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]place{}
	for _, d := range file.Decls {
		if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil {
			found[f.Name.Name] = place{fset.Position(f.Pos()).Offset, fset.Position(f.End()).Offset}
		}
	}
	return text, found
}
