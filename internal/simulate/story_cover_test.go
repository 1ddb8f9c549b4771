package simulate

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The stories show every sort of fault and every choice of a policy: what no story
// shows, nobody has looked at.
func TestStoriesCoverTheLanguage(t *testing.T) {
	files, err := filepath.Glob("testdata/stories/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	shown := map[string]bool{}
	specs := ""
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		s, err := ParseStory(file, data)
		if err != nil {
			t.Fatal(err)
		}
		specs += s.Spec
		for _, f := range s.Faults {
			shown[f.Class+" "+f.Verb] = true
		}
	}
	for _, k := range kinds() {
		if k.class != "site" && !shown[k.class+" "+k.verb] {
			t.Errorf("no story shows %s", k.usage())
		}
	}
	for _, choice := range []string{
		"mode: observe", "mode: ask", "mode: auto", "fence: power", "fence: powerFirst", "fence: both", "onIsolation: run", "onIsolation: stop", "oneSource: fence",
		"reach: machine", "reach: shared", "reach: host", "reach: zone", "keepAlive:", "approvals: 2", "apart:", "priority:", "isolatedFor: 0s",
	} {
		if !strings.Contains(specs, choice) {
			t.Errorf("no story has %q in its spec", choice)
		}
	}
}
