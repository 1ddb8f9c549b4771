package detect_test

import (
	"testing"
	"time"

	"relight/internal/core/detect"
	"relight/internal/core/fleet"
)

// What a sweep of many servers saw is as old as the sweep is long, and the next comes
// as late: it must not be called stale before. Beats come by themselves.
func TestALongSweepIsNotStale(t *testing.T) {
	now := time.Date(2031, 5, 1, 12, 0, 0, 0, time.UTC)
	judge := func(lag, age time.Duration, c fleet.Channel) fleet.Verdict {
		in := detect.Input{
			Server:   fleet.Server{Name: "lic"},
			Status:   fleet.Status{Server: "lic", Epoch: 1},
			Observed: fleet.Observed{Server: "lic", At: now.Add(-age), Complete: true, Lag: fleet.Duration(lag)},
			Signals: []fleet.Signal{{
				Source: fleet.Source{Channel: c, Vantage: "eu-west-1"}, Question: fleet.Alive, Answer: fleet.No, CannotLie: c == fleet.ChannelProvider, Epoch: 1,
				At: now.Add(-age), Since: now.Add(-age - time.Hour),
			}},
		}
		in.Server.Spec.Health.SuspectAfter, in.Server.Spec.Health.DownAfter = fleet.Duration(20*time.Second), fleet.Duration(30*time.Second)
		return detect.Judge(in, now).Verdict
	}
	for _, row := range []struct {
		lag, age time.Duration
		down     bool
	}{
		{0, 10 * time.Second, true},
		{0, 30 * time.Second, false},
		{15 * time.Second, 30 * time.Second, true},
		{15 * time.Second, 51 * time.Second, false},
	} {
		if got := judge(row.lag, row.age, fleet.ChannelProvider); (got == fleet.Down) != row.down {
			t.Errorf("sweep of %s, %s old: %s", row.lag, row.age, got)
		}
	}
}
