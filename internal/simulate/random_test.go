package simulate

import (
	"context"
	"os"
	"runtime"
	"strconv"
	"testing"
)

// seeds is how many a test runs: SEEDS, or a few.
func seeds(t *testing.T, few uint64) uint64 {
	t.Helper()
	text := os.Getenv("SEEDS")
	if text == "" {
		return few
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("SEEDS: %v", err)
	}
	return n
}

// No seed breaks a promise. make test runs 2,000 of them.
func TestSeeds(t *testing.T) {
	report, err := Hunt{Seeds: seeds(t, 40), Workers: runtime.GOMAXPROCS(0)}.Go(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range report.Broken {
		t.Errorf("relight sim run --seed %d: %v", r.Scenario.Seed, r.Violations[0])
	}
	t.Logf("%d seeds, %.1f simulated hours in %s, %.0f%% of the pairs of a fault and a step", report.Seeds, report.Simulated.Hours(), report.Wall, 100*report.Coverage())
}

// The same seed gives the same run, word for word.
func TestSeedsRepeat(t *testing.T) {
	for seed := range uint64(10) {
		one, err := Run(Random(seed))
		if err != nil {
			t.Fatal(err)
		}
		two, err := Run(Random(seed))
		if err != nil {
			t.Fatal(err)
		}
		if one.Trace != two.Trace || one.Print() != two.Print() {
			t.Errorf("seed %d went two ways: %x and %x", seed, one.Trace, two.Trace)
		}
	}
}
