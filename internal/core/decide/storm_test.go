package decide_test

import (
	"testing"
	"time"

	"relight/internal/core/decide"
	"relight/internal/core/fleet"
)

// A storm is a matter of hosts lost together: it does not pass because time does
// (S5), and losses far apart are none.
func TestStormIsLossesTogether(t *testing.T) {
	start := time.Date(2031, 1, 1, 0, 0, 0, 0, time.UTC)
	limit := fleet.Storm{Hosts: 2, Window: fleet.Duration(5 * time.Minute)}
	lose := func(at ...time.Duration) decide.Surveyed {
		var rows []decide.Row
		for i, d := range at {
			host := string(rune('a' + i))
			rows = append(rows, decide.Row{Server: "s" + host, Sites: []string{host}, Verdict: fleet.Down, Cause: "host " + host, Since: start.Add(d)})
		}
		return decide.Survey(rows)
	}
	for name, c := range map[string]struct {
		lost  decide.Surveyed
		storm bool
	}{
		"two hosts at once":           {lose(0, 0), false},
		"three hosts at once":         {lose(0, 0, 0), true},
		"three within the window":     {lose(0, 2*time.Minute, 4*time.Minute), true},
		"three, an hour apart":        {lose(0, time.Hour, 2*time.Hour), false},
		"one long ago, three at once": {lose(0, time.Hour, time.Hour, time.Hour), true},
	} {
		if got := decide.Classify(c.lost, limit); (got != nil) != c.storm {
			t.Errorf("%s: got %+v, want storm %v", name, got, c.storm)
		}
	}
}

// A server that waits for a person does not stand before others in the queue for
// a budget (L4).
func TestNobodyWaitsForWhoNeedsAPerson(t *testing.T) {
	s := decide.Survey([]decide.Row{
		{Server: "a", Verdict: fleet.Down, Phase: fleet.PhaseNeedsPerson, Priority: 9},
		{Server: "b", Verdict: fleet.Down, Phase: fleet.PhaseRunning, Priority: 3},
	})
	if got := s.Domains["fleet"].Waiting; len(got) != 1 || got[0] != (fleet.Waiting{Priority: 3, Servers: 1}) {
		t.Errorf("waiting priorities %v, want [3]", got)
	}
}
