package massheal

import "testing"

// Servers that are down and held are looked at less often than those that rest: a
// look at one of them costs more.
func TestHeldServersAreLookedAtNoMoreOften(t *testing.T) {
	g, err := MeasureGrowth(t.Context(), 1000)
	if err != nil {
		t.Fatal(err)
	}
	if g.SteadyPasses < 100 || g.HeldPasses > 0.8*g.SteadyPasses {
		t.Errorf("passes per second: %.0f in peace, %.0f with half the fleet down and held", g.SteadyPasses, g.HeldPasses)
	}
	// Each fallen server takes one pass to be judged and one to be held.
	if most := 1.05*g.SteadyPasses + 2*500/fallen.Seconds(); g.FallPasses > most {
		t.Errorf("passes per second: %.0f while half the fleet falls, want at most %.0f", g.FallPasses, most)
	}
}
