package controller

import (
	"context"
	"errors"
	"testing"

	"relight/internal/core/fleet"
	"relight/internal/provider"
)

// TestWhoCouldNotBeAskedDidNothing: a question that got no answer in time has had no effect,
// and a server that comes back meanwhile may go on. A call that got none may have had one.
func TestWhoCouldNotBeAskedDidNothing(t *testing.T) {
	call := provider.Call{Step: fleet.Step{Kind: fleet.StepSeal, Server: "a", Epoch: 1}}
	for _, c := range []struct {
		name  string
		err   error
		state fleet.StepState
		away  bool
	}{
		{"no answer to the question", provider.Errorf(provider.Retry, call, "array san-1 %w: %w", provider.ErrAway, context.DeadlineExceeded), fleet.StepFailed, true},
		{"refused at once", provider.Errorf(provider.Retry, call, "array san-1 %w: %w", provider.ErrAway, errors.New("connection refused")), fleet.StepFailed, true},
		{"no answer to the call", provider.Errorf(provider.Retry, call, "%w", context.DeadlineExceeded), fleet.StepUnknown, false},
		{"no answer at all", context.DeadlineExceeded, fleet.StepUnknown, false},
		{"not authorised", provider.Errorf(provider.Refused, call, "not authorised"), fleet.StepFailed, false},
	} {
		if r := resultOf(provider.Outcome{}, c.err); r.State != c.state || r.Away != c.away {
			t.Errorf("%s: %s, away %t", c.name, r.State, r.Away)
		}
	}
}
