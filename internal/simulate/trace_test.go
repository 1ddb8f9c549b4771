package simulate

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// tracesPath keeps the traces of a few seeds: each line is a seed and its trace, as
// relight sim run --seed N prints it.
const tracesPath = "testdata/traces.txt"

// The same seed gives the same trace in each process, on any machine: what is kept here
// was made by another one. What could differ: the order of a map, the time zone, and
// floating point, where a processor may round once for a product and a sum.
func TestTracesAreThoseOfAnyMachine(t *testing.T) {
	zone := time.Local //nolint:gosmopolitan // whoever runs this lives somewhere
	defer func() { time.Local = zone }()
	kept, err := os.ReadFile(tracesPath)
	if err != nil {
		t.Fatal(err)
	}
	var want, got []string
	for line := range strings.Lines(string(kept)) {
		want = append(want, strings.TrimSpace(line))
	}
	for n := range want {
		var seed uint64
		if _, err := fmt.Sscan(want[n], &seed); err != nil {
			t.Fatalf("%s:%d: %q: %v", tracesPath, n+1, want[n], err)
		}
		home, err := Run(Random(seed))
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprintf("%d %016x", seed, home.Trace))
		time.Local = time.FixedZone("elsewhere", int((5*time.Hour + 45*time.Minute).Seconds()))
		away, err := Run(Random(seed))
		time.Local = zone
		if err != nil {
			t.Fatal(err)
		}
		if home.Trace != away.Trace || home.Print() != away.Print() {
			t.Errorf("seed %d goes another way in another time zone", seed)
		}
	}
	if text := strings.Join(got, "\n") + "\n"; *update {
		if err := os.WriteFile(tracesPath, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	for n := range want {
		if got[n] != want[n] {
			t.Errorf(`seed and trace are %s; kept is %s
If what the generator draws, the world or the product has changed since, this is as it should be:
  go test -tags lambda.norpc ./internal/simulate -run Traces -update
and say so in the commit. If nothing of it has changed, a run depends on the machine: do not renew
it, look for what is read of the real clock, the order of a map, or rounded by the processor.`, got[n], want[n])
		}
	}
}
