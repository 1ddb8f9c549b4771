package provider_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"relight/internal/core/fence"
	"relight/internal/core/fleet"
	"relight/internal/core/pace"
	"relight/internal/provider"
)

// scripted answers Do by a function and records when it was called.
type scripted struct {
	provider.Provider
	answer func(n int, c provider.Call) error

	mu    sync.Mutex
	calls []string
	at    []time.Time
}

func (s *scripted) Do(_ context.Context, c provider.Call) (provider.Outcome, error) {
	s.mu.Lock()
	s.calls = append(s.calls, c.Step.Server)
	s.at = append(s.at, time.Now())
	n := len(s.calls)
	s.mu.Unlock()
	if s.answer != nil {
		if err := s.answer(n, c); err != nil {
			return provider.Outcome{}, err
		}
	}
	return provider.Outcome{Detail: "done"}, nil
}

func (s *scripted) order() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.calls)
}

func stopCall(server string, priority int) provider.Call {
	c := provider.Call{Step: fleet.Step{Kind: fleet.StepStop, Server: server, Epoch: 1, Token: "t-" + server, Within: fleet.Duration(time.Minute)}}
	c.Server.Name, c.Server.Spec.Priority = server, priority
	return c
}

// inTurn lets every call come in before the next one.
func inTurn(t *testing.T, p provider.Provider, calls ...provider.Call) *sync.WaitGroup {
	t.Helper()
	var wg sync.WaitGroup
	for _, c := range calls {
		wg.Go(func() {
			if _, err := p.Do(t.Context(), c); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
	}
	return &wg
}

// limit paces all calls by one bucket.
func limit(perSecond, burst float64) provider.Limits {
	return provider.Limits{
		APIs: []pace.API{{Name: "API", Requests: pace.Bucket{PerSecond: perSecond, Burst: burst}}},
		Uses: func(provider.Call) []string { return []string{"API"} },
	}
}

func TestPacingGoesByPriorityThenAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := &scripted{}
		p := provider.WithPacing(inner, limit(2, 1), provider.WallClock{})
		begun := time.Now()
		inTurn(t, p, stopCall("first", 0), stopCall("low-1", 1), stopCall("low-2", 1), stopCall("high", 9)).Wait()
		if got, want := inner.order(), []string{"first", "high", "low-1", "low-2"}; !slices.Equal(got, want) {
			t.Fatalf("order %v, want %v", got, want)
		}
		for n, at := range inner.at {
			if want := time.Duration(n) * time.Second / 2; at.Sub(begun).Round(time.Millisecond) != want {
				t.Errorf("call %d went after %s, want %s", n, at.Sub(begun), want)
			}
		}
	})
}

func TestPacingStarvesNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := &scripted{}
		p := provider.WithPacing(inner, limit(0.2, 1), provider.WallClock{})
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		crowd := func(name string) {
			for n := range 30 {
				wg.Go(func() { _, _ = p.Do(ctx, stopCall(fmt.Sprintf("%s-%d", name, n), 2)) })
			}
			synctest.Wait()
		}
		crowd("high") // 150 s of work
		wg.Go(func() { _, _ = p.Do(ctx, stopCall("low", 1)) })
		<-time.After(70 * time.Second)
		crowd("late")
		<-time.After(100 * time.Second)
		synctest.Wait()
		if !slices.Contains(inner.order(), "low") {
			t.Errorf("the low priority did not come to its turn before %v", inner.order())
		}
		cancel()
		wg.Wait()
	})
}

func TestPacingCountsAPIsAndKeepsPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := &scripted{}
		p := provider.WithPacing(inner, provider.Limits{
			APIs: []pace.API{{Name: "Run", Requests: pace.Bucket{PerSecond: 1, Burst: 1}}, {Name: "Tag", Requests: pace.Bucket{PerSecond: 0.1, Burst: 1}}},
			Uses: func(c provider.Call) []string {
				if strings.HasPrefix(c.Step.Server, "both") {
					return []string{"Run", "Tag"}
				}
				return []string{"Run"}
			},
		}, provider.WallClock{})
		inTurn(t, p, stopCall("both-1", 1), stopCall("both-2", 1), stopCall("one", 0)).Wait()
		if got, want := inner.order(), []string{"both-1", "both-2", "one"}; !slices.Equal(got, want) {
			t.Fatalf("order %v, want %v: a call for two buckets starves behind one for one", got, want)
		}
		if d := inner.at[1].Sub(inner.at[0]).Round(time.Millisecond); d != 10*time.Second {
			t.Fatalf("the slower bucket was waited for %s", d)
		}
	})
}

func TestPacingObeysContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := &scripted{}
		p := provider.WithPacing(inner, limit(1, 1), provider.WallClock{})
		inTurn(t, p, stopCall("first", 0)).Wait()
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			_, err := p.Do(ctx, stopCall("given up", 9))
			class, may := provider.ClassOf(err)
			if !errors.Is(err, context.Canceled) || class != provider.Retry || may {
				t.Errorf("error %v, class %s, may %v", err, class, may)
			}
		})
		synctest.Wait()
		behind := inTurn(t, p, stopCall("behind", 0))
		cancel()
		behind.Wait()
		wg.Wait()
		if got := inner.order(); !slices.Equal(got, []string{"first", "behind"}) {
			t.Fatalf("calls %v", got)
		}
		if d := inner.at[1].Sub(inner.at[0]).Round(time.Millisecond); d != time.Second {
			t.Fatalf("the one behind went after %s, want the next token's time", d)
		}
	})
}

// launchCall is a launch on a proof by evidence of now.
func launchCall(t *testing.T, m fleet.Method) provider.Call {
	t.Helper()
	c := stopCall("lic", 1)
	c.Step.Kind, c.Step.Epoch = fleet.StepLaunch, 2
	proof, missing := fence.Prove(c.Server, 1, "", []fleet.Evidence{{Method: m, Server: "lic", Epoch: 1, At: time.Now()}}, time.Now())
	if len(missing) > 0 {
		t.Fatal(missing)
	}
	c.Proof = proof
	return c
}

func TestNoCallGoesOutOnAStaleProof(t *testing.T) {
	for method, wantCalls := range map[fleet.Method]int{fleet.Stopped: 1, fleet.Terminated: 2} {
		synctest.Test(t, func(t *testing.T) {
			inner := &scripted{}
			p := provider.WithPacing(inner, limit(0.05, 1), provider.WallClock{})
			for range 2 {
				c := launchCall(t, method)
				_, err := p.Do(t.Context(), c)
				if class, _ := provider.ClassOf(err); err != nil && class != provider.Refused {
					t.Fatal(err)
				}
			}
			if got := len(inner.order()); got != wantCalls {
				t.Errorf("%s: %d calls went out, want %d", method, got, wantCalls)
			}
		})
		synctest.Test(t, func(t *testing.T) {
			inner := &scripted{answer: func(n int, c provider.Call) error {
				if n == 2 {
					return nil
				}
				return provider.Errorf(provider.Retry, c, "throttled")
			}}
			p := provider.WithRetry(inner, provider.Retries{Base: 20 * time.Second, Max: time.Minute, Jitter: func() float64 { return 0.99 }}, provider.WallClock{})
			_, _ = p.Do(t.Context(), launchCall(t, method))
			if got := len(inner.order()); got != wantCalls {
				t.Errorf("%s: %d tries went out, want %d", method, got, wantCalls)
			}
		})
	}
}

func TestRetry(t *testing.T) {
	fail := func(class provider.Class, may bool, times int) func(int, provider.Call) error {
		return func(n int, c provider.Call) error {
			if n > times {
				return nil
			}
			e := provider.Errorf(class, c, "it failed")
			e.MayHaveHappened = may
			return e
		}
	}
	for _, c := range []struct {
		name    string
		answer  func(int, provider.Call) error
		token   string
		within  time.Duration
		calls   int
		failed  bool
		wantMay bool
	}{
		{"throttled twice", fail(provider.Retry, false, 2), "t", time.Minute, 3, false, false},
		{"throttled without a token", fail(provider.Retry, false, 2), "", time.Minute, 3, false, false},
		{"lost reply with a token", fail(provider.Retry, true, 1), "t", time.Minute, 2, false, false},
		{"lost reply without a token", fail(provider.Retry, true, 1), "", time.Minute, 1, true, true},
		{"unclassed error without a token", func(int, provider.Call) error { return errors.New("reset") }, "", time.Minute, 1, true, true},
		{"capacity", fail(provider.Capacity, false, 9), "t", time.Minute, 1, true, false},
		{"refused", fail(provider.Refused, false, 9), "t", time.Minute, 1, true, false},
		{"conflict", fail(provider.Conflict, false, 9), "t", time.Minute, 1, true, false},
		{"for ever", fail(provider.Retry, false, 99), "t", 8500 * time.Millisecond, 4, true, false},
		{"no time", fail(provider.Retry, false, 99), "t", 0, 1, true, false},
		{"lost, then refused", func(n int, c provider.Call) error {
			e := provider.Errorf(provider.Refused, c, "no")
			if n == 1 {
				e.Class, e.MayHaveHappened = provider.Retry, true
			}
			return e
		}, "t", time.Minute, 2, true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				inner := &scripted{answer: c.answer}
				p := provider.WithRetry(inner, provider.Retries{Base: 2 * time.Second, Max: 3 * time.Second, Jitter: func() float64 { return 0.9999999 }}, provider.WallClock{})
				call := stopCall("lic", 1)
				call.Step.Token, call.Step.Within = c.token, fleet.Duration(c.within)
				_, err := p.Do(t.Context(), call)
				if (err != nil) != c.failed || len(inner.order()) != c.calls {
					t.Fatalf("error %v after %d calls, want failed %v after %d", err, len(inner.order()), c.failed, c.calls)
				}
				if _, may := provider.ClassOf(err); err != nil && may != c.wantMay {
					t.Fatalf("may have happened: %v, want %v (%v)", may, c.wantMay, err)
				}
			})
		})
	}
}

func TestRetryObeysContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := &scripted{answer: func(_ int, c provider.Call) error { return provider.Errorf(provider.Retry, c, "throttled") }}
		p := provider.WithRetry(inner, provider.Retries{Base: time.Hour, Max: time.Hour, Jitter: func() float64 { return 0.5 }}, provider.WallClock{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		call := stopCall("lic", 1)
		call.Step.Within = fleet.Duration(24 * time.Hour)
		begun := time.Now()
		if _, err := p.Do(ctx, call); err == nil || time.Since(begun) != time.Second || len(inner.order()) != 1 {
			t.Fatalf("error %v after %s and %d calls", err, time.Since(begun), len(inner.order()))
		}
	})
}

func TestDryRunTouchesNothing(t *testing.T) {
	inner := &scripted{}
	var recorded []provider.Call
	p := provider.WithDryRun(inner, func(c provider.Call) { recorded = append(recorded, c) })
	out, err := p.Do(t.Context(), stopCall("lic", 1))
	if err != nil || len(out.Evidence) > 0 || len(inner.order()) > 0 || len(recorded) != 1 || recorded[0].Step.Server != "lic" {
		t.Fatalf("outcome %+v, error %v, %d calls, recorded %v", out, err, len(inner.order()), recorded)
	}
	call := stopCall("lic", 1)
	call.Step.Kind = fleet.StepLaunch
	if _, err := p.Do(t.Context(), call); err == nil || len(recorded) != 1 {
		t.Fatalf("a launch without a proof: %v, recorded %d", err, len(recorded))
	}
}
