package spec

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// testCase is one case of an archive: NAME.yaml or NAME.json, or several files
// NAME/…, with NAME.want beside them.
type testCase struct {
	name  string
	files []File
}

// cases reads an archive's cases and the remaining files.
func cases(t *testing.T, archive *txtar.Archive) ([]testCase, map[string]string) {
	t.Helper()
	var out []testCase
	rest := map[string]string{}
	for _, f := range archive.Files {
		name, _, many := strings.Cut(f.Name, "/")
		ext := filepath.Ext(f.Name)
		if !many && ext != ".yaml" && ext != ".json" {
			rest[f.Name] = string(f.Data)
			continue
		}
		if !many {
			name = strings.TrimSuffix(f.Name, ext)
		}
		if len(out) == 0 || out[len(out)-1].name != name {
			out = append(out, testCase{name: name})
		}
		last := &out[len(out)-1]
		last.files = append(last.files, File{Name: f.Name, Data: f.Data})
	}
	return out, rest
}

// golden runs every case of every archive that matches and compares with its
// want; with -update it writes them.
func golden(t *testing.T, pattern string, run func(t *testing.T, c testCase) string) {
	paths, err := filepath.Glob(pattern)
	if err != nil || len(paths) == 0 {
		t.Fatalf("no archives match %s: %v", pattern, err)
	}
	for _, path := range paths {
		archive, err := txtar.ParseFile(path)
		if err != nil {
			t.Fatal(err)
		}
		all, rest := cases(t, archive)
		fresh := &txtar.Archive{Comment: archive.Comment}
		for _, c := range all {
			t.Run(filepath.Base(path)+"/"+c.name, func(t *testing.T) {
				got := run(t, c)
				for _, f := range c.files {
					fresh.Files = append(fresh.Files, txtar.File{Name: f.Name, Data: f.Data})
				}
				fresh.Files = append(fresh.Files, txtar.File{Name: c.name + ".want", Data: []byte(got)})
				if diff := cmp.Diff(rest[c.name+".want"], got); diff != "" && !*update {
					t.Errorf("-want +got:\n%s", diff)
				}
			})
		}
		if *update {
			if err := os.WriteFile(path, txtar.Format(fresh), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestBadInputIsExplained(t *testing.T) {
	count := 0
	golden(t, "testdata/bad/*.txtar", func(t *testing.T, c testCase) string {
		count++
		docs, err := Parse(c.files...)
		beyond := ""
		if err == nil {
			if _, err = Resolve(docs, nil); err == nil {
				t.Fatal("accepted")
			}
			beyond = "beyond one document\n"
		} else if docs != nil {
			t.Error("documents were returned beside an error")
		}
		if beyond == "" && schemaAccepts(t, c) {
			beyond = "beyond the schema\n"
		}
		return beyond + strings.TrimSuffix(err.Error(), "\n") + "\n"
	})
	if count < 40 {
		t.Errorf("only %d cases", count)
	}
}

func TestGoodInputIsKeptAsWritten(t *testing.T) {
	golden(t, "testdata/good/*.txtar", func(t *testing.T, c testCase) string {
		docs, err := Parse(c.files...)
		if err != nil {
			t.Fatalf("refused:\n%v", err)
		}
		if !schemaAccepts(t, c) {
			t.Error("the schema refuses what Parse accepts")
		}
		var b strings.Builder
		for _, d := range docs {
			fmt.Fprintf(&b, "%s\n", d.Raw)
		}
		return b.String()
	})
}

func server(extra string) []byte {
	return []byte("apiVersion: relight/v1alpha1\nkind: Server\nmetadata: {name: web-1}\nspec:\n  mode: auto\n" + extra)
}

// TestUnshowableInputIsRefused holds what cannot stand in a golden file.
func TestUnshowableInputIsRefused(t *testing.T) {
	tests := map[string]struct {
		data []byte
		want string
	}{
		"NUL":             {server("  provider: s\x00im\n"), `a.yaml:6:14: the invisible character U+0000`},
		"NUL escaped":     {server("  template: {sim: {size: \"a\\0b\"}}\n"), `"a\x00b" holds a control character`},
		"invalid UTF-8":   {server("  provider: \xff\n"), `a.yaml:6:13: the byte 0xff is not valid UTF-8`},
		"UTF-16":          {[]byte("\xff\xfea\x00"), `a.yaml:1:1: the byte 0xff is not valid UTF-8`},
		"bidi":            {server("  provider: \u202esim\n"), `a.yaml:6:13: the invisible character U+202E`},
		"line separator":  {server("  provider: sim\u2028  mode: auto\n"), `a.yaml:6:16: the invisible character U+2028`},
		"lone return":     {server("  provider: sim\r  mode: auto\n"), `a.yaml:6:16: a lone carriage return`},
		"escape sequence": {server("  provider: \x1b[2J\n"), `a.yaml:6:13: the invisible character U+001B`},
		"nothing":         {nil, `a.yaml:1:1: no document found`},
		"only comments":   {[]byte("# nothing\n---\n# here\n"), `a.yaml:1:1: no document found`},
		"too large":       {bytes.Repeat([]byte("# 56789\n"), 1<<19), `a.yaml:1:1: no document found`},
		"too long":        {server("  provider: " + strings.Repeat("x", maxDocument)), `a.yaml:1:1: the document has 4194401 bytes, at most 4194304 are allowed`},
		"too many parts":  {server("  provider: [" + strings.Repeat("a,", maxParts) + "]\n"), `the document has more than 250000 parts`},
		"too deep":        {server("  provider: " + strings.Repeat("[", 100) + strings.Repeat("]", 100) + "\n"), `nested deeper than 64 levels`},
		"far too deep":    {server("  provider: " + strings.Repeat("[", 200_000)), `exceeded max depth`},
		"long JSON":       {[]byte(`{"a":"` + strings.Repeat("x", maxDocument) + `"}`), `the document has more than 4194304 bytes`},
		"deep JSON":       {[]byte(`{"apiVersion":` + strings.Repeat("[", 300_000)), `nested deeper than 64 levels`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			file := File{Name: "a.yaml", Data: test.data}
			if strings.HasSuffix(name, "JSON") {
				file.Name = "-"
			}
			_, err := Parse(file)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %.500v\nwant %s", err, test.want)
			}
		})
	}
}

func TestManyProblemsAreCutOff(t *testing.T) {
	var b bytes.Buffer
	for i := range 10_000 {
		fmt.Fprintf(&b, "  field%d: 1\n", i)
	}
	_, err := Parse(File{"a.yaml", server(b.String())})
	ps, ok := err.(Problems)
	if !ok || len(ps) != maxProblems {
		t.Fatalf("%d problems, want %d", len(ps), maxProblems)
	}
	if got := ps[len(ps)-1].Message; got != "more than 199 problems in this file" {
		t.Errorf("the last one says %q", got)
	}
}

func TestProblemsAreSortedByFileAsGiven(t *testing.T) {
	_, err := Parse(File{"z.yaml", server("  b: 1\n  a: 1\n")}, File{"a.yaml", server("  c: 1\n")})
	var places []string
	for _, p := range err.(Problems) {
		places = append(places, fmt.Sprintf("%s:%d", p.File, p.Line))
	}
	want := []string{"z.yaml:4", "z.yaml:6", "z.yaml:7", "a.yaml:3", "a.yaml:4", "a.yaml:6"}
	if places = slices.Compact(places); !slices.Equal(places, want) {
		t.Errorf("got %v\nwant %v", places, want)
	}
}

func TestLongLinesAreCutAroundTheCaret(t *testing.T) {
	_, err := Parse(File{"a.yaml", server("  template: {sim: {size: \"" + strings.Repeat("x", 300) + "\", colour: red}}\n")})
	for line := range strings.Lines(err.Error()) {
		if strings.Contains(line, "|") && len([]rune(line)) > 120 {
			t.Errorf("line of %d characters: %s", len([]rune(line)), line)
		}
	}
	if !strings.Contains(err.Error(), "colour: red") {
		t.Errorf("the excerpt does not show the field:\n%v", err)
	}
}

func TestLoadKeepsWhatANewerReleaseWrote(t *testing.T) {
	raw := `{"apiVersion":"relight/v1alpha1","kind":"Server","metadata":{"name":"web-1"},"spec":{"novel":1,"template":{"sim":{}}}}`
	d, err := Load([]byte(raw))
	if err != nil || string(d.Raw) != raw || d.String() != "Server web-1" {
		t.Fatalf("got %v, %v", d, err)
	}
	for _, bad := range []string{`{}`, `[]`, ``, strings.Replace(raw, "Server", "Ship", 1), strings.Replace(raw, "alpha1", "alpha9", 1)} {
		if _, err := Load([]byte(bad)); err == nil {
			t.Errorf("accepted %s", bad)
		}
	}
}

func TestSecretsAreNotShown(t *testing.T) {
	_, err := Parse(File{"a.yaml", []byte("apiVersion: relight/v1alpha1\nkind: Site\nmetadata: {name: host-1}\n" +
		"spec: {kind: hst, power: {plug: \"1\", command: [fence_x], options: {passwd: hunter2}}}\n")})
	if err == nil || strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), `spec.kind cannot be "hst"`) {
		t.Errorf("got\n%v", err)
	}
}
