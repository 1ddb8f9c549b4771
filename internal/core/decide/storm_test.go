package decide_test

import (
	"strings"
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

// A storm that was recorded holds on while one of its servers does not work, until a
// person lets it go on; what hits further hosts is more than that person knew (S5).
func TestRecordedStormHoldsOn(t *testing.T) {
	start := time.Date(2031, 1, 1, 0, 0, 0, 0, time.UTC)
	limit := fleet.Storm{Hosts: 2, Window: fleet.Duration(5 * time.Minute)}
	// survey has one server on each of the hosts; those in lost are down, those in
	// unseen unknown.
	survey := func(lost, unseen string) decide.Surveyed {
		var rows []decide.Row
		for _, h := range "abcde" {
			host := string(h)
			r := decide.Row{Server: "s" + host, Sites: []string{host}, Verdict: fleet.Healthy, Phase: fleet.PhaseRunning}
			switch {
			case strings.Contains(lost, host):
				r.Verdict, r.Cause, r.Since = fleet.Down, "host "+host, start
			case strings.Contains(unseen, host):
				r.Verdict = fleet.Unknown
			}
			rows = append(rows, r)
		}
		return decide.Survey(rows)
	}
	recorded := &fleet.StormRecord{ID: "storm-1", Reason: "3 hosts", Hosts: []string{"a", "b", "c"}, At: start}
	goesOn := &fleet.StormRecord{ID: "storm-1", Reason: "3 hosts", Hosts: recorded.Hosts, At: start, GoOn: &fleet.GoOn{By: "ann"}}
	blind := survey("abc", "")
	blind.Blind = "own view"
	for name, c := range map[string]struct {
		s     decide.Surveyed
		rec   *fleet.StormRecord
		limit int
		holds string
	}{
		"nothing recorded, one lost":             {survey("c", ""), nil, 2, ""},
		"two of three are healed":                {survey("c", ""), recorded, 2, "a b c"},
		"the last was not seen since":            {survey("", "c"), recorded, 2, "a b c"},
		"all work again":                         {survey("", ""), recorded, 2, ""},
		"all work again, another host is lost":   {survey("e", ""), recorded, 2, ""},
		"a person lets it go on":                 {survey("abc", ""), goesOn, 2, ""},
		"a person let it go on, and it grows":    {survey("abcd", ""), goesOn, 2, "a b c d"},
		"a person let it go on, one host more":   {survey("ad", ""), goesOn, 2, ""},
		"it grows before anybody speaks":         {survey("cde", ""), recorded, 2, "a b c d e"},
		"the policy allows as many":              {survey("c", ""), recorded, 3, ""},
		"no word clears doubt about our own eye": {blind, goesOn, 2, "-"},
	} {
		limit := fleet.Storm{Hosts: c.limit, Window: limit.Window}
		got, want := "", c.holds
		if trouble := decide.Storm(c.s, limit, c.rec); trouble != nil {
			if got = strings.Join(trouble.Hosts, " "); got == "" {
				got = "-"
			}
		}
		if got != want {
			t.Errorf("%s: holds for %q, want %q", name, got, want)
		}
	}
}

// A host that is lost within a window of one that a person knew of makes a storm of which
// that person knew nothing, though the known ones are as many (S5).
func TestStormGrowsBesideTheKnownOne(t *testing.T) {
	start := time.Date(2031, 1, 1, 0, 0, 0, 0, time.UTC)
	limit := fleet.Storm{Hosts: 1, Window: fleet.Duration(2 * time.Minute)}
	rec := fleet.StormRecord{ID: "storm-1", Hosts: []string{"a", "b"}, At: start, GoOn: &fleet.GoOn{By: "ann", At: start}}
	for at, want := range map[time.Duration]string{3 * time.Minute: "a b c", 5 * time.Minute: ""} {
		var rows []decide.Row
		for host, d := range map[string]time.Duration{"a": 0, "b": 90 * time.Second, "c": at} {
			rows = append(rows, decide.Row{Server: "s" + host, Sites: []string{host}, Verdict: fleet.Down, Cause: "host " + host, Since: start.Add(d)})
		}
		got := ""
		if trouble := decide.Storm(decide.Survey(rows), limit, &rec); trouble != nil {
			got = strings.Join(trouble.Hosts, " ")
		}
		if got != want {
			t.Errorf("a third host lost after %s: holds for %q, want %q", at, got, want)
		}
	}
}

// An agent that died long before its host does not date the host's loss: its server was
// seen to work until then (S5).
func TestLossIsNotBeforeItWorked(t *testing.T) {
	silent := time.Date(2031, 1, 1, 0, 0, 0, 0, time.UTC)
	for well, want := range map[time.Duration]time.Duration{50 * time.Second: 50 * time.Second, -time.Hour: 0} {
		st := fleet.Status{Verdict: fleet.Down, VerdictSince: silent, WellUntil: silent.Add(well)}
		if got := decide.Lost(st); !got.Equal(silent.Add(want)) {
			t.Errorf("well until %s after the first silence: lost at %s, want %s after it", well, got, want)
		}
	}
}
