package decide

import (
	"testing"
	"time"

	"relight/internal/core/fleet"
)

func TestALongSweepGivesRoom(t *testing.T) {
	for lag, want := range map[time.Duration]time.Duration{0: 10 * time.Second, 15 * time.Second: 40 * time.Second} {
		v := View{Observed: fleet.Observed{Lag: fleet.Duration(lag)}}
		if got := staleAfter(v); got != want {
			t.Errorf("after a sweep of %s what was seen is stale after %s, want %s", lag, got, want)
		}
	}
}
