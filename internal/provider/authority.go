package provider

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"relight/internal/core/fleet"
)

// WithAuthority wraps a provider so that no call passes that lacks its proof,
// that carries an older term than one seen before, or that starts after allowed
// says no (the controller's lease has run out, S10). It is the outermost wrapper. Adapters
// ask once more by [Leased]: a call waits, asks and is tried again for longer than a lease.
func WithAuthority(inner Provider, allowed func(context.Context) error) Provider {
	return &authority{Provider: inner, allowed: allowed}
}

type authority struct {
	Provider
	allowed func(context.Context) error

	mu   sync.Mutex
	term fleet.Term
}

// Do implements Provider.
func (a *authority) Do(ctx context.Context, call Call) (Outcome, error) {
	if err := CheckProof(call); err != nil {
		return Outcome{}, err
	}
	if err := a.checkTerm(call); err != nil {
		return Outcome{}, err
	}
	if err := a.allowed(ctx); err != nil {
		// Nobody refused anything: it is our own absence, and no fault of the place or the
		// rung. Whoever has the next term makes the same call.
		return Outcome{}, &Error{Class: Retry, Op: string(call.Step.Kind), Object: ObjectOf(call), Err: err}
	}
	return a.Provider.Do(context.WithValue(ctx, leaseKey{}, a.allowed), call)
}

// ErrLeaseOver: a request was not sent, because the controller's lease ended after its
// call had begun.
var ErrLeaseOver = errors.New("not sent")

type leaseKey struct{}

// Leased is asked right before each request that changes anything of whoever knows no
// terms: a cloud, an array, a power device. Time may have passed since the call began, also
// unseen: in a wait for a token or for an answer, or because the machine was suspended
// (S10). Requests that belong to no call of a controller are not asked about.
func Leased(ctx context.Context) error {
	allowed, ok := ctx.Value(leaseKey{}).(func(context.Context) error)
	if !ok {
		return nil
	}
	if err := allowed(ctx); err != nil {
		return fmt.Errorf("%w: %w", ErrLeaseOver, err)
	}
	return nil
}

func (a *authority) checkTerm(call Call) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if call.Term < a.term {
		return Errorf(Refused, call, "the controller's term %d is older than %d, which was seen already", call.Term, a.term)
	}
	a.term = call.Term
	return nil
}

// CheckProof refuses a call that starts or attaches without a proof for the
// epoch before (invariant S2). Adapters call it too: a missing wrapper must not
// open the door.
func CheckProof(call Call) error {
	if !call.Step.Kind.NeedsProof() {
		return nil
	}
	if !call.Proof.Covers(call.Step.Server, call.Step.Epoch) {
		return Errorf(Refused, call, "no proof that the epoch before %d is dead", call.Step.Epoch)
	}
	return nil
}
