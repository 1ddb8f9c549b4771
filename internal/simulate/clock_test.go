package simulate

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// A clock that jumps moves the time of day alone: what is counted between two readings of
// one process is as before, and what was stored in between is an hour off.
func TestReadings(t *testing.T) {
	if err := readings(); err != nil {
		t.Fatal(err)
	}
	before, after := reading(Start, 0), reading(Start.Add(2*time.Second-time.Hour), 2*time.Second)
	if after.Sub(before) != 2*time.Second || !after.After(before) {
		t.Errorf("%s passed, want 2s", after.Sub(before))
	}
	raw, err := json.Marshal(before)
	if err != nil {
		t.Fatal(err)
	}
	var stored time.Time
	if err := json.Unmarshal(raw, &stored); err != nil || !stored.Equal(Start) {
		t.Fatalf("stored as %s: %v", raw, err)
	}
	if after.Sub(stored) != 2*time.Second-time.Hour {
		t.Errorf("since what was stored %s passed", after.Sub(stored))
	}
}

func TestClockRefuses(t *testing.T) {
	for fault, want := range map[string]string{
		"at 1s clock c1 jumps 1h":           `write +1h or -1h`,
		"at 1s clock c1 jumps +soon":        `invalid duration`,
		"at 1s clock c9 jumps +1h":          `no host "c9" either: there is no controller "c9"`,
		"at 1s for 3s clock c1 jumps +1h":   `it takes no "for"`,
		"at 1s clock c1 runs +1h":           `it jumps`,
		"at 1s clock c1 jumps +1h host-1":   `it is written: at TIME clock NAME jumps +TIME|-TIME`,
		"at 1s clock c1 jumps +1h # a word": "",
	} {
		faults, err := ParseFaults("faults", fault)
		if err == nil {
			sc := small(t, "for 3s\n", "")
			sc.Faults = faults
			_, err = Run(sc)
		}
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", fault, err, want)
		}
	}
}
