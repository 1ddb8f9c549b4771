package spec

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// checker holds one document against its shape and builds its canonical value:
// map[string]any, []any, string, int64 and bool.
type checker struct {
	src   *source
	errs  *collector
	marks marks
	// root is the document's shape, for fields that stand in the wrong place.
	root *shape
}

func (c *checker) fault(m mark, path, message, why, fix string) {
	c.errs.add(c.src.problem(m, path, message, why, fix))
}

// value returns the canonical value of n, or nil if it is of the wrong form.
// The key is where a mapping or list begins for people; nil in a list.
func (c *checker) value(key, n *yaml.Node, s *shape, path string) any {
	c.marks[path] = place(n)
	if key != nil && n.Kind != yaml.ScalarNode {
		c.marks[path] = place(key)
	}
	switch s.form {
	case object:
		return c.object(n, s, path)
	case list:
		return c.list(n, s, path)
	case dict:
		return c.dict(n, s, path)
	default:
		return c.scalar(n, s, path)
	}
}

// refuse reports what a format found.
func (c *checker) refuse(m mark, path, message string, f *fault) {
	p := c.src.problem(m, path, message, f.why, f.fix)
	p.secret = f.secret
	c.errs.add(p)
}

// wrong reports a value of the wrong form.
func (c *checker) wrong(n *yaml.Node, s *shape, path string) {
	message := fmt.Sprintf("expected %s for %s, found %s", s.form.noun(), path, found(n))
	var why, fix string
	switch {
	case isNull(n):
		why, fix = "a field without a value means neither the default nor nothing", "write a value, or remove the line if you do not need it"
	case s.form == text && n.Kind == yaml.ScalarNode:
		why, fix = "without quotes it is not read as text", fmt.Sprintf("write %q, in quotes", n.Value)
	case s.form == truth && n.Kind == yaml.ScalarNode:
		fix = "write true or false, without quotes"
	case s.form == whole && n.Kind == yaml.ScalarNode:
		fix = "write plain digits such as 3, without quotes, points or leading zeros"
	case s.form == span && n.Kind == yaml.ScalarNode:
		why, fix = "a number alone does not say its unit", fmt.Sprintf("write %ss for seconds", n.Value)
	case s.form == list && n.Kind == yaml.ScalarNode && s.elem.form != object && s.max > 1:
		fix = fmt.Sprintf("write [%s]", quote(n.Value))
		if strings.Contains(n.Value, " ") {
			fix = `write one element per word, such as ["/usr/bin/web", "--port", "8080"]; no shell is involved`
		}
	case s.form == list:
		fix = "begin each element with a dash"
	case s.form == choice:
		fix = suggestion("", s.words())
	case s.form == object:
		fix = "indent its fields below it: " + strings.Join(s.fieldNames(), ", ")
	case s.form == dict:
		fix = "indent lines of the form name: \"text\" below it"
	default:
		fix = "write a single value"
	}
	c.fault(place(n), path, message, why, fix)
}

// found names what a node is, for messages.
func found(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.Kind == yaml.MappingNode:
		return "a mapping"
	case isNull(n):
		return "nothing"
	}
	switch n.ShortTag() {
	case "!!int", "!!float":
		return "the number " + n.Value
	case "!!bool":
		return n.Value
	case "!!timestamp":
		return "the date " + n.Value
	case "!!merge":
		return "the merge key <<"
	default:
		return "the text " + quote(n.Value)
	}
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

func isText(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!str" }

func (c *checker) object(n *yaml.Node, s *shape, path string) any {
	if n.Kind != yaml.MappingNode {
		c.wrong(n, s, path)
		return nil
	}
	out := map[string]any{}
	seen := map[string]*yaml.Node{}
	for i := 0; i+1 < len(n.Content) && !c.errs.full(c.src.name); i += 2 {
		key, val := n.Content[i], n.Content[i+1]
		at := join(path, key.Value)
		if c.repeated(seen, key, at) {
			continue
		}
		f := s.field(key.Value)
		if f == nil {
			c.unknown(key, s, path)
			continue
		}
		if v := c.value(key, val, f.shape, at); v != nil {
			out[key.Value] = v
		}
	}
	for _, f := range s.fields {
		if f.required && seen[f.name] == nil {
			c.fault(c.marks.near(path), join(path, f.name), fmt.Sprintf("%s is missing", join(path, f.name)), "it cannot be left out: "+lowerFirst(f.doc), "add "+sample(f))
		}
	}
	for _, g := range s.groups {
		c.group(g, seen, path)
	}
	return out
}

// repeated reports a key that came before, for the last one would silently win.
func (c *checker) repeated(seen map[string]*yaml.Node, key *yaml.Node, path string) bool {
	first := seen[key.Value]
	if first == nil {
		seen[key.Value] = key
		return false
	}
	c.fault(place(key), path, fmt.Sprintf("%s is set twice", path),
		fmt.Sprintf("line %d sets it already, and only one of the two could count", first.Line), "remove one of them")
	return true
}

func (c *checker) unknown(key *yaml.Node, s *shape, path string) {
	message := fmt.Sprintf("unknown field %s", quote(key.Value))
	if path != "" {
		message += " in " + path
	}
	why := "a field that nobody reads would silently do nothing"
	fix := "use one of " + strings.Join(s.fieldNames(), ", ")
	if key.ShortTag() == "!!merge" {
		why, fix = "merge keys are refused like aliases", "write the fields out, or put them into a Policy"
	} else if near := didYouMean(key.Value, s.fieldNames()); near != "" {
		fix = fmt.Sprintf("did you mean %q?", near)
	} else if home := c.root.home(key.Value, ""); home != "" {
		fix = fmt.Sprintf("it belongs to %s", home)
	}
	c.fault(place(key), join(path, key.Value), message, why, fix)
}

// home finds the only or first place below s where a field of that name lives.
func (s *shape) home(name, path string) string {
	if s.form == list {
		return s.elem.home(name, path+"[]")
	}
	if s.field(name) != nil && path != "" {
		return path
	}
	for _, f := range s.fields {
		if h := f.shape.home(name, join(path, f.name)); h != "" {
			return h
		}
	}
	return ""
}

func (c *checker) group(g group, seen map[string]*yaml.Node, path string) {
	var set []string
	for _, name := range g.names {
		if seen[name] != nil {
			set = append(set, name)
		}
	}
	slices.SortFunc(set, func(a, b string) int {
		return cmp.Or(seen[a].Line-seen[b].Line, seen[a].Column-seen[b].Column)
	})
	switch {
	case len(set) > 1:
		for _, name := range set[1:] {
			c.fault(place(seen[name]), join(path, name), fmt.Sprintf("%s and %s exclude each other in %s", set[0], name, path),
				fmt.Sprintf("line %d sets %s already, and only one of the two could count", seen[set[0]].Line, set[0]), "remove one of them")
		}
	case len(set) == 0 && g.exactly:
		c.fault(c.marks.near(path), path, fmt.Sprintf("%s sets none of %s", path, strings.Join(g.names, ", ")),
			"it needs exactly one of them", "add one of "+strings.Join(g.names, ", "))
	}
}

func (c *checker) list(n *yaml.Node, s *shape, path string) any {
	if n.Kind != yaml.SequenceNode {
		c.wrong(n, s, path)
		return nil
	}
	c.count(n, len(n.Content), s, path)
	out := make([]any, 0, min(len(n.Content), 64))
	seen := map[string]int{}
	for i, e := range n.Content {
		if c.errs.full(c.src.name) {
			break
		}
		at := fmt.Sprintf("%s[%d]", path, i)
		v := c.value(nil, e, s.elem, at)
		id := ""
		switch v := v.(type) {
		case nil:
			if s.elem.form == text {
				out = append(out, "") // keeps the places of the others
				continue
			}
			if s.elem.form == whole {
				out = append(out, int64(0))
				continue
			}
			v = map[string]any{}
			out = append(out, v)
			continue
		case string:
			if s.unique {
				id = v
			}
		case int64:
			if s.unique {
				id = strconv.FormatInt(v, 10)
			}
		case map[string]any:
			id, _ = v[s.key].(string)
			if s.key != "" {
				at = join(at, s.key)
			}
		}
		out = append(out, v)
		if first, twice := seen[id]; id != "" && twice {
			c.fault(c.marks.near(at), at, fmt.Sprintf("%s comes twice in %s", quote(id), path),
				fmt.Sprintf("element %d has it already (line %d)", first, n.Content[first].Line), "remove one of them")
		} else if id != "" {
			seen[id] = i
		}
	}
	return out
}

// count checks the number of elements of a list or dict.
func (c *checker) count(n *yaml.Node, have int, s *shape, path string) {
	switch {
	case int64(have) < s.min:
		c.fault(place(n), path, fmt.Sprintf("%s is empty", path), fmt.Sprintf("it needs at least %d", s.min), "add an element, or remove the field")
	case s.max > 0 && int64(have) > s.max:
		c.fault(place(n), path, fmt.Sprintf("%s has %d elements, at most %d are allowed", path, have, s.max), "a longer list is almost surely a mistake", "shorten it")
	}
}

func (c *checker) dict(n *yaml.Node, s *shape, path string) any {
	if n.Kind != yaml.MappingNode {
		c.wrong(n, s, path)
		return nil
	}
	c.count(n, len(n.Content)/2, s, path)
	out := map[string]any{}
	seen := map[string]*yaml.Node{}
	elem := &shape{form: text, format: s.format}
	for i := 0; i+1 < len(n.Content) && !c.errs.full(c.src.name); i += 2 {
		key, val := n.Content[i], n.Content[i+1]
		at := join(path, key.Value)
		if c.repeated(seen, key, at) {
			continue
		}
		if !isText(key) {
			c.fault(place(key), at, fmt.Sprintf("expected a name in %s, found %s", path, found(key)), "without quotes it is not read as text", fmt.Sprintf("write %q, in quotes", key.Value))
			continue
		}
		if _, f := s.keyFormat.check(key.Value); f != nil {
			c.refuse(place(key), at, f.message, f)
			continue
		}
		if v := c.value(key, val, elem, at); v != nil {
			out[key.Value] = v
		}
	}
	return out
}
