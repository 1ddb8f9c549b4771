package providertest

import (
	"context"

	"relight/internal/core/fence"
	"relight/internal/core/fleet"
	"relight/internal/provider"
)

func startCases() []Case {
	return []Case{
		{Name: "launch/needs a proof", Run: launchNeedsProof},
		{Name: "launch/refuses a lower term", Run: refusesLowerTerm},
		{Name: "launch/refuses a lower epoch", Run: refusesLowerEpoch},
		{Name: "launch/refuses a proof that skips a living epoch", Run: refusesSkippedEpoch},
		{Name: "launch/says when it has no capacity", Run: saysCapacity},
		{Name: "launch/names what is not there", Run: namesUnknown},
		{Name: "launch/does nothing for a call that was given up", Run: obeysContext},
		{Name: "launch/waits for its volumes", Skip: lacksAttachFirst, Run: launchAfterAttach},
	}
}

func lacksAttachFirst(h Harness) string {
	if !h.Provider.Traits().AttachFirst {
		return "its volumes are attached after the launch"
	}
	return ""
}

func launchNeedsProof(t T, h Harness) {
	s := newSuite(t, h)
	other := newSuite(t, h)
	bad := map[string]fence.Proof{
		"no proof": {}, "a proof for another server": other.first(),
		"a proof of the same epoch": s.attested(2), "a proof of a later epoch": s.attested(3),
	}
	for why, proof := range bad {
		for _, call := range s.calls(2, s.host(0), proof) {
			s.refuses(why, call, provider.Refused)
		}
	}
	s.wantRunning()
	for _, v := range s.server.Spec.Identity.Volumes {
		if got := h.Holders(s.server, v.Name); len(got) > 0 {
			s.Fatalf("volume %s went to %v without a proof", v.Name, got)
		}
	}
}

func refusesLowerTerm(t T, h Harness) {
	s := newSuite(t, h)
	s.term = 5
	s.up(1, s.host(0), s.first())
	s.term = 4
	s.refuses("a lower term", s.stopCall(1, s.host(0)), provider.Refused)
	s.wantRunning(1)
	s.term = 5
	s.stop(s.stopCall(1, s.host(0)))
}

func refusesLowerEpoch(t T, h Harness) {
	s := newSuite(t, h)
	s.up(1, s.host(0), s.first())
	proof := s.stop(s.stopCall(1, s.host(0)))
	s.up(2, s.host(0), proof)
	again := s.calls(1, s.host(0), s.first())
	for n := range again {
		again[n].Step.Token += "-again" // no replay: a decider that knows no better
		s.refuses("a lower epoch", again[n], provider.Refused)
	}
	s.wantRunning(2)
	s.holds(2)
}

// refusesSkippedEpoch is the store that lost its records: it believes that nothing
// was ever started.
func refusesSkippedEpoch(t T, h Harness) {
	s := newSuite(t, h)
	s.up(1, s.host(0), s.first())
	for _, call := range s.calls(3, s.host(0), s.first()) {
		s.refuses("a proof about nothing while epoch 1 runs", call, provider.Refused, provider.Conflict)
	}
	s.wantRunning(1)
	s.holds(1)
}

func saysCapacity(t T, h Harness) {
	s := newSuite(t, h)
	if s.server.Spec.Placement.Units = 1 << 20; h.Fill != nil {
		h.Fill(s.server)
	}
	s.refuses("a server larger than any host", s.calls(1, s.host(0), s.first())[0], provider.Capacity)
	s.wantRunning()
}

func namesUnknown(t T, h Harness) {
	s := newSuite(t, h)
	s.refuses("an epoch that nobody ever started", s.stopCall(1, s.host(0)), provider.NotFound)
	if s.traits.Places {
		s.refuses("a host that nobody knows", s.calls(1, "no-such-host", s.first())[0], provider.NotFound)
	}
	s.refuses("work that is the store's", s.call(fleet.StepClimb, 1, s.host(0), fleet.Object{}, fence.Proof{}), provider.Permanent)
	s.wantRunning()
}

func obeysContext(t T, h Harness) {
	s := newSuite(t, h)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for _, call := range s.calls(1, s.host(0), s.first()) {
		_, err := h.Provider.Do(ctx, call)
		if class, _ := provider.ClassOf(err); err == nil || (class != provider.Retry && class != provider.Conflict && class != provider.NotFound) {
			s.Fatalf("%s after its context ended: %v (class %s)", call.Step.Kind, err, class)
		}
	}
	if _, err := h.Provider.Observe(ctx, []fleet.Server{s.server}); err == nil {
		s.Fatalf("a sweep succeeded after its context had ended")
	}
	s.up(1, s.host(0), s.first())
}

func launchAfterAttach(t T, h Harness) {
	s := newSuite(t, h)
	calls := s.calls(1, s.host(0), s.first())
	s.refuses("a launch before its volumes came", calls[len(calls)-1], provider.Conflict)
	s.wantRunning()
}
