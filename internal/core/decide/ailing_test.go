package decide_test

import (
	"testing"
	"time"

	"relight/internal/core/decide"
	"relight/internal/core/fleet"
)

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

func TestWellUntil(t *testing.T) {
	then := time.Date(2031, 1, 1, 0, 0, 0, 0, time.UTC)
	now := then.Add(time.Hour)
	for change, want := range map[[2]fleet.Verdict]time.Time{
		{fleet.Healthy, fleet.Suspect}:   now,
		{fleet.Healthy, fleet.Down}:      now,
		{fleet.Isolated, fleet.Unknown}:  now,
		{fleet.Isolated, fleet.Down}:     then,
		{fleet.Down, fleet.Unknown}:      then,
		{fleet.Unknown, fleet.Down}:      then,
		{fleet.Suspect, fleet.Down}:      then,
		{fleet.Suspect, fleet.Healthy}:   then,
		{fleet.Unknown, fleet.Unknown}:   then,
		{fleet.Impaired, fleet.Isolated}: then,
	} {
		if got := decide.WellUntil(fleet.Status{Verdict: change[0], WellUntil: then}, change[1], now); !got.Equal(want) {
			t.Errorf("%s, then %s: well until %s, want %s", change[0], change[1], got, want)
		}
	}
}
