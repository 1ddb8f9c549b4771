package simulate

import (
	"os"
	"strconv"
	"testing"
)

func seedsOf(t *testing.T) uint64 {
	n, err := strconv.ParseUint(os.Getenv("SEEDS"), 10, 64)
	if err != nil {
		return 20
	}
	return n
}

func TestSeeds(t *testing.T) {
	for seed := range seedsOf(t) {
		sc := Random(seed)
		r, err := Run(sc)
		if err != nil {
			t.Fatalf("seed %d: %v\n%s%s", seed, err, sc.World(), sc.Spec)
		}
		if len(r.Violations) > 0 {
			t.Errorf("seed %d: %v", seed, r.Violations[0])
			if os.Getenv("SHOW") != "" {
				t.Logf("%s%s%s", sc.World(), sc.Spec, r.Print())
			}
		}
	}
}
