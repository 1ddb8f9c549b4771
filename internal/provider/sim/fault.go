package sim

import (
	"context"
	"errors"
	"time"

	"relight/internal/core/fleet"
	"relight/internal/provider"
)

// FaultKind is one way in which a call can go wrong.
type FaultKind string

// The faults. For Do: all but StaleRead and Partial. For Observe: Throttle,
// ServerError, the timeouts, StaleRead, Partial, NotFound and the crashes.
const (
	None          FaultKind = ""
	Throttle      FaultKind = "throttle"
	ServerError   FaultKind = "serverError"
	TimeoutBefore FaultKind = "timeoutBefore" // no effect, and nobody can tell
	TimeoutAfter  FaultKind = "timeoutAfter"  // effect, and nobody can tell
	LostReply     FaultKind = "lostReply"     // effect, and an error that no adapter classed
	Capacity      FaultKind = "capacity"
	Refused       FaultKind = "refused"
	WrongState    FaultKind = "wrongState"
	// NotFound: a Do answers that the object is not there though it is; an
	// Observe misses the instances, as a fresh object is missed at first.
	NotFound FaultKind = "notFound"
	// StaleRead: an Observe answers with what was so Age ago, as if it were new.
	StaleRead FaultKind = "staleRead"
	// Partial: an Observe misses a part and says so.
	Partial     FaultKind = "partial"
	CrashBefore FaultKind = "crashBefore"
	CrashAfter  FaultKind = "crashAfter"
	// Late: no answer, and the call arrives Age later, when nobody expects it.
	Late FaultKind = "late"
	// Doubled: the call arrives once more, Age after the first time.
	Doubled FaultKind = "doubled"
)

// DoFaults are those that make sense for Do, for tests that try each.
func DoFaults() []FaultKind {
	return []FaultKind{
		Throttle, ServerError, TimeoutBefore, TimeoutAfter, LostReply, Capacity, Refused, WrongState, NotFound, CrashBefore, CrashAfter,
	}
}

// ObserveFaults are those that make sense for Observe.
func ObserveFaults() []FaultKind {
	return []FaultKind{Throttle, ServerError, TimeoutBefore, StaleRead, Partial, NotFound, CrashBefore, CrashAfter}
}

// Fault is what happens to one call.
type Fault struct {
	Kind FaultKind
	// Age is how old a StaleRead is, or how late a Late or Doubled call.
	Age time.Duration
}

// StepObserve is the kind of the call that Faults sees for an Observe.
const StepObserve fleet.StepKind = "observe"

// Faults chooses what happens to the n-th call of a provider, from 1, counting
// Do and Observe together. It runs under the world's lock.
type Faults func(call provider.Call, n int) Fault

var (
	errThrottled = provider.ErrThrottled
	errServer    = errors.New("internal error (500)")
	errTimeout   = errors.New("no answer in time")
	errReset     = errors.New("connection reset")
)

func (p *Provider) draw(call provider.Call) Fault {
	p.calls++
	if p.opts.Faults == nil {
		return Fault{}
	}
	return p.opts.Faults(call, p.calls)
}

// before returns the error with which a fault ends a call before its effect.
func (p *Provider) before(call provider.Call, f Fault) error {
	switch f.Kind {
	case Throttle:
		return provider.Errorf(provider.Retry, call, "%w", errThrottled)
	case ServerError:
		return unsure(call, errServer)
	case TimeoutBefore:
		return unsure(call, errTimeout)
	case Late:
		p.again(call, f.Age)
		return unsure(call, errTimeout)
	case Doubled:
		p.again(call, f.Age)
		return nil
	case Capacity:
		return provider.Errorf(provider.Capacity, call, "no capacity here")
	case Refused:
		return provider.Errorf(provider.Refused, call, "not authorised")
	case WrongState:
		return provider.Errorf(provider.Conflict, call, "wrong state")
	case NotFound:
		return provider.Errorf(provider.NotFound, call, "not there yet")
	case CrashBefore:
		return p.crash()
	default:
		return nil
	}
}

// after returns the error with which a fault hides an effect.
func (p *Provider) after(call provider.Call, f Fault) error {
	switch f.Kind {
	case TimeoutAfter:
		return unsure(call, errTimeout)
	case LostReply:
		return errReset
	case CrashAfter:
		return p.crash()
	default:
		return nil
	}
}

// again lets the call arrive later, as a network delivers it: whoever sent it has
// given up on it, or is dead.
func (p *Provider) again(call provider.Call, after time.Duration) {
	p.w.After(after, func() { _, _ = p.execute(call) })
}

func (p *Provider) crash() error {
	p.crashed = true
	if p.opts.OnCrash != nil {
		p.opts.OnCrash()
	}
	return crashed()
}

// crashed is permanent: nothing retries for a controller that is no more.
func crashed() error {
	return &provider.Error{Class: provider.Permanent, Op: "call", Object: "any", MayHaveHappened: true, Err: ErrCrashed}
}

func unsure(call provider.Call, cause error) error {
	err := provider.Errorf(provider.Retry, call, "%w", cause)
	err.MayHaveHappened = true
	return err
}

// alive refuses calls of a controller that crashed, or gave up already.
func (p *Provider) alive(ctx context.Context, call provider.Call) error {
	if p.crashed {
		return crashed()
	}
	if err := ctx.Err(); err != nil {
		return provider.Errorf(provider.Retry, call, "%w", err)
	}
	if !p.opts.AttachFirst && p.lost() {
		return unsure(call, errTimeout)
	}
	return nil
}
