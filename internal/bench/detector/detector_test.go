package detector

import (
	"math"
	"reflect"
	"testing"
	"time"

	"relight/internal/core/detect"
	"relight/internal/core/fleet"
)

var defaults = Setting{Name: "default", Suspect: 3 * time.Second, Down: 5 * time.Second}

// oneMiss takes a single lost beat for a death.
func oneMiss() Setting {
	return Setting{Name: "one miss", Suspect: 250 * time.Millisecond, Judge: func(in detect.Input, now time.Time) fleet.Finding {
		beat := in.Host[0]
		if now.Sub(beat.At) <= 250*time.Millisecond {
			return fleet.Finding{Verdict: fleet.Healthy}
		}
		second := fleet.Signal{Source: fleet.Source{Channel: fleet.ChannelProbe, Vantage: "nobody"}}
		return fleet.Finding{Verdict: fleet.Down, Evidence: []fleet.Signal{beat, second}}
	}}
}

func lossy(settings ...Setting) Plan {
	return Plan{
		Scenario: Scenario{Loss: 0.3}, Members: 20, Seed: 7, Length: 5 * time.Minute, Kills: 5, Settings: settings,
	}
}

// figures are the parts of a tally that can be compared.
func figures(t *Tally) any {
	return []any{t.MemberHours, t.Mistakes, t.Healthy, t.Lasted, t.Detected, t.Missed, t.Packets}
}

func TestTheSameSeedGivesTheSameFigures(t *testing.T) {
	a, b := Run(lossy(defaults, oneMiss())), Run(lossy(defaults, oneMiss()))
	for i := range a {
		if !reflect.DeepEqual(figures(a[i]), figures(b[i])) {
			t.Errorf("%s: %v, then %v", a[i].Setting.Name, figures(a[i]), figures(b[i]))
		}
	}
	other := lossy(oneMiss())
	other.Seed++
	if c := Run(other); reflect.DeepEqual(figures(a[1]), figures(c[0])) {
		t.Error("another seed gives the same figures: the seed decides nothing")
	}
}

// A score that cannot tell a bad detector from ours measures nothing.
func TestABadDetectorScoresBadly(t *testing.T) {
	got := Run(lossy(defaults, oneMiss()))
	good, bad := got[0], got[1]
	if good.Mistakes != 0 {
		t.Errorf("ours was wrong %d times in %.1f member-hours", good.Mistakes, good.MemberHours)
	}
	// Of five beats a second 30 % are lost: thousands of times an hour.
	if rate := float64(bad.Mistakes) / bad.MemberHours; rate < 100 {
		t.Errorf("a single miss was held for a death only %.0f times an hour", rate)
	}
	for _, g := range got {
		if len(g.Detected) != 5 || g.Missed != 0 {
			t.Errorf("%s found %d of 5 deaths", g.Setting.Name, len(g.Detected))
		}
	}
	if limit := 2 * (defaults.Suspect + defaults.Down); Quantile(good.Detected, 1) > limit {
		t.Errorf("a death took %s to find, want at most %s", Quantile(good.Detected, 1), limit)
	}
}

// Faults of the observer start nothing, and the trials would show it if they did.
func TestAnObserversFaultStartsNothing(t *testing.T) {
	wrong := 0
	for seed := range uint64(35) {
		trial := RunTrial(seed, []Setting{defaults, oneMiss()})
		if trial.Recoveries[0] != 0 {
			t.Error(trial.First)
		}
		if trial.Recoveries[1] > 0 {
			wrong++
		}
	}
	if wrong < 20 {
		t.Errorf("a detector that never doubts itself was caught in %d of 35 trials", wrong)
	}
}

// Each of these seeds started recoveries once: the first two while the cut began,
// when one host counted as silent before the others did, and the last as it ended,
// when one host was heard again before the others were.
func TestACutStartsNothingAtItsEnds(t *testing.T) {
	stored := defaults
	stored.Storage = true
	for _, seed := range []uint64{7205, 1263, 7563} {
		if trial := RunTrial(seed, []Setting{defaults, stored}); trial.Recoveries[0]+trial.Recoveries[1] != 0 {
			t.Error(trial.First)
		}
	}
}

// The observer's doubt in itself must not hold what a small fleet can tell: where one
// of two hosts dies, the other one is still heard.
func TestSmallFleetsFindADeath(t *testing.T) {
	for _, members := range []int{2, 3} {
		for _, loss := range []float64{0, 0.3} {
			for seed := range uint64(4) {
				got := Run(Plan{Scenario: Scenario{Loss: loss}, Members: members, Seed: seed, Length: time.Minute, Kills: members, Settings: []Setting{defaults}})[0]
				if got.Missed != 0 || got.Mistakes != 0 || Quantile(got.Detected, 1) > defaults.Suspect+defaults.Down {
					t.Errorf("%d hosts, loss %.1f, seed %d: found after %v, %d missed, %d mistakes", members, loss, seed, got.Detected, got.Missed, got.Mistakes)
				}
			}
		}
	}
}

func TestLossIsWhatTheScenarioSays(t *testing.T) {
	n := NewNetwork(Scenario{Loss: 0.2}, 10, 1, time.Hour, 3)
	cut := NewNetwork(Scenario{Burst: time.Second, BurstShare: 0.1}, 10, 1, 10*time.Hour, 3)
	lost, gone, all := 0, 0, 0
	for i := range 100_000 {
		all++
		at := time.Duration(i) * 300 * time.Millisecond
		if n.Lost(i%10, (i+3)%11, at) {
			lost++
		}
		if cut.Lost(i%10, (i+3)%11, at) {
			gone++
		}
	}
	if share := float64(lost) / float64(all); math.Abs(share-0.2) > 0.01 {
		t.Errorf("lost %.3f, want 0.2", share)
	}
	if share := float64(gone) / float64(all); math.Abs(share-0.19) > 0.02 {
		t.Errorf("bursts took %.3f, want 0.19: two links of 0.1", share)
	}
}

func TestPoissonBounds(t *testing.T) {
	for _, c := range []struct {
		count       int
		lower, high float64
	}{{0, 0, 2.996}, {1, 0.0513, 4.744}, {10, 5.425, 16.962}} {
		if l, u := LowerBound(c.count), UpperBound(c.count); math.Abs(l-c.lower) > 0.002 || math.Abs(u-c.high) > 0.002 {
			t.Errorf("of %d: %.4f to %.4f, want %.4f to %.4f", c.count, l, u, c.lower, c.high)
		}
	}
}
