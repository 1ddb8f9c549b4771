package lease

import (
	"errors"
	"testing"
	"time"

	"pgregory.net/rapid"

	"relight/internal/core/fleet"
)

func TestWatchdogFits(t *testing.T) {
	for _, c := range []struct {
		timeout, lease time.Duration
		fits           bool
	}{
		{5 * time.Second, 15 * time.Second, true}, // the defaults
		{6 * time.Second, 15 * time.Second, false},
		{1 * time.Second, 7 * time.Second, true},
		{1 * time.Second, 6 * time.Second, false},
		{1 * time.Second, 1500 * time.Millisecond, false},
		{0, 15 * time.Second, false},
		{1500 * time.Millisecond, 15 * time.Second, false},
		{-time.Second, 15 * time.Second, false},
	} {
		err := FitWatchdog(c.timeout, c.lease, 10_000, 100*time.Millisecond)
		if c.fits != (err == nil) || err != nil && !errors.Is(err, ErrWatchdog) {
			t.Errorf("%s in a lease of %s: %v", c.timeout, c.lease, err)
		}
	}
}

func TestWatchdogCare(t *testing.T) {
	m := NewIsolation(0)
	one := Instance{"a", 1}
	run := []Instance{one}
	until := WatchedUntil(20*second, 5*time.Second)
	if until != 14*second {
		t.Fatalf("given up at %d", until)
	}
	if WatchedUntil(0, 5*time.Second) != 0 || WatchedUntil(second, 5*time.Second) == 0 {
		t.Error("no lease and one that is nearly over look alike")
	}
	care := func(now int64, running []Instance, want Care) {
		t.Helper()
		m.Step(now, until, running)
		if got := m.Care(running); got != want {
			t.Errorf("at %d: care %d, want %d", now, got, want)
		}
	}
	care(second, nil, Disarm)
	care(second, run, Feed)
	care(until-int64(AskAhead), run, Feed)
	care(until+second/4, run, Starve) // nobody has answered
	until = 60 * second
	care(20*second, run, Starve) // a lease that comes back does not undo a stop
	care(21*second, nil, Disarm)
	care(22*second, []Instance{{"a", 3}}, Feed)
}

// Whatever happens, a host whose heirs never said no was fed for the last time so
// early that it is reset within its lease, even if the stop of its instance fails.
func TestWatchdogResetsWithinTheLease(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const length = 15 * second
		timeout := time.Duration(rapid.IntRange(1, 5).Draw(t, "timeout")) * time.Second
		m, one := NewIsolation(0), Instance{"a", 1}
		now, lease, fed, asked := int64(0), length, int64(0), []Question(nil)
		cut := rapid.Int64Range(0, 10*second).Draw(t, "cut")
		for now < cut+length+second {
			// The guard's own pace, with delays.
			now += rapid.Int64Range(second/4, second/2).Draw(t, "pass")
			if now < cut && rapid.Bool().Draw(t, "renew") {
				lease = now + length
			}
			if len(asked) > 0 && rapid.Bool().Draw(t, "answer") {
				m.Answered(now, asked[0], rapid.SampledFrom([]fleet.Answer{fleet.Yes, fleet.CannotTell}).Draw(t, "say"))
				asked = nil
			}
			if v := m.Step(now, WatchedUntil(lease, timeout), []Instance{one}); len(v.Ask) > 0 {
				asked = v.Ask
			}
			if m.Care([]Instance{one}) == Feed {
				fed = now
			}
			if fed+int64(timeout) > lease {
				t.Fatalf("fed at %d with a time-out of %s: the lease ends at %d", fed, timeout, lease)
			}
		}
	})
}
