package provider_test

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"relight/internal/core/pace"
	"relight/internal/provider"
)

// Those that ask for their turn wait without a goroutine, and in the same order as
// those that wait in Do.
func TestTurnsComeByPriority(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := &scripted{}
		p := provider.WithPacing(inner, limit(1, 1), provider.WallClock{})
		do := func(c provider.Call) {
			if _, err := p.Do(t.Context(), c); err != nil {
				t.Fatal(err)
			}
		}
		if !p.Turn(stopCall("first", 0), time.Time{}) {
			t.Fatal("nobody waits, and the first one must")
		}
		for _, c := range []provider.Call{stopCall("low", 1), stopCall("high", 9)} {
			for range 2 {
				if p.Turn(c, time.Time{}) {
					t.Fatalf("%s goes without a token", c.Step.Server)
				}
			}
		}
		begun := time.Now()
		do(stopCall("first", 0))
		if due := p.Due(); len(due) > 0 || p.Waiting() != 2 || time.Now() != begun {
			t.Fatalf("due %v, waiting %d", due, p.Waiting())
		}
		var due []string
		for range 20 {
			<-time.After(100 * time.Millisecond)
			due = append(due, p.Due()...)
		}
		if !slices.Equal(due, []string{"high", "low"}) {
			t.Fatalf("due %v", due)
		}
		if !p.Turn(stopCall("low", 1), time.Time{}) {
			t.Fatal("its turn has come")
		}
		at := time.Now()
		do(stopCall("low", 1))
		do(stopCall("high", 9))
		if time.Now() != at {
			t.Error("a call waits though its turn has come")
		}
	})
}

func TestATurnThatNobodyTakesIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := provider.WithPacing(&scripted{}, limit(1, 1), provider.WallClock{})
		p.Turn(stopCall("gone", 0), time.Time{})
		<-time.After(11 * time.Second)
		p.Due()
		if p.Turn(stopCall("other", 0), time.Time{}); p.Turn(stopCall("gone", 0), time.Time{}) {
			t.Error("a turn is kept for ever")
		}
	})
}

// A call that stops asking and waits in Do takes one token, not two.
func TestAskedThenWaited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := &scripted{}
		p := provider.WithPacing(inner, limit(1, 1), provider.WallClock{})
		begun := time.Now()
		inTurn(t, p, stopCall("first", 0)).Wait()
		p.Turn(stopCall("second", 0), time.Time{})
		inTurn(t, p, stopCall("second", 0), stopCall("third", 0)).Wait()
		if d := time.Since(begun).Round(time.Millisecond); d != 2*time.Second {
			t.Errorf("three calls took %s", d)
		}
	})
}

// A waiter with a bucket of its own must not sleep until the first one's is full.
func TestAQuickBucketDoesNotWaitForASlowOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := &scripted{}
		p := provider.WithPacing(inner, provider.Limits{
			APIs: []pace.API{{Name: "slow", Requests: pace.Bucket{PerSecond: 0.01, Burst: 1}}, {Name: "quick", Requests: pace.Bucket{PerSecond: 1, Burst: 1}}},
			Uses: func(c provider.Call) []string { return []string{strings.TrimRight(c.Step.Server, "-2")} },
		}, provider.WallClock{})
		inTurn(t, p, stopCall("slow", 0), stopCall("quick", 0), stopCall("slow-2", 0), stopCall("quick-2", 0)).Wait()
		if d := inner.at[2].Sub(inner.at[0]).Round(time.Millisecond); inner.order()[2] != "quick-2" || d != time.Second {
			t.Errorf("%v, the third after %s", inner.order(), d)
		}
	})
}

func TestPacingLearnsFromRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := &scripted{answer: func(n int, c provider.Call) error {
			if n <= 3 {
				return provider.Errorf(provider.Retry, c, "%w", provider.ErrThrottled)
			}
			return nil
		}}
		p := provider.WithPacing(inner, limit(1, 1), provider.WallClock{})
		for range 4 {
			_, _ = p.Do(t.Context(), stopCall("lic", 0))
		}
		if d := inner.at[3].Sub(inner.at[2]); d <= 1200*time.Millisecond {
			t.Errorf("after three refusals the next call goes after %s", d)
		}
	})
}
