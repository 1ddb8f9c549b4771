package beat

import "errors"

// Reason says why a datagram or an item was dropped. Dropped datagrams are
// counted and never answered, so that the receiver is no oracle and no amplifier.
type Reason uint8

// The reasons.
const (
	// Short is a datagram too short or too long to be one of ours.
	Short Reason = iota
	// WrongVersion is a version or type byte that this receiver does not speak.
	WrongVersion
	// UnknownAgent is an agent without a key.
	UnknownAgent
	// BadTag is a datagram that was not sealed with the agent's key.
	BadTag
	// Replay is a counter that was taken before or is too old to tell.
	Replay
	// Malformed is a sealed datagram whose content does not parse.
	Malformed
	// ForeignItem is an item about a server of which the agent may not speak (S13).
	ForeignItem
	// StaleItem is an item from a datagram that a newer one had overtaken.
	StaleItem
	// reasons is their number.
	reasons
)

// String returns the reason as a metric label.
func (r Reason) String() string {
	names := [reasons]string{
		"short", "wrong_version", "unknown_agent", "bad_tag",
		"replay", "malformed", "foreign_item", "stale_item",
	}
	if int(r) < len(names) {
		return names[r]
	}
	return "unknown"
}

// Errors of the wire format and of the step machines.
var (
	ErrShort        = errors.New("datagram has a wrong length")
	ErrVersion      = errors.New("datagram has another version or type")
	ErrUnknownAgent = errors.New("agent has no key")
	ErrTag          = errors.New("datagram is not sealed with this key")
	ErrReplay       = errors.New("counter was seen before or is too old")
	ErrMalformed    = errors.New("datagram is malformed")
	// ErrOldTerm refuses an ack of a controller that another one has succeeded.
	ErrOldTerm = errors.New("ack has an older term")
	// ErrUnasked refuses an ack of a beat that is not in flight.
	ErrUnasked = errors.New("ack answers no beat in flight")
	// ErrName refuses a server name that does not fit the wire format.
	ErrName = errors.New("server name is empty, too long or not printable")
)
