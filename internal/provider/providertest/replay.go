package providertest

import (
	"context"
	"slices"
	"sync"

	"github.com/google/go-cmp/cmp"

	"relight/internal/core/fleet"
)

func replayCases() []Case {
	return []Case{
		{Name: "replay/leaves one object and says the same", Run: replaySame},
		{Name: "replay/starts nothing after a stop", Run: replayAfterStop},
		{Name: "replay/at the same moment leaves one object", Run: replayTogether},
		{Name: "replay/another launch of the same epoch makes no second object", Run: secondLaunch},
		{Name: "replay/claims nothing for a token of another request", Run: tokenOfAnother},
	}
}

func replaySame(t T, h Harness) {
	s := newSuite(t, h)
	outcomes := s.up(1, s.host(0), s.first())
	for n, call := range s.calls(1, s.host(0), s.first()) {
		again, err := s.do(call)
		if err != nil {
			s.Fatalf("the replay of %s failed: %v", call.Step.Kind, err)
		}
		if diff := cmp.Diff(outcomes[n], again); diff != "" {
			s.Fatalf("the replay of %s answered differently: %s", call.Step.Kind, diff)
		}
	}
	s.wantRunning(1)
	s.holds(1)
}

// replayAfterStop is the call that was on its way while its epoch was ended.
func replayAfterStop(t T, h Harness) {
	s := newSuite(t, h)
	s.up(1, s.host(0), s.first())
	s.stop(s.stopCall(1, s.host(0)))
	for _, call := range s.calls(1, s.host(0), s.first()) {
		_, _ = s.do(call) // it may fail or repeat its old answer
		call.Step.Token += "-late"
		if _, err := s.do(call); err == nil {
			s.Fatalf("%s worked for an epoch that was ended", call.Step.Kind)
		}
	}
	s.wantRunning()
	for _, v := range s.server.Spec.Identity.Volumes {
		if got := h.Holders(s.server, v.Name); len(got) > 0 {
			s.Fatalf("volume %s went to %v after the stop", v.Name, got)
		}
	}
}

func replayTogether(t T, h Harness) {
	s := newSuite(t, h)
	for _, call := range s.calls(1, s.host(0), s.first()) {
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() { _, _ = h.Provider.Do(context.Background(), call) })
		}
		wg.Wait()
		s.must(call)
		if call.Step.Kind == fleet.StepLaunch {
			s.runs(1)
		}
	}
	s.wantRunning(1)
	s.holds(1)
}

func secondLaunch(t T, h Harness) {
	s := newSuite(t, h)
	s.up(1, s.host(0), s.first())
	for _, call := range s.calls(1, s.host(0), s.first()) {
		call.Step.Token += "-second"
		_, _ = s.do(call) // refused or already so, but never a second one
	}
	s.wantRunning(1)
	s.holds(1)
}

// tokenOfAnother is a decider that gives two steps one token: an answer from
// memory would claim what was never done.
func tokenOfAnother(t T, h Harness) {
	s := newSuite(t, h)
	token := ""
	for _, c := range s.calls(1, s.host(0), s.first()) {
		if c.Step.Object.Address == "" {
			if c.Step.Kind == fleet.StepLaunch && s.traits.AttachFirst {
				break
			}
			s.must(c)
			if c.Step.Kind == fleet.StepLaunch {
				s.runs(1)
			} else {
				token = c.Step.Token
			}
			continue
		}
		c.Step.Token = token
		if out, err := s.do(c); err == nil {
			s.eventually("what was claimed of a step with another's token: "+out.Detail, func() bool {
				return slices.ContainsFunc(s.observe().Observed.Addresses, func(a fleet.AddressState) bool { return a.Holder == 1 })
			})
		}
	}
}
