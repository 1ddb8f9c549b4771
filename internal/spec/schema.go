package spec

import (
	"encoding/json"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Schema returns the JSON Schema (2020-12) of all documents, for editors and
// other tools. The decoder is stricter where a schema cannot follow: it knows
// references, repeats and how fields fit together.
func Schema() []byte {
	defs := map[string]any{}
	var branches []any
	var kinds []string
	for _, k := range Kinds() {
		kinds = append(kinds, string(k))
		branches = append(branches, map[string]any{
			"if":   map[string]any{"properties": map[string]any{"kind": map[string]any{"const": string(k)}}, "required": []string{"kind"}},
			"then": schemaOf(shapeOf(k), defs),
		})
	}
	root := map[string]any{
		"$schema":     "https://json-schema.org/draft/2020-12/schema",
		"$id":         "urn:relight:schema:v1alpha1",
		"title":       "Relight " + APIVersion,
		"description": "Servers that must stay alive, the sites that they run in, and the policies that rule what may be done.",
		"type":        "object",
		"required":    []string{"apiVersion", "kind", "metadata", "spec"},
		"properties": map[string]any{
			"apiVersion": map[string]any{"const": APIVersion},
			"kind":       map[string]any{"enum": kinds},
		},
		"allOf": branches,
		"$defs": defs,
	}
	out, err := json.MarshalIndent(root, "", "  ")
	if err != nil {
		// Every value above is a string, number, list or map of these.
		panic(fmt.Sprintf("spec: schema: %v", err))
	}
	return append(out, '\n')
}

// schemaOf returns the schema of a shape; objects go into defs by name.
func schemaOf(s *shape, defs map[string]any) map[string]any {
	switch s.form {
	case object:
		if _, done := defs[s.name]; !done {
			defs[s.name] = nil // reserves the name
			defs[s.name] = objectSchema(s, defs)
		}
		return map[string]any{"$ref": "#/$defs/" + s.name}
	case list:
		m := map[string]any{"type": "array", "items": schemaOf(s.elem, defs)}
		if s.unique {
			m["uniqueItems"] = true
		}
		return bounds(m, s, "minItems", "maxItems")
	case dict:
		return bounds(map[string]any{
			"type":                 "object",
			"propertyNames":        textSchema(s.keyFormat),
			"additionalProperties": textSchema(s.format),
		}, s, "minProperties", "maxProperties")
	case whole:
		return map[string]any{"type": "integer", "minimum": s.min, "maximum": s.max}
	case truth:
		return map[string]any{"type": "boolean"}
	case span:
		return map[string]any{"type": "string", "pattern": patternDuration, "maxLength": 64}
	case choice:
		var lines []string
		for _, o := range s.choices {
			lines = append(lines, o.word+": "+o.doc)
		}
		return map[string]any{"type": "string", "enum": s.words(), "description": strings.Join(lines, "; ")}
	default:
		return textSchema(s.format)
	}
}

func textSchema(f *format) map[string]any {
	return map[string]any{"type": "string", "pattern": f.pattern, "maxLength": f.max}
}

func bounds(m map[string]any, s *shape, least, most string) map[string]any {
	if s.min > 0 {
		m[least] = s.min
	}
	if s.max > 0 {
		m[most] = s.max
	}
	return m
}

func objectSchema(s *shape, defs map[string]any) map[string]any {
	props := map[string]any{}
	required := []string{}
	for _, f := range s.fields {
		p := schemaOf(f.shape, defs)
		desc := f.doc
		if own, ok := p["description"].(string); ok {
			desc += " " + own + "."
		}
		p["description"] = desc
		if f.def != "" {
			p["default"] = json.RawMessage(f.def)
		}
		if f.example != "" && f.shape.form != object {
			p["examples"] = []any{example(f)}
		}
		props[f.name] = p
		if f.required {
			required = append(required, f.name)
		}
	}
	m := map[string]any{
		"title": s.name, "description": s.doc, "type": "object",
		"additionalProperties": false, "properties": props,
	}
	if len(required) > 0 {
		m["required"] = required
	}
	for _, g := range s.groups {
		if g.exactly {
			var one []any
			for _, n := range g.names {
				one = append(one, map[string]any{"required": []string{n}})
			}
			m["oneOf"] = one
			continue
		}
		var pairs []any
		for i, a := range g.names {
			for _, b := range g.names[i+1:] {
				pairs = append(pairs, map[string]any{"required": []string{a, b}})
			}
		}
		m["not"] = map[string]any{"anyOf": pairs}
	}
	return m
}

// example returns a field's example as a value. Examples are written as YAML.
func example(f field) any {
	var v any
	if err := yaml.Unmarshal([]byte(f.example), &v); err != nil {
		return f.example
	}
	return v
}
