package spec

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// scalar returns the canonical value of a single value, or nil.
func (c *checker) scalar(n *yaml.Node, s *shape, path string) any {
	if n.Kind != yaml.ScalarNode {
		c.wrong(n, s, path)
		return nil
	}
	switch s.form {
	case whole:
		return c.whole(n, s, path)
	case truth:
		if n.ShortTag() != "!!bool" || n.Value != "true" && n.Value != "false" {
			c.wrong(n, s, path)
			return nil
		}
		return n.Value == "true"
	default: // all others are written as text
	}
	if !isText(n) {
		c.wrong(n, s, path)
		return nil
	}
	switch s.form {
	case span:
		return c.span(n, s, path)
	case choice:
		if !slices.Contains(s.words(), n.Value) {
			c.fault(place(n), path, fmt.Sprintf("%s cannot be %s", path, quote(n.Value)),
				oneOf(s.words()), suggestion(n.Value, s.words()))
			return nil
		}
		return n.Value
	default:
		v, f := s.format.check(n.Value)
		if f != nil {
			c.refuse(place(n), path, fmt.Sprintf("%s: %s", path, f.message), f)
			return nil
		}
		return v
	}
}

var digits = regexp.MustCompile(`^-?(0|[1-9][0-9]{0,17})$`)

func (c *checker) whole(n *yaml.Node, s *shape, path string) any {
	if n.ShortTag() != "!!int" || !digits.MatchString(n.Value) {
		c.wrong(n, s, path)
		return nil
	}
	v, err := strconv.ParseInt(n.Value, 10, 64)
	if err != nil || v < s.min || v > s.max {
		c.fault(place(n), path, fmt.Sprintf("%s cannot be %s", path, n.Value),
			fmt.Sprintf("it lies between %d and %d", s.min, s.max), fmt.Sprintf("write %d", max(s.min, min(v, s.max))))
		return nil
	}
	return v
}

func (c *checker) span(n *yaml.Node, s *shape, path string) any {
	d, f := parseSpan(n.Value)
	if f == nil && (d < time.Duration(s.min) || d > time.Duration(s.max)) {
		low, high := shortSpan(time.Duration(s.min)), shortSpan(time.Duration(s.max))
		f = &fault{message: fmt.Sprintf("%s is out of bounds", n.Value), why: fmt.Sprintf("it lies between %s and %s", low, high), fix: "write " + low}
		if d > time.Duration(s.max) {
			f.fix = "write " + high
		}
	}
	if f != nil {
		c.refuse(place(n), path, fmt.Sprintf("%s: %s", path, f.message), f)
		return nil
	}
	return shortSpan(d)
}

var daysRE = regexp.MustCompile(`^([0-9]{1,6})\s*(d|days?|w|weeks?)$`)

// parseSpan reads a duration in Go's notation, without signs.
func parseSpan(s string) (time.Duration, *fault) {
	if durationRE.MatchString(s) && len(s) <= 64 {
		if d, err := time.ParseDuration(s); err == nil {
			return d, nil
		}
	}
	f := &fault{message: fmt.Sprintf("%s is not a duration", quote(s)), why: "a duration is digits with the units h, m, s or ms", fix: "write one such as 30s, 5m or 1h30m"}
	if m := daysRE.FindStringSubmatch(s); m != nil {
		n, _ := strconv.Atoi(m[1])
		if m[2][0] == 'w' {
			n *= 7
		}
		f.why, f.fix = "days are not always 24 hours, so there is no unit for them", fmt.Sprintf("write %dh", 24*n)
	}
	if rest, ok := strings.CutPrefix(s, "-"); ok && durationRE.MatchString(rest) {
		f.message, f.why, f.fix = fmt.Sprintf("%s is negative", quote(s)), "durations start at 0s", "write "+rest
	}
	return 0, f
}

// shortSpan writes a duration without trailing zero units: 1h, not 1h0m0s.
func shortSpan(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}

// join appends a field's name to a path.
func join(path, name string) string {
	if len(name) > 100 {
		name = name[:100] + "…"
	}
	if path == "" {
		return name
	}
	return path + "." + name
}

// near returns the place of path or of the nearest thing that holds it.
func (m marks) near(path string) mark {
	for {
		if at, ok := m[path]; ok {
			return at
		}
		cut := max(strings.LastIndexByte(path, '.'), strings.LastIndexByte(path, '['))
		if cut < 0 {
			return m[""]
		}
		path = path[:cut]
	}
}

func lowerFirst(s string) string {
	s = strings.TrimSuffix(s, ".")
	return strings.ToLower(s[:1]) + s[1:]
}

func oneOf(words []string) string {
	if len(words) == 1 {
		return "it is always " + words[0]
	}
	return "it is one of " + strings.Join(words, ", ")
}

// sample is what to add for a field.
func sample(f field) string {
	if f.example == "" {
		return fmt.Sprintf("%s: with its fields below it: %s", f.name, strings.Join(f.shape.fieldNames(), ", "))
	}
	return f.name + ": " + f.example
}
