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

// Only who is held by a budget alone stands before others in the queue for it, and
// in no other queue (L4).
func TestWhoWaitsForABudget(t *testing.T) {
	since := time.Date(2031, 1, 1, 0, 0, 0, 0, time.UTC)
	s := decide.Survey([]decide.Row{
		{Server: "a", Sites: []string{"rack-1"}, Verdict: fleet.Down, Priority: 9},
		{Server: "b", Sites: []string{"rack-1"}, Verdict: fleet.Down, Priority: 3, Waits: "fleet", WaitsSince: since.Add(time.Minute)},
		{Server: "c", Sites: []string{"rack-1"}, Verdict: fleet.Down, Priority: 3, Waits: "fleet", WaitsSince: since},
	})
	want := fleet.Waiting{Priority: 3, Servers: 2, Since: since}
	if got := s.Domains["fleet"].Waiting; len(got) != 1 || got[0] != want {
		t.Errorf("waiting for the fleet's: %v, want %v", got, want)
	}
	if got := s.Domains["rack-1"].Waiting; len(got) != 0 {
		t.Errorf("waiting for the rack's: %v, want nobody", got)
	}
}
