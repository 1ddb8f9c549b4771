package story

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Args are one parsed line: a word followed by key=value, bare words and "quoted
// text"; a quoted value may follow key= too, and # begins a comment. Values that
// cannot be read read as zero and are told by Err.
type Args struct {
	// Word is the first one, empty for an empty line; Words are the bare ones after it.
	Word  string
	Words []string
	Pairs map[string]string
	errs  *[]error
}

// quote marks text in quotes while a line is split, so that = inside belongs to it.
const quote = '\x01'

// Parse splits a line.
func Parse(line string) (Args, error) {
	a := Args{Pairs: map[string]string{}, errs: new([]error)}
	var fields []string
	var cur strings.Builder
	quoted, open := false, false
	flush := func() {
		if open {
			fields = append(fields, cur.String())
		}
		cur.Reset()
		open = false
	}
	for _, r := range line {
		switch {
		case r == '"':
			quoted, open = !quoted, true
			cur.WriteRune(quote)
		case quoted:
			cur.WriteRune(r)
			open = true
		case r == '#':
			flush()
			return a.fill(fields), nil
		case r == ' ':
			flush()
		default:
			cur.WriteRune(r)
			open = true
		}
	}
	if quoted {
		return a, fmt.Errorf("a quote is not closed: %s", line)
	}
	flush()
	return a.fill(fields), nil
}

func (a Args) fill(fields []string) Args {
	for i, f := range fields {
		eq, q := strings.IndexByte(f, '='), strings.IndexRune(f, quote)
		clean := func(s string) string { return strings.ReplaceAll(s, string(quote), "") }
		switch {
		case i == 0:
			a.Word = clean(f)
		case eq > 0 && (q < 0 || eq < q):
			a.Pairs[f[:eq]] = clean(f[eq+1:])
		default:
			a.Words = append(a.Words, clean(f))
		}
	}
	return a
}

// Err joins what could not be read.
func (a Args) Err() error { return errors.Join(*a.errs...) }

// Get returns the value of a key, or otherwise.
func (a Args) Get(key, otherwise string) string {
	if v, ok := a.Pairs[key]; ok {
		return v
	}
	return otherwise
}

// Has reports whether a bare word is among those of the line.
func (a Args) Has(word string) bool {
	for _, w := range a.Words {
		if w == word {
			return true
		}
	}
	return false
}

// At returns the ith bare word, empty if there are fewer.
func (a Args) At(i int) string {
	if i < len(a.Words) {
		return a.Words[i]
	}
	return ""
}

// Number returns the number of a key, or otherwise.
func (a Args) Number(key string, otherwise int) int {
	v, ok := a.Pairs[key]
	if !ok {
		return otherwise
	}
	n, err := strconv.Atoi(v)
	if err != nil {
		*a.errs = append(*a.errs, err)
	}
	return n
}

// Duration returns the duration of a key, or otherwise.
func (a Args) Duration(key string, otherwise time.Duration) time.Duration {
	v, ok := a.Pairs[key]
	if !ok {
		return otherwise
	}
	return a.Length(v)
}

// Length reads a duration.
func (a Args) Length(text string) time.Duration {
	d, err := time.ParseDuration(text)
	if err != nil {
		*a.errs = append(*a.errs, err)
	}
	return d
}

// List splits the value of a key at its commas.
func (a Args) List(key string) []string {
	if a.Pairs[key] == "" {
		return nil
	}
	return strings.Split(a.Pairs[key], ",")
}
