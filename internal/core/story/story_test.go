package story_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"relight/internal/core/story"
)

// echo prints what it is told to, and fails on "bad".
type echo struct{ told strings.Builder }

func (e *echo) Do(line string) error {
	a, err := story.Parse(line)
	switch {
	case err != nil:
		return err
	case a.Word == "say":
		fmt.Fprintln(&e.told, strings.Join(a.Words, "|"))
	case a.Word == "bad":
		return fmt.Errorf("bad word")
	}
	return a.Err()
}

func (e *echo) Told() string {
	defer e.told.Reset()
	return e.told.String()
}

func TestTell(t *testing.T) {
	for text, want := range map[string]string{
		"say a \"b c\" # d\n----\n":              "say a \"b c\" # d\n----\na|b c\n",
		"say a\n----\nold\nolder\n\nsay b\n----": "say a\n----\na\n\nsay b\n----\nb\n",
		"say a\n\n":                              "1: the last commands print, but no ---- follows them",
		"# only\nbad\n":                          "2: bad word",
		"say \"a\n":                              "1: a quote is not closed: say \"a",
	} {
		got, err := story.Tell(text, &echo{})
		if err != nil {
			got = err.Error()
		}
		if !strings.HasPrefix(got, want) || err == nil && got != want {
			t.Errorf("%q becomes %q, want %q", text, got, want)
		}
	}
}

// judge takes what a story would fail with.
type judge struct{ said string }

func (j *judge) Helper()                      {}
func (j *judge) Fatalf(f string, args ...any) { j.said = fmt.Sprintf(f, args...) }

func TestRunComparesOrRewrites(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a.txt")
	if err := os.WriteFile(file, []byte("say a\n----\nold\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var j judge
	if story.Run(&j, file, false, &echo{}); !strings.Contains(j.said, ":3 differs") {
		t.Fatalf("another output is taken: %q", j.said)
	}
	j = judge{}
	story.Run(&j, file, true, &echo{})
	if story.Run(&j, file, false, &echo{}); j.said != "" {
		t.Fatalf("it was rewritten and fails: %s", j.said)
	}
}

func TestArgs(t *testing.T) {
	a, err := story.Parse(`word n=3 d=2s l=a,b q="x = y" bare "k=v"`)
	if err != nil || a.Number("n", 1) != 3 || a.Number("m", 1) != 1 || a.Duration("d", 0) != 2*time.Second || len(a.List("l")) != 2 ||
		a.Get("q", "") != "x = y" || !a.Has("bare") || a.At(1) != "k=v" || a.At(2) != "" || a.List("none") != nil {
		t.Fatalf("%+v, %v", a, err)
	}
	if a.Number("q", 0); a.Err() == nil {
		t.Fatal("what is no number is taken for one")
	}
}
