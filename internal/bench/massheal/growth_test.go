package massheal

import "testing"

// A slower pace makes as many passes over each server, in more time.
func TestGrowthAtASlowerPace(t *testing.T) {
	fast, err := MeasureGrowth(t.Context(), 300, 1)
	if err != nil {
		t.Fatal(err)
	}
	slow, err := MeasureGrowth(t.Context(), 300, 5)
	if err != nil {
		t.Fatal(err)
	}
	if r := fast.SteadyPasses / slow.SteadyPasses; r < 4 || r > 6 {
		t.Errorf("%.0f passes a second, and %.0f at a fifth of the pace", fast.SteadyPasses, slow.SteadyPasses)
	}
}

// Servers that are down and held are looked at less often than those that rest: a
// look at one of them costs more.
func TestHeldServersAreLookedAtNoMoreOften(t *testing.T) {
	g, err := MeasureGrowth(t.Context(), 1000, 1)
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
