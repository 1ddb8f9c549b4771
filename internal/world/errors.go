package world

import (
	"errors"
	"fmt"
)

// What the world answers when it cannot do what it was asked.
var (
	ErrNotFound    = errors.New("not there")
	ErrConflict    = errors.New("in another state or in other hands")
	ErrCapacity    = errors.New("no capacity")
	ErrUnreachable = errors.New("does not answer")
	ErrSealed      = errors.New("sealed or owned by a later epoch")
	// ErrThrottled: the call was not carried out, for want of tokens.
	ErrThrottled = errors.New("too many requests")
	// ErrUnavailable: the platform's API fails for that site.
	ErrUnavailable = errors.New("the API fails")
)

// Special cases of the answers above, for a face that must name them as its
// platform does. errors.Is finds both the case and its class.
var (
	ErrVolumeInUse    = fmt.Errorf("volume in use: %w", ErrConflict)
	ErrVolumeState    = fmt.Errorf("volume or snapshot in the wrong state: %w", ErrConflict)
	ErrInstanceState  = fmt.Errorf("instance in the wrong state: %w", ErrConflict)
	ErrInterfaceInUse = fmt.Errorf("interface in use: %w", ErrConflict)
	ErrAssociated     = fmt.Errorf("address already associated: %w", ErrConflict)
	ErrTokenMismatch  = fmt.Errorf("same token, other request: %w", ErrConflict)
	ErrTokenEnded     = fmt.Errorf("the token's object is gone: %w", ErrConflict)
	ErrReservation    = fmt.Errorf("reservation conflict: %w", ErrConflict)
	ErrZoneMismatch   = fmt.Errorf("in another zone: %w", ErrUnreachable)
	ErrLoginRefused   = fmt.Errorf("login refused: %w", ErrUnreachable)
	ErrNoSession      = fmt.Errorf("session gone: %w", ErrUnreachable)
	ErrOffline        = fmt.Errorf("unit offline: %w", ErrUnreachable)
	ErrNotAttached    = fmt.Errorf("not attached: %w", ErrNotFound)
	ErrNoUnit         = fmt.Errorf("no such unit for this initiator: %w", ErrNotFound)
	ErrInsufficient   = fmt.Errorf("insufficient instance capacity: %w", ErrCapacity)
	ErrUnsupported    = errors.New("not supported")
	ErrReplyLost      = fmt.Errorf("the reply was lost: %w", ErrUnreachable)
)
