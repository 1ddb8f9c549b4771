package spec

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// Problem is one thing that is wrong, with its place and what to do about it.
type Problem struct {
	// File, Line and Col say where; Line and Col start at 1, Col counts
	// characters. Line is 0 where no place is known.
	File string `json:"file"`
	Line int    `json:"line"`
	Col  int    `json:"col"`
	// Path is the field, such as spec.health.check.http; empty for a whole file.
	Path    string `json:"path,omitempty"`
	Message string `json:"message"`
	Why     string `json:"why,omitempty"`
	Fix     string `json:"fix,omitempty"`

	source string
	width  int
	// secret hides the source line.
	secret bool
}

// Error returns file:line:col: message, without source line, why and fix.
func (p Problem) Error() string {
	where := p.File
	if p.Line > 0 {
		where = fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Col)
	}
	return where + ": " + p.Message
}

// Detail returns the problem for people: message, source line with a caret, why
// and fix, each on lines of its own.
func (p Problem) Detail() string {
	var b strings.Builder
	b.WriteString(p.Error() + "\n")
	if p.Line > 0 && p.secret {
		b.WriteString("  (the line holds a secret and is not shown)\n")
	} else if p.Line > 0 {
		excerpt, col, width := window(p.source, p.Col, p.width)
		number := fmt.Sprint(p.Line)
		fmt.Fprintf(&b, "  %s | %s\n", number, excerpt)
		fmt.Fprintf(&b, "  %s | %s%s\n", strings.Repeat(" ", len(number)), strings.Repeat(" ", col-1), strings.Repeat("^", width))
	}
	if p.Why != "" {
		b.WriteString("  why: " + p.Why + "\n")
	}
	if p.Fix != "" {
		b.WriteString("  fix: " + p.Fix + "\n")
	}
	return b.String()
}

// window cuts a line to what fits a screen around the caret and makes it safe for
// a terminal. Col and width are moved along.
func window(source string, col, width int) (string, int, int) {
	const wide = 100
	r := []rune(source)
	from := 0
	if col > wide*3/4 {
		from = min(col-1-wide/4, len(r))
	}
	r = r[from:min(from+wide, len(r))]
	for i, c := range r {
		if c == '\t' {
			r[i] = ' '
		} else if !unicode.IsPrint(c) {
			r[i] = '·'
		}
	}
	col -= from
	return strings.TrimRightFunc(string(r), unicode.IsSpace), col, max(1, min(width, len(r)-col+1))
}

// Problems is everything that is wrong, sorted by file, line and column. It is
// the error that Parse and Resolve return.
type Problems []Problem

// Error returns all problems in detail.
func (ps Problems) Error() string {
	parts := make([]string, 0, len(ps))
	for _, p := range ps {
		parts = append(parts, strings.TrimSuffix(p.Detail(), "\n"))
	}
	return strings.Join(parts, "\n")
}

// maxProblems bounds what is collected per file: after so many, the rest says
// nothing new, and a hostile file must not cost memory.
const maxProblems = 200

// collector gathers problems.
type collector struct {
	found   Problems
	perFile map[string]int
}

func (c *collector) full(file string) bool { return c.perFile[file] >= maxProblems }

func (c *collector) add(p Problem) {
	if c.perFile == nil {
		c.perFile = map[string]int{}
	}
	if c.full(p.File) {
		return
	}
	c.perFile[p.File]++
	if c.full(p.File) {
		p = Problem{
			File: p.File, Line: p.Line, Col: p.Col, source: p.source, width: p.width,
			Message: fmt.Sprintf("more than %d problems in this file", maxProblems-1), Fix: "fix the ones above first",
		}
	}
	c.found = append(c.found, p)
}

// hide spreads a secret to the other problems of its line.
func (c *collector) hide() {
	secret := map[string]bool{}
	at := func(p Problem) string { return fmt.Sprintf("%s:%d", p.File, p.Line) }
	for _, p := range c.found {
		if p.secret {
			secret[at(p)] = true
		}
	}
	for i, p := range c.found {
		c.found[i].secret = secret[at(p)]
	}
}

// err returns what was found, in order and without repeats, or nil.
func (c *collector) err(order []string) error {
	if len(c.found) == 0 {
		return nil
	}
	c.hide()
	rank := map[string]int{}
	for i, f := range order {
		if _, seen := rank[f]; !seen {
			rank[f] = i
		}
	}
	slices.SortStableFunc(c.found, func(a, b Problem) int {
		for _, d := range []int{rank[a.File] - rank[b.File], a.Line - b.Line, a.Col - b.Col} {
			if d != 0 {
				return d
			}
		}
		return strings.Compare(a.Message, b.Message)
	})
	return slices.CompactFunc(c.found, func(a, b Problem) bool { return a == b })
}
