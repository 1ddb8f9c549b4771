package simulate

import (
	"strings"
	"testing"
)

// A panic in one run is told with its seed, and ends no other.
func TestHuntNamesTheSeedOfAPanic(t *testing.T) {
	hunt := Hunt{Seeds: 3, Workers: 2, Make: func(seed uint64) Scenario {
		if seed == 1 {
			panic("a nil recovery")
		}
		return Random(seed)
	}}
	report, err := hunt.Go(t.Context())
	if err == nil || !strings.Contains(err.Error(), "seed 1: it panics: a nil recovery") {
		t.Errorf("the hunt ends with: %v", err)
	}
	if report.Seeds != 3 || report.Simulated == 0 {
		t.Errorf("%d seeds, %s", report.Seeds, report.Simulated)
	}
}
