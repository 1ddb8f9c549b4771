// Package story runs the stories of the core's tests: text files of commands, each
// followed by a line of four dashes and what the commands print. It knows no words
// of its own; those are the tests'. Only tests import it.
package story

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// dashes end the commands of a part; what they print follows, up to an empty line.
const dashes = "----"

// T is the part of testing.TB that a story needs.
type T interface {
	Helper()
	Fatalf(format string, args ...any)
}

// Teller carries out one line after the other and collects what they print.
type Teller interface {
	// Do carries out one line.
	Do(line string) error
	// Told returns what was printed since the last call, and forgets it.
	Told() string
}

// Flag declares -update, which rewrites what is expected instead of comparing it.
// It is called once, from a variable of the test package.
func Flag() *bool {
	return flag.Bool("update", false, "rewrite the expected output of the stories")
}

// RunAll runs every file that matches the pattern with a teller of its own.
func RunAll(t *testing.T, pattern string, update bool, begin func() Teller) {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("no stories match %s: %v", pattern, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			Run(t, file, update, begin())
		})
	}
}

// Run tells one file and compares what is printed with what it says, or rewrites it.
func Run(t T, file string, update bool, teller Teller) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v", err)
		return
	}
	got, err := Tell(string(text), teller)
	if err != nil {
		t.Fatalf("%s:%v", file, err)
		return
	}
	Compare(t, file, string(text), got, update)
}

// Tell returns the text with the printed parts as they are now. Its errors begin
// with the line's number.
func Tell(text string, teller Teller) (string, error) {
	var got strings.Builder
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	for i := 0; i < len(lines); i++ {
		got.WriteString(lines[i] + "\n")
		if lines[i] != dashes {
			if err := teller.Do(lines[i]); err != nil {
				return "", fmt.Errorf("%d: %w", i+1, err)
			}
			continue
		}
		for i+1 < len(lines) && lines[i+1] != "" {
			i++
		}
		got.WriteString(teller.Told())
	}
	if teller.Told() != "" {
		return "", fmt.Errorf("%d: the last commands print, but no %s follows them", len(lines), dashes)
	}
	return got.String(), nil
}

// Compare fails with the first line that differs, or rewrites the file.
func Compare(t T, file, want, got string, update bool) {
	t.Helper()
	if want == got {
		return
	}
	if update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatalf("%v", err)
		}
		return
	}
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range max(len(w), len(g)) {
		a, b := "(end)", "(end)"
		if i < len(w) {
			a = w[i]
		}
		if i < len(g) {
			b = g[i]
		}
		if a != b {
			t.Fatalf("%s:%d differs (go test -update rewrites it):\n want %s\n got  %s", file, i+1, a, b)
			return
		}
	}
}
