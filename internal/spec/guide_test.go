package spec

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const guidePath = "../../docs/guide/spec.md"

// TestGuideIsCurrent keeps the guide's reference equal to the table. Run with
// -update to write it.
func TestGuideIsCurrent(t *testing.T) {
	want := guide(t)
	if *update {
		if err := os.WriteFile(guidePath, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(guidePath)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(have)); diff != "" {
		t.Errorf("docs/guide/spec.md is stale; run go test ./internal/spec -update\n%s", diff)
	}
}

// guide writes the guide: the prose from testdata, the rest from the table.
func guide(t *testing.T) string {
	t.Helper()
	prose, err := os.ReadFile("testdata/guide.md")
	if err != nil {
		t.Fatal(err)
	}
	minimal, err := os.ReadFile("../../examples/minimal.yaml")
	if err != nil {
		t.Fatal(err)
	}
	const broken = "apiVersion: relight/v1alpha1\nkind: Server\nmetadata: {name: web-1}\nspec:\n  prioritty: 3\n  health:\n    downAfter: 5\n  template: {sim: {}}\n"
	_, faults := Parse(File{"web.yaml", []byte(broken)})
	var b strings.Builder
	for _, k := range Kinds() {
		s := shapeOf(k)
		fmt.Fprintf(&b, "## %s\n\n%s\n\n", k, s.doc)
		b.WriteString("| field | what | value | default |\n|---|---|---|---|\n")
		walk(s, "", func(path string, f field) {
			if k == KindPolicy && isRule(path) {
				return
			}
			must := ""
			if f.required {
				must = " **Required.**"
			}
			fmt.Fprintf(&b, "| `%s` | %s%s | %s | %s |\n", path, f.doc, must, cell(f), code(f.def))
		})
		if k == KindPolicy {
			b.WriteString("\nBesides these, a Policy takes every rule of a Server: " + quoted(ruleFields()) + ".\n")
		}
		b.WriteString("\n")
	}
	b.WriteString("## Words\n\n| field | word | meaning |\n|---|---|---|\n")
	seen := map[string]bool{}
	for _, k := range Kinds() {
		walk(shapeOf(k), "", func(path string, f field) {
			for _, o := range f.shape.choices {
				row := fmt.Sprintf("| `%s` | `%s` | %s |\n", strings.TrimPrefix(path, "spec."), o.word, o.doc)
				if !seen[row] && strings.HasPrefix(path, "spec.") {
					b.WriteString(row)
				}
				seen[row] = true
			}
		})
	}
	b.WriteString("\n## Defaults, and why\n\n| field | default | why |\n|---|---|---|\n")
	for _, d := range Defaults() {
		where := ""
		if d.Kind != KindPolicy {
			where = fmt.Sprintf(" (%s)", d.Kind)
		}
		fmt.Fprintf(&b, "| `%s`%s | %s | %s |\n", strings.TrimPrefix(d.Path, "spec."), where, code(d.Value), d.Reason)
	}
	return strings.NewReplacer("{{minimal}}", string(minimal), "{{errors}}", faults.Error(), "{{reference}}", strings.TrimSpace(b.String())).Replace(string(prose))
}

func isRule(path string) bool {
	for _, r := range ruleFields() {
		if path == "spec."+r.name || strings.HasPrefix(path, "spec."+r.name+".") {
			return true
		}
	}
	return false
}

func quoted(fields []field) string {
	var out []string
	for _, f := range fields {
		out = append(out, "`"+f.name+"`")
	}
	return strings.Join(out, ", ")
}

// cell says what may stand in a field, and an example where the words do not.
func cell(f field) string {
	s := f.shape
	var out string
	switch s.form {
	case choice:
		return "`" + strings.Join(s.words(), "`, `") + "`"
	case object:
		return "fields below"
	case list:
		out = "list"
	case dict:
		out = "names to texts"
	case whole:
		out = fmt.Sprintf("%d to %d", s.min, s.max)
	case truth:
		return "`true`, `false`"
	case span:
		out = "duration"
	default:
		out = "text"
	}
	if f.example != "" && s.form != whole {
		out += ", such as " + code(f.example)
	}
	return out
}

func code(s string) string {
	if s == "" {
		return ""
	}
	return "`" + s + "`"
}
