package decide_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"relight/internal/core/decide"
	"relight/internal/core/fleet"
)

func drawRow(t *rapid.T, server string) decide.Row {
	host := pick(t, "host", "host-1", "host-2", "host-3")
	r := decide.Row{
		Server: server, Sites: []string{host, "rack-1"}, Priority: rapid.IntRange(0, 2).Draw(t, "priority"),
		Verdict: pick(t, "verdict", fleet.Unknown, fleet.Healthy, fleet.Suspect, fleet.Impaired, fleet.Down, fleet.Isolated),
		Phase:   pick(t, "phase", fleet.PhaseRunning, fleet.PhaseRecovering, fleet.PhaseNeedsPerson),
		Cause:   pick(t, "cause", "own view", "host "+host, "server "+server),
		Since:   noon.Add(-time.Duration(rapid.IntRange(0, 3).Draw(t, "age")) * time.Minute),
	}
	if r.Waits = pick(t, "waits", "", "fleet", "rack-1"); r.Waits != "" {
		r.WaitsSince = noon.Add(-time.Duration(rapid.IntRange(0, 3).Draw(t, "waits for")) * time.Minute)
	}
	r.Claims = rapid.IntRange(0, 2).Draw(t, "claims")
	if chance(t, "never placed", 10) {
		r.Sites, r.Since = nil, time.Time{}
	}
	return r
}

// A tally that is kept up to date must say what a fresh count says: budgets and
// the storm classifier are decided from it.
func TestTallyIsARecount(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tally, rows := decide.NewTally(), map[string]decide.Row{}
		for range rapid.IntRange(0, 40).Draw(t, "changes") {
			name := fmt.Sprintf("server-%d", rapid.IntRange(0, 7).Draw(t, "server"))
			moved, storm := tally.Moved(), decide.Classify(tally.Sum(), fleet.Storm{Hosts: 1, Window: fleet.Duration(time.Minute)})
			if old, ok := rows[name]; ok {
				tally.Remove(old)
				delete(rows, name)
			}
			if !chance(t, "deleted", 25) {
				rows[name] = drawRow(t, name)
				tally.Add(rows[name])
			}
			var all []decide.Row
			for _, r := range rows {
				all = append(all, r)
			}
			if diff := cmp.Diff(decide.Survey(all), tally.Sum()); diff != "" {
				t.Fatalf("the tally differs from a recount:\n%s", diff)
			}
			now := decide.Classify(tally.Sum(), fleet.Storm{Hosts: 1, Window: fleet.Duration(time.Minute)})
			if tally.Moved() == moved && !cmp.Equal(storm, now) {
				t.Fatalf("the storm changed unseen: %v, was %v", now, storm)
			}
		}
	})
}

// Recoveries that are kept as one number are neither lost nor given back early.
func TestTookCountsEveryRecovery(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const window = 10 * time.Minute
		var begun []fleet.Begun
		var exact []time.Time
		now := noon
		for range rapid.IntRange(1, 60).Draw(t, "recoveries") {
			now = now.Add(time.Duration(rapid.IntRange(0, 20_000).Draw(t, "pause")) * time.Millisecond)
			begun, exact = decide.Took(begun, window, now), append(exact, now)
			used, _ := decide.Used(begun, window, now)
			least, most := 0, 0
			for _, at := range exact {
				if now.Sub(at) < window {
					least++
				}
				if now.Sub(at) < window+window/1000 {
					most++
				}
			}
			if used < least || used > most {
				t.Fatalf("%d recoveries count, want %d to %d", used, least, most)
			}
		}
	})
}

// Whose recovery runs is not alive, whatever was last seen of it (S5).
func TestOneThatIsRecoveringIsNotAlive(t *testing.T) {
	s := decide.Survey([]decide.Row{
		{Server: "a", Verdict: fleet.Healthy, Phase: fleet.PhaseRunning},
		{Server: "b", Verdict: fleet.Healthy, Phase: fleet.PhaseRecovering},
		{Server: "c", Verdict: fleet.Healthy, Phase: fleet.PhaseNeedsPerson},
		{Server: "d", Verdict: fleet.Suspect, Phase: fleet.PhaseRunning},
	})
	if got := s.Domains["fleet"]; got.Healthy != 1 || got.Total != 4 {
		t.Errorf("%d of %d are alive, want 1 of 4", got.Healthy, got.Total)
	}
}
