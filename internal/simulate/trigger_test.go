package simulate

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestOP_TRIG_Latency: nothing fires once and is missed. A host dies at any moment of a
// second, and then the next one, and the next: each death of its server is found, the
// third like the first, within the bound of the spec's timings, and none is found before
// a source could have fallen silent for suspectAfter.
func TestOP_TRIG_Latency(t *testing.T) {
	const (
		offsets, deaths = 8, 3
		suspectAfter    = 3 * time.Second // the default, which the story's server has
		beat            = time.Second     // a source may have spoken last so long before the death
		look            = time.Second     // a probe's pace, and the loop's
	)
	data, err := os.ReadFile("testdata/stories/host_lost.txtar")
	if err != nil {
		t.Fatal(err)
	}
	text, _, _ := strings.Cut(string(data), "-- expect --")
	text = strings.Replace(text, "for 2m0s", "for 5m0s", 1)
	var took []time.Duration
	for offset := range offsets {
		var faults strings.Builder
		for n := range deaths {
			at := time.Duration(30+90*n)*time.Second + time.Duration(offset)*time.Second/offsets + 7*time.Millisecond
			fmt.Fprintf(&faults, "at %s for 60s host %s dies\n", at, []string{"host-1", "host-2", "host-1"}[n])
		}
		s, err := ParseStory("host_lost", []byte(strings.Replace(text, "at 30s host host-1 dies\n", faults.String(), 1)))
		if err != nil {
			t.Fatal(err)
		}
		took = append(took, found(t, s.Scenario)...)
	}
	if len(took) != offsets*deaths {
		t.Fatalf("%d of %d deaths were found", len(took), offsets*deaths)
	}
	slices.Sort(took)
	first, last := took[0], took[len(took)-1]
	if first < suspectAfter-beat || last > suspectAfter+look {
		t.Errorf("found after %s to %s, want %s to %s", first, last, suspectAfter-beat, suspectAfter+look)
	}
	if first == last {
		t.Errorf("all were found after %s: the deaths did not fall at different moments", first)
	}
	t.Logf("%d deaths found after %s to %s, half within %s", len(took), first, last, took[len(took)/2])
}

// found plays a scenario and returns how long after each death its server was called
// down.
func found(t *testing.T, s Scenario) []time.Duration {
	t.Helper()
	r, err := Run(s)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Violations) > 0 {
		t.Errorf("it breaks: %v", r.Violations)
	}
	var out []time.Duration
	died := time.Duration(-1)
	for _, l := range r.Timeline {
		switch {
		case l.What == "fault":
			died = l.At
		case l.What == "verdict" && died >= 0 && strings.Contains(l.Text, ": down, was "):
			out = append(out, l.At-died)
			died = -1
		}
	}
	return out
}
