package spec

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Format is a notation of documents.
type Format string

// The notations.
const (
	YAML Format = "yaml"
	JSON Format = "json"
)

// ErrFormat means that a notation is neither YAML nor JSON.
var ErrFormat = errors.New("unknown format")

// Print writes documents in the order of the guide's fields. Parsing the result
// gives the same documents; comments of the original are not kept. Several YAML
// documents stand apart by ---, several JSON documents by line breaks.
func Print(f Format, docs ...Doc) ([]byte, error) {
	var b bytes.Buffer
	for i, d := range docs {
		n, err := d.node()
		if err != nil {
			return nil, err
		}
		switch f {
		case YAML:
			if i > 0 {
				b.WriteString("---\n")
			}
			enc := yaml.NewEncoder(&b)
			enc.SetIndent(2)
			if err := enc.Encode(n); err != nil {
				return nil, fmt.Errorf("%s: %w", d, err)
			}
		case JSON:
			var line bytes.Buffer
			if err := writeJSON(&line, n); err != nil {
				return nil, fmt.Errorf("%s: %w", d, err)
			}
			if err := json.Indent(&b, line.Bytes(), "", "  "); err != nil {
				return nil, fmt.Errorf("%s: %w", d, err)
			}
			b.WriteByte('\n')
		default:
			return nil, fmt.Errorf("%w %q", ErrFormat, f)
		}
	}
	return escape(b.Bytes()), nil
}

// escape writes invisible characters as escapes, because Parse refuses them as
// they are. They only occur within double quotes; see textNode.
func escape(out []byte) []byte {
	if !bytes.ContainsFunc(out, invisible) {
		return out
	}
	var b bytes.Buffer
	for _, r := range string(out) {
		if invisible(r) {
			fmt.Fprintf(&b, `\u%04x`, r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.Bytes()
}

// node returns the document as a tree whose fields are in the table's order.
func (d Doc) node() (*yaml.Node, error) {
	tree, err := d.tree()
	if err != nil {
		return nil, err
	}
	return nodeOf(tree, shapeOf(d.Kind)), nil
}

// tree decodes Raw without losing digits.
func (d Doc) tree() (any, error) {
	if len(d.Raw) == 0 {
		return nil, nil
	}
	dec := json.NewDecoder(bytes.NewReader(d.Raw))
	dec.UseNumber()
	var tree any
	if err := dec.Decode(&tree); err != nil {
		return nil, fmt.Errorf("%s: %w", d, err)
	}
	return tree, nil
}

// nodeOf builds a node. The shape only gives the order; it is nil for fields that
// a newer release wrote.
func nodeOf(v any, s *shape) *yaml.Node {
	switch v := v.(type) {
	case map[string]any:
		n := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
		for _, key := range order(v, s) {
			var sub *shape
			if s != nil && s.field(key) != nil {
				sub = s.field(key).shape
			}
			n.Content = append(n.Content, textNode(key), nodeOf(v[key], sub))
		}
		return n
	case []any:
		n := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
		var sub *shape
		if s != nil {
			sub = s.elem
		}
		for _, e := range v {
			n.Content = append(n.Content, nodeOf(e, sub))
		}
		return n
	case string:
		return textNode(v)
	case bool:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: fmt.Sprint(v)}
	case nil:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null", Value: "null"}
	default:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: fmt.Sprint(v)}
	}
}

// textNode is a text as the YAML library would quote it.
func textNode(s string) *yaml.Node {
	n := &yaml.Node{}
	n.SetString(s)
	if n.Style != yaml.LiteralStyle && n.Tag == "!!str" && !strings.ContainsFunc(s, invisible) {
		return n
	}
	// Literal blocks cannot hold every text; quotes can.
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s, Style: yaml.DoubleQuotedStyle}
}

// order lists a mapping's keys: those of the table first, others by name.
func order(v map[string]any, s *shape) []string {
	var keys []string
	if s != nil {
		for _, name := range s.fieldNames() {
			if _, ok := v[name]; ok {
				keys = append(keys, name)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(v)) {
		if !slices.Contains(keys, name) {
			keys = append(keys, name)
		}
	}
	return keys
}

func writeJSON(b *bytes.Buffer, n *yaml.Node) error {
	switch n.Kind {
	case yaml.MappingNode:
		b.WriteByte('{')
		for i := 0; i+1 < len(n.Content); i += 2 {
			if i > 0 {
				b.WriteByte(',')
			}
			if err := writeJSON(b, n.Content[i]); err != nil {
				return err
			}
			b.WriteByte(':')
			if err := writeJSON(b, n.Content[i+1]); err != nil {
				return err
			}
		}
		b.WriteByte('}')
	case yaml.SequenceNode:
		b.WriteByte('[')
		for i, c := range n.Content {
			if i > 0 {
				b.WriteByte(',')
			}
			if err := writeJSON(b, c); err != nil {
				return err
			}
		}
		b.WriteByte(']')
	default:
		if n.Tag != "!!str" {
			b.WriteString(n.Value)
			return nil
		}
		raw, err := canonical(n.Value)
		if err != nil {
			return err
		}
		b.Write(raw)
	}
	return nil
}
