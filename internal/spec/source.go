package spec

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path"
	"strings"
	"sync"
	"unicode/utf8"
)

// The bounds on what is read. They stop a file from costing more memory than a
// controller can spare; no honest document comes near them.
const (
	maxDocument = 4 << 20 // bytes of one document
	maxParts    = 250_000 // values of one document, or separators before it is read
	maxDepth    = 64      // levels of nesting
)

// File is one file, or a request's body, to be parsed.
type File struct {
	// Name is shown in errors. A name that ends in .json is read as JSON.
	Name string
	Data []byte
}

// source is a file's text, kept to show lines of it in errors.
type source struct {
	name  string
	text  string
	index func() []int // byte offsets of the lines' starts
}

func newSource(name, text string) *source {
	s := &source{name: name, text: text}
	s.index = sync.OnceValue(func() []int {
		starts := []int{0}
		for i := 0; i < len(s.text); i++ {
			if s.text[i] == '\n' {
				starts = append(starts, i+1)
			}
		}
		return starts
	})
	return s
}

// line returns the line numbered n from 1, without its end.
func (s *source) line(n int) string {
	starts := s.index()
	if n < 1 || n > len(starts) {
		return ""
	}
	text := s.text[starts[n-1]:]
	if end := strings.IndexByte(text, '\n'); end >= 0 {
		text = text[:end]
	}
	return strings.TrimSuffix(text, "\r")
}

// mark is a place in a file; the zero mark is no place.
type mark struct{ line, col, width int }

// marks gives the place of each path of a document.
type marks map[string]mark

func (s *source) problem(m mark, path, message, why, fix string) Problem {
	return Problem{
		File: s.name, Line: m.line, Col: m.col, Path: path, Message: message, Why: why, Fix: fix,
		source: s.line(m.line), width: m.width,
	}
}

// unreadable finds characters that may not stand in a spec as they are: their
// lines would not look like what they mean.
func unreadable(s *source) *Problem {
	line, col := 1, 1
	for i := 0; i < len(s.text); {
		r, size := utf8.DecodeRuneInString(s.text[i:])
		var what string
		switch {
		case r == utf8.RuneError && size == 1:
			what = fmt.Sprintf("the byte 0x%02x is not valid UTF-8", s.text[i])
		case r == '\r' && !strings.HasPrefix(s.text[i:], "\r\n"):
			what = "a lone carriage return"
		case invisible(r):
			what = fmt.Sprintf("the invisible character U+%04X", r)
		}
		if what != "" {
			p := s.problem(mark{line, col, 1}, "", what,
				"what is applied must be what you see", "save the file as UTF-8 text without it; in quotes it can be written as an escape")
			return &p
		}
		if i += size; r == '\n' {
			line, col = line+1, 0
		}
		col++
	}
	return nil
}

// invisible reports characters that end a line for some readers only, turn the
// direction of writing or show nothing at all.
func invisible(r rune) bool {
	switch r {
	case '\t', '\n', '\r':
		return false
	case 0x200b, 0x200e, 0x200f, 0x2028, 0x2029, 0xfeff:
		return true
	}
	return r < 0x20 || r >= 0x7f && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069
}

// chunk is the text of one document and the number of lines before it.
type chunk struct {
	text   string
	before int
}

// split cuts YAML text at its document markers. YAML allows them nowhere else at
// a line's start, so a fault in one document does not hide those of the next.
func split(text string) []chunk {
	var chunks []chunk
	start, before, line := 0, 0, 0
	cut := func(end, next, lines int) {
		if t := text[start:end]; !blank(t) {
			chunks = append(chunks, chunk{t, before})
		}
		start, before = next, lines
	}
	for at := 0; at < len(text); line++ {
		end := len(text)
		if n := strings.IndexByte(text[at:], '\n'); n >= 0 {
			end = at + n + 1
		}
		switch l := text[at:end]; {
		case marker(l, "---"):
			cut(at, at, line)
		case marker(l, "..."):
			cut(at, end, line+1)
		}
		at = end
	}
	cut(len(text), len(text), line)
	return chunks
}

func marker(line, m string) bool {
	rest, ok := strings.CutPrefix(line, m)
	return ok && (rest == "" || strings.ContainsRune(" \t\r\n", rune(rest[0])))
}

// blank reports whether a chunk holds only comments, directives and space.
func blank(text string) bool {
	for l := range strings.Lines(text) {
		if marker(l, "---") {
			l = l[3:]
		}
		if t := strings.TrimSpace(l); t != "" && t[0] != '#' && l[0] != '%' {
			return false
		}
	}
	return true
}

// tooLarge says why a document is beyond the bounds, or "".
func tooLarge(text string) string {
	if len(text) > maxDocument {
		return fmt.Sprintf("the document has %d bytes, at most %d are allowed", len(text), maxDocument)
	}
	parts := 0
	for _, sep := range []string{",", "\n", "[", "{", ":", "- ", "? "} {
		parts += strings.Count(text, sep)
	}
	if parts > maxParts {
		return fmt.Sprintf("the document has more than %d parts", maxParts)
	}
	return ""
}

// isJSON reports whether a file is to be read as JSON: by its name, or because a
// body without a telling name looks like it.
func isJSON(f File) bool {
	ext := strings.ToLower(path.Ext(f.Name))
	t := bytes.TrimLeft(f.Data, " \t\r\n")
	if ext == ".json" || len(t) == 0 || t[0] != '{' {
		return ext == ".json"
	}
	if ext != ".yaml" && ext != ".yml" && bytes.HasPrefix(bytes.TrimLeft(t[1:], " \t\r\n"), []byte{'"'}) {
		return true
	}
	return json.Valid(f.Data)
}
