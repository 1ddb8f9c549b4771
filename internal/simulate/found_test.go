package simulate

import (
	"os"
	"path/filepath"
	"testing"
)

// TestFound plays every scenario that once showed a mistake. None may break a promise
// any more; docs/track-record.md says what each found.
func TestFound(t *testing.T) {
	files, err := filepath.Glob("testdata/found/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenario is kept: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			story, err := ParseStory(filepath.Base(file), data)
			if err != nil {
				t.Fatal(err)
			}
			r, err := Run(story.Scenario)
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range r.Violations {
				t.Error(v)
			}
			if t.Failed() {
				t.Log(r.Print())
			}
		})
	}
}
