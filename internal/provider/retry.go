package provider

import (
	"context"
	"errors"
	"time"
)

// Retries say how WithRetry waits between tries.
type Retries struct {
	// Base bounds the first wait; each further bound doubles, up to Max.
	Base, Max time.Duration
	// Jitter draws from [0, 1): each wait is that part of its bound, so that many
	// that failed together do not come back together. It is called from many
	// goroutines.
	Jitter func() float64
}

// WithRetry wraps a provider so that a Do that failed with class Retry is tried
// again within Step.Within: only if it certainly had no effect, or if the step has
// a token, which makes a replay of the identical call safe (S7). Once a try may
// have had its effect, the final error says so too, whatever the later tries said.
// A step without Within is tried once.
func WithRetry(inner Provider, retries Retries, clock Clock) Provider {
	return &retrier{Provider: inner, retries: retries, clock: clock}
}

type retrier struct {
	Provider
	retries Retries
	clock   Clock
}

// Do implements Provider.
func (r *retrier) Do(ctx context.Context, call Call) (Outcome, error) {
	end := r.clock.Now().Add(call.Step.Within.Std())
	mayHave := false
	for bound := r.retries.Base; ; bound = min(2*bound, r.retries.Max) {
		out, err := r.Provider.Do(ctx, call)
		if err == nil {
			return out, nil
		}
		class, may := ClassOf(err)
		mayHave = mayHave || may
		wait := time.Duration(r.retries.Jitter() * float64(bound))
		again := class == Retry && (!mayHave || call.Step.Token != "") && r.clock.Now().Add(wait).Before(end)
		if !again || ctx.Err() != nil || r.clock.Pause(ctx, wait, nil) != nil || checkFresh(call, r.clock.Now()) != nil {
			return Outcome{}, unsureIf(mayHave, err)
		}
	}
}

// unsureIf marks the last error with what an earlier try may have done.
func unsureIf(mayHave bool, err error) error {
	var e *Error
	if !mayHave || !errors.As(err, &e) || e.MayHaveHappened {
		return err // an error that no adapter classed counts as unsure anyway
	}
	unsure := *e
	unsure.MayHaveHappened = true
	return &unsure
}
