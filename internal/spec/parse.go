package spec

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Parse reads files and returns their documents in order. If anything is wrong
// it returns no document and [Problems] with everything that is wrong, so that
// nobody applies the sound half of a broken file.
func Parse(files ...File) ([]Doc, error) {
	var docs []Doc
	errs := &collector{}
	order := make([]string, 0, len(files))
	for _, f := range files {
		order = append(order, f.Name)
		docs = append(docs, parseFile(f, errs)...)
	}
	repeats(docs, errs)
	if err := errs.err(order); err != nil {
		return nil, err
	}
	return docs, nil
}

func parseFile(f File, errs *collector) []Doc {
	src := newSource(f.Name, string(bytes.TrimPrefix(f.Data, []byte("\xef\xbb\xbf"))))
	if p := unreadable(src); p != nil {
		errs.add(*p)
		return nil
	}
	r := &reader{src: src, errs: errs}
	before := len(errs.found)
	roots := r.yaml()
	if isJSON(f) {
		roots = r.json()
	}
	var docs []Doc
	for root := range roots {
		if errs.full(f.Name) {
			break
		}
		if d, ok := parseDoc(src, root, errs); ok {
			docs = append(docs, d)
		}
	}
	if len(docs) == 0 && len(errs.found) == before {
		errs.add(src.problem(mark{line: 1, col: 1, width: 1}, "", "no document found",
			"an empty file would look applied and change nothing", "add a document, or leave the file out"))
	}
	return docs
}

// parseDoc checks one document. A document with faults is returned too, if it
// is known what it is, so that a second one of the same name is noticed.
func parseDoc(src *source, root *yaml.Node, errs *collector) (Doc, bool) {
	c := &checker{src: src, errs: errs, marks: marks{"": place(root)}}
	if root.Kind != yaml.MappingNode {
		c.fault(place(root), "", "expected a document, found "+found(root), "a document begins with apiVersion and kind",
			"write several documents one after the other, apart by lines of ---")
		return Doc{}, false
	}
	if len(root.Content) > 0 {
		c.marks[""] = place(root.Content[0])
	}
	kind, ok := c.kind(root)
	if !ok {
		return Doc{}, false
	}
	c.root = shapeOf(kind)
	before := len(errs.found)
	tree, _ := c.object(root, c.root, "").(map[string]any)
	raw, err := canonical(tree)
	if err != nil {
		c.fault(c.marks[""], "", err.Error(), "", "")
		return Doc{}, false
	}
	var h header
	if err := json.Unmarshal(raw, &h); err != nil {
		c.fault(c.marks[""], "", err.Error(), "", "")
		return Doc{}, false
	}
	d := Doc{Kind: kind, Name: h.Metadata.Name, Labels: h.Metadata.Labels, Raw: raw, src: src, marks: c.marks}
	c.rules(d, len(errs.found) == before)
	return d, d.Name != ""
}

// kind finds out what a document declares. Without that nothing else can be said.
func (c *checker) kind(root *yaml.Node) (Kind, bool) {
	var names []string
	for _, k := range Kinds() {
		names = append(names, string(k))
	}
	for i := 0; i+1 < len(root.Content); i += 2 {
		key, val := root.Content[i], root.Content[i+1]
		if key.Value != "kind" {
			continue
		}
		for _, k := range Kinds() {
			if isText(val) && val.Value == string(k) {
				return k, true
			}
		}
		if !isText(val) {
			c.fault(place(val), "kind", "expected one word for kind, found "+found(val), "", suggestion("", names))
		} else {
			c.fault(place(val), "kind", fmt.Sprintf("unknown kind %s", quote(val.Value)), "the kinds are "+strings.Join(names, ", "), suggestion(val.Value, names))
		}
		return "", false
	}
	c.fault(c.marks[""], "kind", "kind is missing", "it says what the document declares", "add kind: Server, kind: Site or kind: Policy")
	return "", false
}

// canonical writes a tree as JSON with sorted keys, without HTML escapes, in a
// form that Parse accepts again.
func canonical(tree any) (json.RawMessage, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(tree); err != nil {
		return nil, err
	}
	return escape(bytes.TrimRight(b.Bytes(), "\n")), nil
}

// repeats reports documents of one kind that share a name.
func repeats(docs []Doc, errs *collector) {
	first := map[string]Doc{}
	for _, d := range docs {
		f, seen := first[d.String()]
		if !seen {
			first[d.String()] = d
			continue
		}
		errs.add(d.problem("metadata.name", fmt.Sprintf("%s is declared twice", d),
			fmt.Sprintf("%s:%d declares it already, and only one of the two could count", f.src.name, f.marks.near("metadata.name").line),
			"rename or remove one of them"))
	}
}

// problem is a fault at a path of the document; a Doc from a store has no places.
func (d Doc) problem(path, message, why, fix string) Problem {
	if d.src == nil {
		return Problem{File: d.String(), Path: path, Message: message, Why: why, Fix: fix}
	}
	return d.src.problem(d.marks.near(path), path, message, why, fix)
}
