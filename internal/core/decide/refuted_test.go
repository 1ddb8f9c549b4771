package decide_test

import (
	"strings"
	"testing"
	"time"

	"relight/internal/core/decide"
	"relight/internal/core/fleet"
)

// What works makes void that somebody called it dead, and nothing else.
func TestRefuted(t *testing.T) {
	word := func(e fleet.Epoch) fleet.Evidence {
		return fleet.Evidence{Method: fleet.Attested, Server: "db", Epoch: e, By: "ann"}
	}
	s := fleet.Status{Server: "db", Epoch: 3, Verdict: fleet.Healthy, Evidence: []fleet.Evidence{word(2), word(3), {Method: fleet.Sealed, Server: "db", Epoch: 3, Volume: "data"}}}
	got, void := decide.Refuted(s)
	if len(got.Evidence) != 2 || got.Evidence[0].Epoch != 2 || got.Evidence[1].Method != fleet.Sealed || !strings.Contains(void, "ann") {
		t.Errorf("%+v left: %s", got.Evidence, void)
	}
	if len(s.Evidence) != 3 || s.Evidence[1].Epoch != 3 {
		t.Error("the status that was given has changed")
	}
	if _, again := decide.Refuted(got); again != "" {
		t.Errorf("once more: %s", again)
	}
	s.Verdict = fleet.Suspect
	if got, void := decide.Refuted(s); len(got.Evidence) != 3 || void != "" {
		t.Errorf("while nobody knows whether it works: %+v left: %s", got.Evidence, void)
	}
	s.Verdict, s.Recovery = fleet.Healthy, &fleet.Recovery{}
	if got, void := decide.Refuted(s); len(got.Evidence) != 3 || void != "" {
		t.Errorf("in the middle of a recovery: %+v left: %s", got.Evidence, void)
	}
}

// What it waits for is awaited from the moment at which it ceased to be healthy, whatever
// was the matter with it since.
func TestAiling(t *testing.T) {
	at := func(s int) time.Time { return time.Unix(int64(s), 0) }
	var s fleet.Status
	for n, c := range []struct {
		verdict fleet.Verdict
		want    time.Time
	}{
		{fleet.Healthy, time.Time{}},
		{fleet.Suspect, time.Time{}},
		{fleet.Impaired, at(2)},
		{fleet.Unknown, at(2)},
		{fleet.Down, at(2)},
		{fleet.Healthy, time.Time{}},
		{fleet.Isolated, at(6)},
	} {
		if s.AilingSince = decide.Ailing(s, c.verdict, at(n)); !s.AilingSince.Equal(c.want) {
			t.Errorf("%d, %s: ailing since %s, want %s", n, c.verdict, s.AilingSince, c.want)
		}
	}
}
