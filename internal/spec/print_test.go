package spec

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"relight/internal/core/fleet"
)

// drawn generates a value that fits a shape.
func drawn(t *rapid.T, s *shape, label string) any {
	switch s.form {
	case object:
		out := map[string]any{}
		alone := map[string]bool{} // fields that a group leaves out
		for _, g := range s.groups {
			keep := rapid.SampledFrom(g.names).Draw(t, label+" choice")
			for _, n := range g.names {
				alone[n] = n != keep
			}
			if g.exactly {
				out[keep] = drawn(t, s.field(keep).shape, label+"."+keep)
			}
		}
		for _, f := range s.fields {
			if _, done := out[f.name]; done || alone[f.name] || !f.required && !rapid.Bool().Draw(t, label+"."+f.name+"?") {
				continue
			}
			out[f.name] = drawn(t, f.shape, label+"."+f.name)
		}
		return out
	case list:
		out := []any{}
		seen := map[string]bool{}
		for i := range rapid.IntRange(int(s.min), int(s.min)+2).Draw(t, label+" length") {
			v := drawn(t, s.elem, fmt.Sprintf("%s[%d]", label, i))
			id := ""
			if m, ok := v.(map[string]any); ok && s.key != "" {
				id, _ = m[s.key].(string)
			} else if s.unique {
				id = fmt.Sprint(v)
			}
			if id != "" && seen[id] {
				continue
			}
			seen[id] = true
			out = append(out, v)
		}
		return out
	case dict:
		out := map[string]any{}
		for range rapid.IntRange(0, 3).Draw(t, label+" length") {
			out[drawnText(t, s.keyFormat, label+" key")] = drawnText(t, s.format, label+" value")
		}
		return out
	case whole:
		return rapid.Int64Range(s.min, s.max).Draw(t, label)
	case truth:
		return rapid.Bool().Draw(t, label)
	case span:
		whole := rapid.Int64Range(s.min, s.max).Draw(t, label)
		return fmt.Sprintf("%dns", whole)
	case choice:
		return rapid.SampledFrom(s.words()).Draw(t, label)
	default:
		return drawnText(t, s.format, label)
	}
}

func drawnText(t *rapid.T, f *format, label string) string {
	samples := []*rapid.Generator[string]{
		rapid.SampledFrom([]string{"/srv/a", "/srv/b-ä", "10.0.0.1", "2001:db8::1", "http://a:80/x?y=z", "a:80", "[::1]:443", "web-1", "true", "null", "0x10", "~", "---", "# no", "a: b", "'", "\"", "@x", "%", "fleet-1", "x"}),
		rapid.String(),
		rapid.StringMatching(`[a-z]([a-z0-9-]{0,20}[a-z0-9])?`),
	}
	return rapid.OneOf(samples...).Filter(func(s string) bool {
		_, bad := f.check(s)
		return bad == nil && !strings.Contains(s, "${")
	}).Draw(t, label)
}

// fitPower keeps the fields of a single device and levels apart.
func fitPower(power any) {
	p, _ := power.(map[string]any)
	levels, _ := p["levels"].([]any)
	switch {
	case p == nil:
	case len(levels) == 0:
		p["plug"] = "1"
	default:
		for _, name := range []string{"plug", "options", "timeout"} {
			delete(p, name)
		}
	}
	for _, l := range levels {
		for i, d := range l.(map[string]any)["all"].([]any) {
			d.(map[string]any)["plug"] = fmt.Sprint("outlet ", i)
		}
	}
}

// drawnDoc draws a document that Parse accepts.
func drawnDoc(t *rapid.T) Doc {
	kind := rapid.SampledFrom(Kinds()).Draw(t, "kind")
	tree := drawn(t, shapeOf(kind), "").(map[string]any)
	fit(kind, tree)
	raw, err := canonical(tree)
	if err != nil {
		t.Fatal(err)
	}
	docs, err := Parse(File{"drawn.json", raw})
	if err != nil {
		t.Fatalf("refused:\n%s\n%v", raw, err)
	}
	return docs[0]
}

// fit changes a drawn document where its fields do not fit each other.
func fit(kind Kind, tree map[string]any) {
	meta, spec := tree["metadata"].(map[string]any), tree["spec"].(map[string]any)
	if l, ok := spec["ladder"].(map[string]any); ok && l["rungs"] != nil {
		order := fleet.Rungs()
		slices.SortFunc(l["rungs"].([]any), func(a, b any) int {
			rank := func(v any) int { return slices.Index(order, fleet.Rung(v.(map[string]any)["rung"].(string))) }
			return rank(a) - rank(b)
		})
	}
	switch kind {
	case KindPolicy:
		if meta["name"] != DefaultPolicy {
			delete(spec, "budget")
			delete(spec, "storm")
		}
	case KindSite:
		if spec["kind"] != string(fleet.SiteHost) {
			delete(spec, "power")
		}
		if spec["parent"] == meta["name"] {
			delete(spec, "parent")
		}
		fitPower(spec["power"])
		arrays, _ := spec["arrays"].([]any)
		for _, a := range arrays {
			a := a.(map[string]any)
			options := map[string]any{}
			for _, name := range driverOptions()[fleet.ArrayDriver(a["driver"].(string))].must {
				options[name] = "x"
			}
			a["options"] = options
			if a["driver"] != string(fleet.ArrayLIO) {
				delete(a, "reservations")
			}
			if more, ok := a["morePortals"].([]any); ok {
				a["morePortals"] = slices.DeleteFunc(more, func(p any) bool { return p == a["portal"] })
			}
		}
	case KindServer:
		delete(spec, "provider")
		if p, ok := spec["placement"].(map[string]any); ok {
			delete(p, "apart")
		}
		template := spec["template"].(map[string]any)
		process, isProcess := template["process"].(map[string]any)
		if isProcess {
			process["command"].([]any)[0] = "/bin/true"
		}
		id, _ := spec["identity"].(map[string]any)
		volumes, _ := id["volumes"].([]any)
		for i, v := range volumes {
			fitVolume(i, v.(map[string]any), isProcess)
		}
		if q, ok := spec["quiesce"].(map[string]any); ok {
			delete(q, "guest") // it excludes command
			q["command"] = []any{"/bin/true"}
		}
		if template["process"] == nil && template["vm"] == nil {
			delete(spec, "quiesce")
		}
		fitEC2(id, template["ec2"] != nil)
		fitElsewhere(id, template["ec2"])
		if ec2, ok := template["ec2"].(map[string]any); ok {
			fitLaunch(ec2)
		}
		if vm, ok := template["vm"].(map[string]any); ok {
			delete(id, "volumes")
			delete(spec, "fence")
			vm["boot"], vm["kernel"] = string(fleet.BootKernel), "/boot/vmlinuz"
		}
	}
}

// fitEC2 leaves what only EC2 has to servers on EC2, and makes it whole there.
func fitEC2(id map[string]any, isEC2 bool) {
	if !isEC2 {
		for _, what := range []string{"interfaces", "groups", "names"} {
			delete(id, what)
		}
		addresses, _ := id["addresses"].([]any)
		for _, a := range addresses {
			delete(a.(map[string]any), "interface")
			delete(a.(map[string]any), "private")
		}
		volumes, _ := id["volumes"].([]any)
		for _, v := range volumes {
			delete(v.(map[string]any), "device")
			delete(v.(map[string]any), "mount")
			delete(v.(map[string]any), "forceDetach")
		}
		return
	}
	volumes, _ := id["volumes"].([]any)
	for i, v := range volumes {
		v := v.(map[string]any)
		if m, ok := v["mount"].(map[string]any); ok {
			m["path"], m["options"] = fmt.Sprintf("/data-%d", i), []any{"noatime"}
		} else {
			delete(v, "forceDetach")
		}
		delete(v, "path")
		delete(v, "lun")
		v["id"] = fmt.Sprintf("vol-%d", i)
	}
	addresses, _ := id["addresses"].([]any)
	for i, a := range addresses {
		a.(map[string]any)["allocation"] = fmt.Sprintf("eipalloc-%d", i)
	}
	interfaces, _ := id["interfaces"].([]any)
	for i, n := range interfaces {
		n.(map[string]any)["index"] = i
	}
	for i, a := range addresses { // one leads to each interface, as long as there are some
		a := a.(map[string]any)
		delete(a, "private")
		if delete(a, "interface"); i < len(interfaces) {
			a["interface"] = interfaces[i].(map[string]any)["id"]
		}
	}
	if names, _ := id["names"].([]any); len(interfaces) == 0 {
		for _, n := range names {
			delete(n.(map[string]any), "ipv6")
		}
	}
	if len(addresses)+len(interfaces) == 0 {
		delete(id, "names")
	}
}

// fitElsewhere leaves a server in its zone, or lets all of its volumes leave that.
func fitElsewhere(id map[string]any, template any) {
	ec2, _ := template.(map[string]any)
	volumes, _ := id["volumes"].([]any)
	interfaces, _ := id["interfaces"].([]any)
	elsewhere, far := ec2["elsewhere"].(map[string]any)
	if !far {
		for _, v := range volumes {
			delete(v.(map[string]any), "fromSnapshot")
		}
		for _, n := range interfaces {
			delete(n.(map[string]any), "newAddress")
		}
		return
	}
	for _, v := range volumes {
		v.(map[string]any)["fromSnapshot"] = map[string]any{"maxLoss": "1h"}
	}
	for _, n := range interfaces {
		n.(map[string]any)["newAddress"] = true
	}
	zones, _ := elsewhere["zones"].([]any)
	for i, z := range zones {
		z := z.(map[string]any)
		z["zone"] = fmt.Sprintf("zone-%d", i)
		delete(z, "arrays")
		if z["outpost"] != nil && len(volumes) == 0 {
			z["outpost"] = fmt.Sprintf("arn:aws:outposts:eu-west-1:123456789012:outpost/op-%d", i)
		} else {
			delete(z, "outpost")
		}
		if len(interfaces) == 0 {
			delete(z, "interfaces")
		}
		waiting, _ := z["interfaces"].([]any)
		if len(waiting) > len(interfaces) {
			waiting = waiting[:len(interfaces)]
			z["interfaces"] = waiting
		}
		for k, n := range waiting {
			n.(map[string]any)["instead"] = interfaces[k].(map[string]any)["id"]
		}
	}
}

// fitLaunch makes a template of EC2 one that something can be launched from.
func fitLaunch(ec2 map[string]any) {
	if ec2["launchTemplate"] == nil {
		ec2["launchTemplate"] = "lt-1"
	}
	if ec2["version"] == nil {
		ec2["version"] = 1
	}
	launch, _ := ec2["launch"].(map[string]any)
	if p, ok := launch["place"].(map[string]any); ok {
		p["tenancy"] = "host"
	}
	if r, ok := launch["root"].(map[string]any); ok {
		r["encrypted"] = true
	}
}

func fitVolume(i int, v map[string]any, isProcess bool) {
	delete(v, "reach")
	if isProcess && v["path"] == nil {
		delete(v, "id")
		delete(v, "lun")
		v["path"] = "/"
	}
	if l, ok := v["lun"].(map[string]any); ok {
		l["name"], l["unit"] = fmt.Sprintf("lun-%d", i), i+1
	}
	for _, where := range []string{"id", "path"} {
		if v[where] != nil {
			v[where] = fmt.Sprintf("/%d%s", i, strings.TrimRight(v[where].(string), "/"))
		}
	}
}

func TestPrintedDocumentsParseToTheSame(t *testing.T) {
	schema := compiled(t)
	rapid.Check(t, func(t *rapid.T) {
		d := drawnDoc(t)
		for _, f := range []Format{YAML, JSON} {
			out, err := Print(f, d)
			if err != nil {
				t.Fatal(err)
			}
			back, err := Parse(File{"printed", out})
			if err != nil {
				t.Fatalf("%s is refused:\n%s\n%v", f, out, err)
			}
			if !bytes.Equal(back[0].Raw, d.Raw) {
				t.Fatalf("%s changed it:\n%s\n%s", f, d.Raw, back[0].Raw)
			}
		}
		tree, err := d.tree()
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(plainJSON(tree)); err != nil {
			t.Fatalf("the schema refuses %s:\n%v", d.Raw, err)
		}
	})
}

// TestUnknownFieldsAreRefusedEverywhere puts a field that does not exist into
// every object of a document; decoder and schema must both notice.
func TestUnknownFieldsAreRefusedEverywhere(t *testing.T) {
	schema := compiled(t)
	rapid.Check(t, func(t *rapid.T) {
		d := drawnDoc(t)
		tree, err := d.tree()
		if err != nil {
			t.Fatal(err)
		}
		var objects []map[string]any
		var collect func(v any, s *shape)
		collect = func(v any, s *shape) {
			switch v := v.(type) {
			case map[string]any:
				if s.form != object {
					return
				}
				objects = append(objects, v)
				for _, f := range s.fields {
					collect(v[f.name], f.shape)
				}
			case []any:
				for _, e := range v {
					collect(e, s.elem)
				}
			}
		}
		collect(tree, shapeOf(d.Kind))
		rapid.SampledFrom(objects).Draw(t, "object")["novel"] = "x"
		raw, err := canonical(tree)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Parse(File{"a.json", raw}); err == nil || !strings.Contains(err.Error(), "novel") {
			t.Fatalf("accepted %s: %v", raw, err)
		}
		if schema.Validate(plainJSON(tree)) == nil {
			t.Fatalf("the schema accepts %s", raw)
		}
	})
}

func TestDiffIsEmptyExactlyForEqualDocuments(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawnDoc(t), drawnDoc(t)
		if rapid.Bool().Draw(t, "same") {
			b = a
		}
		changes, err := Diff(a, b)
		if err != nil {
			t.Fatal(err)
		}
		if (len(changes) == 0) != bytes.Equal(a.Raw, b.Raw) {
			t.Fatalf("%v\n%s\n%s", changes, a.Raw, b.Raw)
		}
	})
}

func TestDiffNamesFields(t *testing.T) {
	head := "apiVersion: relight/v1alpha1\nkind: Server\nmetadata: {name: web-1}\nspec:\n  template: {sim: {}}\n"
	a := parse(t, head+"  isolatedFor: 60s\n  priority: 1\n  identity:\n    volumes: [{name: a, path: /a}, {name: b, path: /b}]\n    addresses: [{ip: 10.0.0.1}, {ip: 10.0.0.2}]\n")[0]
	b := parse(t, head+"  isolatedFor: 1m\n  mode: auto\n  identity:\n    volumes: [{name: c, path: /c}, {name: a, path: /x}]\n    addresses: [{ip: 10.0.0.2}, {ip: 10.0.0.1}]\n")[0]
	changes, err := Diff(a, b)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range changes {
		got = append(got, c.String())
	}
	want := `~ spec.identity.volumes[a].path: "/a" -> "/x"
- spec.identity.volumes[b].name: "b"
- spec.identity.volumes[b].path: "/b"
+ spec.identity.volumes[c].name: "c"
+ spec.identity.volumes[c].path: "/c"
~ spec.identity.addresses (order): ["10.0.0.1","10.0.0.2"] -> ["10.0.0.2","10.0.0.1"]
- spec.priority: 1
+ spec.mode: "auto"`
	if strings.Join(got, "\n") != want {
		t.Errorf("got\n%s", strings.Join(got, "\n"))
	}
	c := parse(t, strings.Replace(head, "{sim: {}}", "{process: {command: [/bin/x]}}", 1))[0]
	changes, err = Diff(c, parse(t, head)[0])
	if err != nil || len(changes) != 2 || changes[1].String() != "+ spec.template.sim: {}" {
		t.Errorf("a change of template: %v, %v", changes, err)
	}
	made, err := Diff(Doc{}, a)
	if err != nil || len(made) == 0 || made[0].String() != `+ apiVersion: "relight/v1alpha1"` {
		t.Errorf("%v, %v", made, err)
	}
}

func TestPrintKnowsItsFormats(t *testing.T) {
	if _, err := Print("toml", Doc{Kind: KindSite, Raw: []byte("{}")}); !errors.Is(err, ErrFormat) {
		t.Errorf("got %v", err)
	}
}

func FuzzParse(f *testing.F) {
	for _, e := range examples(f) {
		f.Add(e.Data, false)
	}
	for _, s := range []string{
		"", "---", "{", "[", "a: &a [*a]", "? ", "- - -", "%YAML 1.1\n---\n", `{"apiVersion":1}`, "kind: Server", "kind: Site\nspec: {parent: x}", "\xff", "a: |\n x", "'", "kind: Policy\nspec: {ladder: {rungs: [{rung: x}, 1, [], null]}}",
	} {
		f.Add([]byte(s), false)
		f.Add([]byte(s), true)
	}
	f.Fuzz(func(t *testing.T, data []byte, asJSON bool) {
		file := File{Name: "a.yaml", Data: data}
		if asJSON {
			file.Name = "a.json"
		}
		docs, err := Parse(file)
		if err != nil {
			if docs != nil {
				t.Fatal("documents beside an error")
			}
			for _, p := range err.(Problems) {
				if p.Message == "" || p.Line < 1 || p.Col < 1 || p.Detail() == "" {
					t.Fatalf("%+v", p)
				}
			}
			return
		}
		_, _ = Resolve(docs, nil)
		out, err := Print(YAML, docs...)
		if err != nil {
			t.Fatal(err)
		}
		back, err := Parse(File{"printed.yaml", out})
		if err != nil || len(back) != len(docs) {
			t.Fatalf("printed:\n%s\n%v", out, err)
		}
		for i := range docs {
			if !bytes.Equal(docs[i].Raw, back[i].Raw) {
				t.Fatalf("%s\n%s", docs[i].Raw, back[i].Raw)
			}
		}
	})
}
