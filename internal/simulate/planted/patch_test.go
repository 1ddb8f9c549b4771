package main

import (
	"errors"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func patches(t *testing.T) (string, []patch) {
	t.Helper()
	root, err := findRoot()
	if err != nil {
		t.Fatal(err)
	}
	all, err := readPatches(root)
	if err != nil {
		t.Fatal(err)
	}
	return root, all
}

// Every planted bug still fits the product. Whether it is found, make planted asks.
func TestPatchesApply(t *testing.T) {
	root, all := patches(t)
	for _, p := range all {
		files, err := p.patched(root)
		if err != nil {
			t.Error(err)
		}
		for path, text := range files {
			if _, err := parser.ParseFile(token.NewFileSet(), path, text, parser.SkipObjectResolution); err != nil {
				t.Errorf("%s: %v", p.Name, err)
			}
		}
	}
}

// There are enough bugs for each promise, and nearly all are left to the simulator.
func TestEnoughArePlanted(t *testing.T) {
	_, all := patches(t)
	if len(all) < 40 {
		t.Errorf("there are %d planted bugs, at least 40 are wanted", len(all))
	}
	for _, promise := range promises() {
		if n := plantedFor(all, promise); n < 2 {
			t.Errorf("%d bugs are planted for %s, at least 2 are wanted", n, promise)
		}
	}
	tests := 0
	for _, p := range all {
		if p.Finder != bySeeds {
			tests++
		}
	}
	if tests > len(all)/6 {
		t.Errorf("%d bugs are left to tests of packages, at most %d may be", tests, len(all)/6)
	}
}

const example = `# breaks: S2 S1
# finder: test ./internal/core/fence -run Prove
# A mistake
# of a programmer.
--- a/internal/core/fence/prove.go
+++ b/internal/core/fence/prove.go
@@ -1,3 +1,3 @@
 one
-two
+TWO
 three
@@ -9 +9 @@
-nine
+NINE
`

func TestParsePatch(t *testing.T) {
	p, err := parsePatch("x", example)
	if err != nil {
		t.Fatal(err)
	}
	if p.Story != "A mistake of a programmer." || strings.Join(p.Breaks, " ") != "S2 S1" || p.Finder != "test ./internal/core/fence -run Prove" {
		t.Errorf("read %+v", p)
	}
	hunks := p.files[0].hunks
	if want := (hunk{"one\ntwo\nthree\n", "one\nTWO\nthree\n"}); len(hunks) != 2 || hunks[0] != want {
		t.Errorf("read %q", hunks)
	}
}

func TestHunk(t *testing.T) {
	h := hunk{"one\ntwo\n", "one\nTWO\n"}
	for text, want := range map[string]struct {
		after string
		err   error
	}{
		"zero\none\ntwo\nthree\n": {"zero\none\nTWO\nthree\n", nil},
		"one\ntwo\n":              {"one\nTWO\n", nil},
		"one\n2\n":                {"", errGone},
		"twenty-one\ntwo\n":       {"", errGone},
		"one\ntwo\none\ntwo\n":    {"", errAmbiguous},
	} {
		if after, err := h.apply(text); after != want.after || !errors.Is(err, want.err) {
			t.Errorf("%q: %q (%v), want %q (%v)", text, after, err, want.after, want.err)
		}
	}
}

// Lines that have moved to another file of their package are found there, and never
// in a test.
func TestLinesThatMoved(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, "internal", "core", "fence")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"a_test.go": "nine\n", "prove.go": "one\ntwo\nthree\n", "z.go": "nine\nten\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p, err := parsePatch("x", example)
	if err != nil {
		t.Fatal(err)
	}
	files, err := p.patched(root)
	if err != nil || files["internal/core/fence/prove.go"] != "one\nTWO\nthree\n" || files["internal/core/fence/z.go"] != "NINE\nten\n" || len(files) != 2 {
		t.Errorf("made %q, %v", files, err)
	}
	if err := os.Remove(filepath.Join(dir, "z.go")); err != nil {
		t.Fatal(err)
	}
	if _, err := p.patched(root); !errors.Is(err, errGone) {
		t.Errorf("without its file: %v", err)
	}
}

func TestParsePatchRefuses(t *testing.T) {
	for what, text := range map[string]string{
		"no promise":        strings.Replace(example, "S2 S1", "", 1),
		"a wrong promise":   strings.Replace(example, "S2", "S17", 1),
		"no story":          strings.Replace(example, "# A mistake\n# of a programmer.\n", "", 1),
		"an unknown finder": strings.Replace(example, "test ./", "luck ./", 1),
		"no diff":           "# breaks: S1\n# A mistake.\n",
		"the oracle":        strings.ReplaceAll(example, "core/fence", "simulate/oracle"),
		"a test":            strings.ReplaceAll(example, "prove.go", "prove_test.go"),
		"two names":         strings.Replace(example, "+++ b/internal/core/fence/prove.go", "+++ b/internal/core/fence/proof.go", 1),
		"a line outside":    strings.Replace(example, "@@ -1,3 +1,3 @@\n", "", 1),
	} {
		if _, err := parsePatch("x", text); err == nil {
			t.Errorf("%s is taken", what)
		}
	}
}

// The seed that gives a bug away must break a promise that the bug is planted for.
func TestSighting(t *testing.T) {
	s := sighting{Broken: []string{"S4", "S1"}}
	for _, c := range []struct {
		list []string
		want string
	}{{[]string{"S2", "S1"}, "S1"}, {[]string{"S4", "S1"}, "S4"}, {[]string{"L1"}, ""}} {
		if got := s.breaksOneOf(c.list); got != c.want {
			t.Errorf("%v for %v: %q, want %q", s.Broken, c.list, got, c.want)
		}
	}
}
