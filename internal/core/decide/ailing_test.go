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
