package provider

import (
	"errors"
	"fmt"
)

// Class says what an error of a provider means for the recovery. Adapters class
// each error once, at the edge; nothing above looks at an error's text.
type Class string

// The classes.
const (
	// Retry: throttled, timed out, unreachable; the same call may work later.
	Retry Class = "retry"
	// Capacity: this place is full; another may not be.
	Capacity Class = "capacity"
	// Quota: the platform lets the account have no more, in whatever place; another place
	// would refuse it as well.
	Quota Class = "quota"
	// NotFound: the object is not there (yet; fresh objects may be invisible).
	NotFound Class = "notFound"
	// Conflict: the object is in another state or in other hands.
	Conflict Class = "conflict"
	// Refused: not allowed by rights, term, epoch, seal or proof.
	Refused Class = "refused"
	// Permanent: the call can never work as it is.
	Permanent Class = "permanent"
)

// ErrThrottled is the cause of an error of class Retry by which the platform refused
// a call for want of tokens: WithPacing learns from it.
var ErrThrottled = errors.New("too many requests")

// ErrAway is the cause of an error of class Retry: who had to carry the call out could not
// be asked at all, so nothing was done. As soon as it can be asked again, the call is worth
// to be made again; who answers and refuses is left alone for the back-off of its source.
var ErrAway = errors.New("cannot be asked")

// ClassRow says of which class an adapter's own error is.
type ClassRow struct {
	Is    error
	Class Class
}

// Classify returns the class of the first row that the error is of. One that no row
// names is classed as ClassOf does: to be retried, and it may have happened.
func Classify(err error, rows []ClassRow) (class Class, mayHaveHappened bool) {
	for _, r := range rows {
		if errors.Is(err, r.Is) {
			return r.Class, false
		}
	}
	return Retry, true
}

// Error is a classed error of one call.
type Error struct {
	Class Class
	// Op and Object name what was tried, such as "launch" and "lic-01.3 on host-2".
	Op, Object string
	// MayHaveHappened is true if the effect cannot be excluded: a lost reply.
	// Only an observation can tell then.
	MayHaveHappened bool
	Err             error
}

// Error implements error.
func (e *Error) Error() string {
	msg := fmt.Sprintf("%s %s: %v", e.Op, e.Object, e.Err)
	if e.MayHaveHappened {
		msg += " (it may have happened all the same)"
	}
	return msg
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Errorf makes a classed error for the call.
func Errorf(class Class, call Call, format string, args ...any) *Error {
	return &Error{Class: class, Op: string(call.Step.Kind), Object: ObjectOf(call), Err: fmt.Errorf(format, args...)}
}

// ObjectOf names what a call acts on.
func ObjectOf(call Call) string {
	s := fmt.Sprintf("%s.%d", call.Step.Server, call.Step.Epoch)
	if o := call.Step.Object.String(); o != "" {
		s = o + " of " + s
	}
	if call.Step.Host != "" {
		s += " on " + call.Step.Host
	}
	return s
}

// ClassOf returns the error's class. An error that no adapter classed counts as
// Retry that may have happened: the careful reading of the unknown.
func ClassOf(err error) (class Class, mayHaveHappened bool) {
	var e *Error
	if errors.As(err, &e) {
		return e.Class, e.MayHaveHappened
	}
	return Retry, true
}
