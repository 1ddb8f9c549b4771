package simulate

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var update = flag.Bool("update", false, "rewrite the expected timelines")

// Each story under testdata/stories is played; its timeline is a golden file.
func TestStories(t *testing.T) {
	files, err := filepath.Glob("testdata/stories/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no stories: %v", err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".txtar")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			playStory(t, name, file)
		})
	}
}

// knownFault begins the sentence of a story's comment that says what is still wrong.
const knownFault = "Known fault:"

func playStory(t *testing.T, name, file string) {
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	s, err := ParseStory(name, data)
	if err != nil {
		t.Fatal(err)
	}
	if s.Comment == "" {
		t.Error("it does not say what it shows")
	}
	r, err := Run(s.Scenario)
	if err != nil {
		t.Fatal(err)
	}
	// A story of a known fault keeps its violations in its timeline until the fault
	// is mended; then it says that it is out of date.
	if len(r.Violations) > 0 && !strings.Contains(s.Comment, knownFault) {
		t.Errorf("broken: %v", r.Violations)
	}
	got := r.Print()
	if *update {
		s.Expect = got
		if err := os.WriteFile(file, s.Format(), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(strings.Split(strings.TrimSpace(s.Expect), "\n"), strings.Split(strings.TrimSpace(got), "\n")); diff != "" {
		t.Errorf("the timeline differs (go test -update rewrites it; read the diff):\n%s", diff)
	}
}

// A story survives being printed and read.
func TestStoryFormat(t *testing.T) {
	for seed := range uint64(50) {
		s := Story{Name: "x", Comment: "what it shows", Scenario: Random(seed)}
		again, err := ParseStory("x", s.Format())
		if err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, s.Format())
		}
		if diff := cmp.Diff(s, again, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("seed %d: %s", seed, diff)
		}
	}
}
