package spec

import (
	"fmt"
	"iter"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// reader turns the text of one file into nodes with places.
type reader struct {
	src  *source
	errs *collector
}

func (r *reader) fault(m mark, message, why, fix string) {
	r.errs.add(r.src.problem(m, "", message, why, fix))
}

// yaml yields the root nodes of all documents that can be read, one at a time,
// so that a file of many thousand servers is never held as nodes at once.
func (r *reader) yaml() iter.Seq[*yaml.Node] {
	return func(yield func(*yaml.Node) bool) {
		for _, c := range split(r.src.text) {
			if root := r.document(c); root != nil && !yield(root) {
				return
			}
		}
	}
}

// document returns the root node of a chunk, or nil.
func (r *reader) document(c chunk) *yaml.Node {
	if why := tooLarge(c.text); why != "" {
		r.fault(mark{line: c.before + 1, col: 1, width: 1}, why, largeWhy, "write one document per server, apart by lines of ---")
		return nil
	}
	var n yaml.Node
	if err := yaml.Unmarshal([]byte(c.text), &n); err != nil {
		r.syntax(c, err)
		return nil
	}
	if n.Kind != yaml.DocumentNode || len(n.Content) != 1 {
		return nil
	}
	root := n.Content[0]
	shift(root, c.before)
	if !r.plain(root, 0) {
		return nil
	}
	return root
}

const largeWhy = "a document describes one server, site or policy"

func shift(n *yaml.Node, lines int) {
	n.Line += lines
	for _, c := range n.Content {
		shift(c, lines)
	}
}

var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)$`)

// syntax reports text that is not YAML. The library gives a line in words only.
func (r *reader) syntax(c chunk, err error) {
	line, message := 1, err.Error()
	if m := yamlLine.FindStringSubmatch(message); m != nil {
		if n, err := strconv.Atoi(m[1]); err == nil {
			line = n
		}
		message = m[2]
	}
	why, fix := "", "check the indentation, quotes and colons from here on"
	switch {
	case strings.HasPrefix(message, "did not find expected"):
		line++ // the library counts from 0 for these and names the block's start
		why = "the block that begins here breaks off before its end"
		fix = "indent all fields of a block alike, and close every bracket and quote"
	case strings.HasPrefix(message, "mapping values are not allowed"):
		why = "a colon followed by a space starts a new field"
		fix = "quote the value if the colon belongs to it, or put the field on a line of its own"
	case strings.HasPrefix(message, "found character that cannot start any token"):
		fix = "indent with spaces, not tabs, and quote values that start with @, ` or %"
	case strings.HasPrefix(message, "could not find expected ':'"):
		fix = "write name: value on this line, or indent it below its list"
	case strings.HasPrefix(message, "found unknown escape character"):
		fix = `use 'single quotes', or write \\ for a backslash`
	}
	line += c.before
	text := r.src.line(line)
	indent := len(text) - len(strings.TrimLeft(text, " \t"))
	width := utf8.RuneCountInString(strings.TrimSpace(text))
	r.fault(mark{line, indent + 1, width}, "not valid YAML: "+message, why, fix)
}

// plain refuses what could make a small text mean a large or surprising value.
func (r *reader) plain(n *yaml.Node, depth int) bool {
	m := place(n)
	switch {
	case depth > maxDepth:
		r.fault(m, fmt.Sprintf("nested deeper than %d levels", maxDepth), "no field of ours is so deep; such files exist only to exhaust memory", "remove the extra levels")
		return false
	case n.Kind == yaml.AliasNode:
		r.fault(m, "aliases are refused", "a few lines of them can stand for gigabytes, and a change in one place would silently reach others", "write the value out, or put it into a Policy")
		return false
	case n.Anchor != "":
		r.fault(m, "anchors are refused", "they only serve aliases, which are refused too", "remove &"+n.Anchor)
		return false
	case n.Style&yaml.TaggedStyle != 0:
		r.fault(m, fmt.Sprintf("the tag %s is refused", n.Tag), "the type of every field is known", "remove the tag")
		return false
	}
	ok := true
	for i, c := range n.Content {
		if n.Kind == yaml.MappingNode && i%2 == 0 && c.Kind != yaml.ScalarNode && c.Kind != yaml.AliasNode {
			r.fault(place(c), "a field's name must be text", "a list or mapping cannot be a name", "write name: value")
			ok = false
			continue
		}
		ok = r.plain(c, depth+1) && ok
	}
	return ok
}

// place is where a node stands; scalars are underlined as they are written.
func place(n *yaml.Node) mark {
	m := mark{line: n.Line, col: n.Column, width: 1}
	switch {
	case n.Kind == yaml.AliasNode:
		m.width = 1 + utf8.RuneCountInString(n.Value)
	case n.Kind != yaml.ScalarNode || n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0:
	case n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle) != 0:
		m.width = 2 + utf8.RuneCountInString(n.Value)
	default:
		m.width = max(1, utf8.RuneCountInString(n.Value))
	}
	return m
}
