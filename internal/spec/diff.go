package spec

import (
	"fmt"
	"maps"
	"slices"
)

// Change is one field that differs. Old is empty if it was added, New if it was
// removed; otherwise both are JSON.
type Change struct {
	// Path is the field, such as spec.health.downAfter. Elements that have a name
	// are told apart by it: spec.identity.volumes[data].path.
	Path string `json:"path"`
	Old  string `json:"old,omitempty"`
	New  string `json:"new,omitempty"`
}

// String shows the change on one line.
func (c Change) String() string {
	switch {
	case c.Old == "":
		return fmt.Sprintf("+ %s: %s", c.Path, c.New)
	case c.New == "":
		return fmt.Sprintf("- %s: %s", c.Path, c.Old)
	default:
		return fmt.Sprintf("~ %s: %s -> %s", c.Path, c.Old, c.New)
	}
}

// Diff lists the fields that differ between two documents, in the order of the
// guide. Notation does not count: 60s equals 1m. The zero Doc stands for a
// document that does not exist.
func Diff(old, new Doc) ([]Change, error) {
	a, err := old.tree()
	if err != nil {
		return nil, err
	}
	b, err := new.tree()
	if err != nil {
		return nil, err
	}
	kind := new.Kind
	if kind == "" {
		kind = old.Kind
	}
	return compare(a, b, shapeOf(kind), ""), nil
}

func compare(a, b any, s *shape, path string) []Change {
	am, aMap := a.(map[string]any)
	bm, bMap := b.(map[string]any)
	// An empty mapping is a leaf: template: {sim: {}} says more than nothing.
	leaf := len(am)+len(bm) == 0
	if (aMap || a == nil) && (bMap || b == nil) && !leaf {
		return compareFields(am, bm, s, path)
	}
	al, aList := a.([]any)
	bl, bList := b.([]any)
	leaf = len(al)+len(bl) == 0
	if !leaf && s != nil && s.form == list && s.key != "" && (aList || a == nil) && (bList || b == nil) {
		return compareElements(al, bl, s, path)
	}
	c := Change{Path: path, Old: show(a), New: show(b)}
	if c.Old == c.New {
		return nil
	}
	return []Change{c}
}

// show returns v as JSON; v was decoded from JSON, so this cannot fail.
func show(v any) string {
	if v == nil {
		return ""
	}
	raw, err := canonical(v)
	if err != nil {
		return err.Error()
	}
	return string(raw)
}

func compareFields(a, b map[string]any, s *shape, path string) []Change {
	both := maps.Clone(a)
	if both == nil {
		both = map[string]any{}
	}
	maps.Copy(both, b)
	var out []Change
	for _, key := range order(both, s) {
		var sub *shape
		if s != nil && s.field(key) != nil {
			sub = s.field(key).shape
		}
		out = append(out, compare(a[key], b[key], sub, join(path, key))...)
	}
	return out
}

// compareElements pairs the elements by their key, so that a volume put before
// the others is one change. A new order of the same elements is a change too:
// ladders climb in it and ${address:N} counts by it.
func compareElements(a, b []any, s *shape, path string) []Change {
	oldKeys, old := keyed(a, s.key)
	newKeys, new := keyed(b, s.key)
	both := slices.Clone(oldKeys)
	for _, k := range newKeys {
		if _, known := old[k]; !known {
			both = append(both, k)
		}
	}
	var out []Change
	for _, k := range both {
		out = append(out, compare(old[k], new[k], s.elem, fmt.Sprintf("%s[%s]", path, k))...)
	}
	inBoth := func(keys []string, other map[string]any) []any {
		var kept []any
		for _, k := range keys {
			if _, ok := other[k]; ok {
				kept = append(kept, k)
			}
		}
		return kept
	}
	if was, is := show(inBoth(oldKeys, new)), show(inBoth(newKeys, old)); was != is {
		out = append(out, Change{Path: path + " (order)", Old: was, New: is})
	}
	return out
}

func keyed(elems []any, key string) ([]string, map[string]any) {
	var keys []string
	byKey := map[string]any{}
	for i, e := range elems {
		m, _ := e.(map[string]any)
		k, ok := m[key].(string)
		if _, twice := byKey[k]; !ok || twice {
			k = fmt.Sprint(i)
		}
		keys = append(keys, k)
		byKey[k] = e
	}
	return keys, byKey
}
