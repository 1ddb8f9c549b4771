package spec

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"
)

func compiled(t testing.TB) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("relight.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("relight.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// schemaAccepts reads the files the way an editor does, without our decoder, and
// reports whether the schema accepts every document. Text that is no YAML counts
// as refused.
func schemaAccepts(t testing.TB, c testCase) bool {
	t.Helper()
	schema := compiled(t)
	for _, f := range c.files {
		var dec interface{ Decode(any) error } = yaml.NewDecoder(bytes.NewReader(f.Data))
		if filepath.Ext(f.Name) == ".json" {
			dec = json.NewDecoder(bytes.NewReader(f.Data))
		}
		for {
			var v any
			err := dec.Decode(&v)
			if errors.Is(err, io.EOF) {
				break
			}
			if err == nil && v == nil {
				continue // nothing between two markers
			}
			if err != nil || schema.Validate(plainJSON(v)) != nil {
				return false
			}
		}
	}
	return true
}

// plainJSON turns what the YAML library decodes into what the validator knows.
func plainJSON(v any) any {
	raw, err := json.Marshal(v)
	if err != nil {
		return make(chan int) // no JSON: no schema accepts it
	}
	out, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		return make(chan int)
	}
	return out
}

func examples(t testing.TB) []File {
	t.Helper()
	paths, err := filepath.Glob("../../examples/*.yaml")
	if err != nil || len(paths) < 4 {
		t.Fatalf("examples: %v, %v", paths, err)
	}
	var files []File
	for _, p := range paths {
		data, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, File{Name: filepath.Base(p), Data: data})
	}
	return files
}

func TestExamplesAreAccepted(t *testing.T) {
	files := examples(t)
	docs, err := Parse(files...)
	if err != nil {
		t.Fatalf("\n%v", err)
	}
	if _, err := Resolve(docs, nil); err != nil {
		t.Fatalf("\n%v", err)
	}
	for _, f := range files {
		if !schemaAccepts(t, testCase{files: []File{f}}) {
			t.Errorf("the schema refuses %s", f.Name)
		}
		if f.Name == "minimal.yaml" && bytes.Count(f.Data, []byte("\n")) > 10 {
			t.Error("minimal.yaml has more than ten lines")
		}
	}
}

// TestFullExampleSetsEveryField keeps the commented example complete; only what
// excludes something that it sets may be missing, vm.yaml sets LUNs and virtual
// machines, and ec2.yaml, elsewhere.yaml and captured.yaml what EC2 has.
func TestFullExampleSetsEveryField(t *testing.T) {
	docs, err := Parse(examples(t)...)
	if err != nil {
		t.Fatal(err)
	}
	set := map[string]bool{}
	for _, d := range docs {
		for path := range d.marks {
			path = index.ReplaceAllString(path, "[]")
			if d.File() == "full.yaml" || d.File() == "vm.yaml" && (strings.Contains(path, ".vm") || strings.Contains(path, ".lun")) || d.File() == "ec2.yaml" || d.File() == "elsewhere.yaml" || d.File() == "captured.yaml" {
				set[path] = true
			}
		}
	}
	excluded := map[string]bool{
		"spec.template.sim": true, "spec.template.sim.size": true,
		"spec.quiesce.guest":     true, // excluded by command
		"spec.health.check.http": true, "spec.health.check.exec": true, "spec.health.check.beat": true,
	}
	walk(shapeOf(KindServer), "", func(path string, _ field) {
		if set[path] == excluded[path] {
			t.Errorf("full.yaml: %s set %v, excluded %v", path, set[path], excluded[path])
		}
	})
}

// TestSchemaDefsAreUnambiguous would find two shapes that share a name, of which
// only the first would get into the schema.
func TestSchemaDefsAreUnambiguous(t *testing.T) {
	seen := map[string]*shape{}
	var visit func(s *shape)
	visit = func(s *shape) {
		if s.form == object {
			if first := seen[s.name]; first != nil && !reflect.DeepEqual(objectSchema(first, map[string]any{}), objectSchema(s, map[string]any{})) {
				t.Errorf("two shapes are called %s", s.name)
			}
			seen[s.name] = s
		}
		if s.elem != nil {
			visit(s.elem)
		}
		for _, f := range s.fields {
			visit(f.shape)
		}
	}
	for _, k := range Kinds() {
		visit(shapeOf(k))
	}
}

// TestSchemaNamesEveryField walks the table and the printed schema side by side.
func TestSchemaNamesEveryField(t *testing.T) {
	var root map[string]any
	if err := json.Unmarshal(Schema(), &root); err != nil {
		t.Fatal(err)
	}
	defs := root["$defs"].(map[string]any)
	var visit func(s *shape, path string)
	visit = func(s *shape, path string) {
		if s.form == list {
			visit(s.elem, path+"[]")
		}
		if s.form != object {
			return
		}
		props := defs[s.name].(map[string]any)["properties"].(map[string]any)
		if len(props) != len(s.fields) {
			t.Errorf("%s: %d fields in the schema, %d in the table", path, len(props), len(s.fields))
		}
		for _, f := range s.fields {
			p, ok := props[f.name].(map[string]any)
			if !ok || p["description"] == "" || f.doc == "" {
				t.Errorf("%s.%s: missing or without description", path, f.name)
			}
			if (f.def != "") != (p["default"] != nil) {
				t.Errorf("%s.%s: default differs", path, f.name)
			}
			visit(f.shape, join(path, f.name))
		}
	}
	for _, k := range Kinds() {
		visit(shapeOf(k), string(k))
	}
}
