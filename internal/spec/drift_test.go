package spec

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"relight/internal/core/fleet"
)

var index = regexp.MustCompile(`\[\d+\]`)

// TestTableMatchesTypes fails when a field of the fleet types has no row in the
// table or a row no field.
func TestTableMatchesTypes(t *testing.T) {
	for k, v := range map[Kind]any{KindServer: fleet.ServerSpec{}, KindSite: fleet.SiteSpec{}, KindPolicy: fleet.PolicySpec{}} {
		match(t, reflect.TypeOf(v), shapeOf(k).field("spec").shape, string(k)+".spec")
	}
}

func match(t *testing.T, typ reflect.Type, s *shape, path string) {
	t.Helper()
	if typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	want := object
	switch {
	case typ == reflect.TypeFor[fleet.Duration]():
		want = span
	case typ.Kind() == reflect.Slice:
		want = list
	case typ.Kind() == reflect.Map:
		want = dict
	case typ.Kind() == reflect.Int:
		want = whole
	case typ.Kind() == reflect.Bool:
		want = truth
	case typ.Kind() == reflect.String && typ != reflect.TypeFor[string]():
		want = choice
	case typ.Kind() == reflect.String:
		want = text
	}
	if path == "Server.spec.provider" {
		want = choice // the list of providers is closed, though the type is open
	}
	if s.form != want {
		t.Errorf("%s: the table says %s, the type %s wants %s", path, s.form.noun(), typ, want.noun())
		return
	}
	switch want {
	case list:
		match(t, typ.Elem(), s.elem, path+"[]")
	case choice:
		if typ != reflect.TypeFor[string]() {
			if want := constants(t, typ.Name()); !slices.Equal(slices.Sorted(slices.Values(s.words())), want) {
				t.Errorf("%s: words %v, constants %v", path, s.words(), want)
			}
		}
	case object:
		fields := reflect.VisibleFields(typ)
		n := 0
		for _, f := range fields {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if f.Anonymous || name == "-" { // the latter is no part of a document
				continue
			}
			n++
			if row := s.field(name); row == nil {
				t.Errorf("%s.%s has no row in the table", path, name)
			} else {
				match(t, f.Type, row.shape, path+"."+name)
			}
		}
		if n != len(s.fields) {
			t.Errorf("%s: %d fields in the type, %d rows in the table", path, n, len(s.fields))
		}
	}
}

// constants lists the values of all constants of a fleet type.
func constants(t *testing.T, name string) []string {
	t.Helper()
	files, err := filepath.Glob("../core/fleet/*.go")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	var out []string
	look := func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if id, ok := spec.Type.(*ast.Ident); ok && id.Name == name {
			for _, v := range spec.Values {
				out = append(out, strings.Trim(v.(*ast.BasicLit).Value, `"`))
			}
		}
		return true
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, look)
	}
	slices.Sort(out)
	return out
}

// TestDefaultsAndExamplesAreValid holds every default and example of the table
// against its own shape, and every default against having a reason.
func TestDefaultsAndExamplesAreValid(t *testing.T) {
	for _, k := range Kinds() {
		walk(shapeOf(k), "", func(path string, f field) {
			if (f.def == "") != (f.why == "") {
				t.Errorf("%s %s: a default and a reason go together", k, path)
			}
			for _, value := range []string{f.def, f.example} {
				if value == "" {
					continue
				}
				errs := &collector{}
				r := &reader{src: newSource("table", value), errs: errs}
				for n := range r.yaml() {
					c := &checker{src: r.src, errs: errs, marks: marks{}, root: shapeOf(k)}
					c.value(nil, n, f.shape, path)
				}
				if err := errs.err(nil); err != nil {
					t.Errorf("%s %s: %q is refused:\n%v", k, path, value, err)
				}
			}
		})
	}
}

// TestDefaultsOutsideRulesMatchTheTable keeps the constants in fill.go and the
// table that the guide shows from telling different stories.
func TestDefaultsOutsideRulesMatchTheTable(t *testing.T) {
	got := map[string]string{}
	for _, d := range Defaults() {
		if d.Kind != KindPolicy {
			got[string(d.Kind)+" "+d.Path] = d.Value
		}
	}
	show := func(d fleet.Duration) string { return `"` + shortSpan(d.Std()) + `"` }
	want := map[string]string{
		"Server spec.priority": "0", "Server spec.placement.units": "1",
		"Server spec.quiesce.within":             show(defaultQuiesceWithin),
		"Server spec.quiesce.onFailure":          `"` + string(defaultQuiesceFails) + `"`,
		"Server spec.template.process.stopGrace": show(defaultStopGrace),
		"Server spec.template.vm.memory":         strconv.Itoa(defaultMemory),
		"Server spec.template.vm.cpus":           strconv.Itoa(defaultCPUs),
		"Server spec.template.vm.stopGrace":      show(defaultVMStopGrace),
		"Server spec.template.ec2.autoRecovery":  `"` + string(fleet.AutoRecoveryOurs) + `"`, "Server spec.template.ec2.skipOSShutdown": "false", "Server spec.template.ec2.elsewhere.after": `"30m"`, "Server spec.template.ec2.guestBeat": "false",
		"Server spec.identity.volumes[].mount.type": `"` + defaultFileSystem + `"`, "Server spec.identity.volumes[].mount.format": "false", "Server spec.identity.volumes[].mount.fsck": "false", "Server spec.identity.volumes[].forceDetach.after": show(defaultForceAfter), "Server spec.identity.interfaces[].index": "0",
		"Server spec.identity.volumes[].mount.hostKeys": "false",
		"Server spec.identity.names[].ttl":              show(defaultTTL), "Server spec.identity.names[].ipv6": "false",
		"Site spec.power.timeout":                show(defaultPowerTimeout),
		"Site spec.power.levels[].all[].timeout": show(defaultPowerTimeout),
		"Site spec.budget.keepAlive":             "0", "Site spec.budget.steps": "0",
		"Site spec.budget.window":       show(defaultWindow),
		"Site spec.arrays[].lunOffline": `"` + string(fleet.LUNOfflineNever) + `"`, "Site spec.arrays[].reservations": `"` + string(fleet.ReservationsNever) + `"`,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v\nwant %v", got, want)
	}
}

// TestEveryRuleHasADefault makes sure that the core sees complete values.
func TestEveryRuleHasADefault(t *testing.T) {
	p, err := NewPolicies(nil)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(p.Fleet().Spec)
	if err != nil {
		t.Fatal(err)
	}
	var tree map[string]any
	if err := json.Unmarshal(raw, &tree); err != nil {
		t.Fatal(err)
	}
	var empty func(v any, path string)
	empty = func(v any, path string) {
		switch v := v.(type) {
		case map[string]any:
			for k, e := range v {
				empty(e, path+"."+k)
			}
		case string:
			if v == "" || v == "0s" {
				t.Errorf("%s is %q", path, v)
			}
		case float64:
			if v == 0 {
				t.Errorf("%s is 0", path)
			}
		}
	}
	empty(tree, "spec")
}
