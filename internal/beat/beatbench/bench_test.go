package beatbench

import (
	"os"
	"strings"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	if Child() {
		return
	}
	os.Exit(m.Run())
}

// A small run; it judges that the parts work together, not how fast they are.
func TestRun(t *testing.T) {
	var out strings.Builder
	rows, err := run(t.Context(), &out, plan{
		agents: 200, rate: 2000, length: 200 * time.Millisecond,
		ramp: []int{1000}, rampTime: 100 * time.Millisecond, counts: []int{100, 1000},
	})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]Row{}
	for _, r := range rows {
		got[r.Name] = r
		if !strings.Contains(out.String(), r.Name) {
			t.Errorf("row %q was not written", r.Name)
		}
	}
	if r := got["beats lost at that rate"]; r.Value != 0 {
		t.Errorf("lost %v of 400 beats", r.Value)
	}
	for _, name := range []string{"beat receiver cpu", "beat sent to state visible, p99", "heap, slope"} {
		if got[name].Value <= 0 {
			t.Errorf("%s: %+v", name, got[name])
		}
	}
	if r := got["beat receiver cpu"]; r.PeerValue <= 0 || r.Ratio <= 0 {
		t.Errorf("nothing to compare with: %+v", r)
	}
	if r := got["detector state"]; r.Value > 256 {
		t.Errorf("detector state of %v bytes", r.Value)
	}
}

// TestFullRun measures; it is asked for by the environment, as it takes a minute.
func TestFullRun(t *testing.T) {
	if os.Getenv("RELIGHT_BEATBENCH") == "" {
		t.Skip("set RELIGHT_BEATBENCH=1 to measure")
	}
	if _, err := Run(t.Context(), os.Stdout); err != nil {
		t.Fatal(err)
	}
}
