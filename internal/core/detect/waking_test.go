package detect_test

import (
	"slices"
	"testing"
	"time"

	"relight/internal/core/detect"
	"relight/internal/core/fleet"
)

// A yes that is read as the controller wakes may have waited since before it stood still:
// it is as old as that, whatever its date.
func TestAYesIsAsOldAsItMayBe(t *testing.T) {
	now := time.Date(2031, 5, 1, 12, 0, 0, 0, time.UTC)
	for _, row := range []struct {
		read, stall, oldest time.Duration
	}{
		{2 * time.Second, 0, 2 * time.Second},
		{2 * time.Second, 2 * time.Minute, 2*time.Minute + 2*time.Second},
		{500 * time.Millisecond, 2 * time.Minute, 500 * time.Millisecond}, // more than a second after it woke
	} {
		in := detect.Input{
			Server: fleet.Server{Name: "lic"},
			Status: fleet.Status{Server: "lic", Epoch: 1},
			Signals: []fleet.Signal{{
				Source: fleet.Source{Channel: fleet.ChannelProvider, Vantage: "eu-west-1"}, Question: fleet.Alive, Answer: fleet.Yes,
				Epoch: 1, At: now, Since: now,
			}, {
				Source: fleet.Source{Channel: fleet.ChannelApp, Vantage: "guest"}, Question: fleet.Works, Answer: fleet.Yes,
				Epoch: 1, At: now.Add(-row.read), Since: now.Add(-row.read),
			}},
		}
		in.Server.Spec.Health.SuspectAfter = fleet.Duration(20 * time.Second)
		in.Server.Spec.Health.Check.HTTP = "http://10.0.0.1/"
		if row.stall > 0 {
			in.Observer.StalledAt, in.Observer.Stall = now.Add(-2*time.Second), row.stall
		}
		f := detect.Judge(in, now)
		at := slices.IndexFunc(f.Evidence, func(s fleet.Signal) bool { return s.Question == fleet.Works })
		if at < 0 || f.Verdict != fleet.Healthy {
			t.Fatalf("judged %s by %v: %s", f.Verdict, f.Evidence, f.Reason)
		}
		if got := now.Sub(f.Evidence[at].At); got != row.oldest {
			t.Errorf("read %s ago after a stall of %s: %s old, want %s", row.read, row.stall, got, row.oldest)
		}
	}
}
