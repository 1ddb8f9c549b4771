package beat

import (
	"time"

	"relight/internal/core/fleet"
)

// Limits of the wire format.
const (
	// MaxDatagram is the longest datagram in bytes, below every path MTU that is
	// in use, so that a beat is never fragmented.
	MaxDatagram = 1200
	// MaxName is the longest server name in bytes.
	MaxName = 63
)

// AgentID names an agent; enrolment hands it out together with the agent's key.
type AgentID uint64

// Kind is the kind of agent.
type Kind uint8

// The kinds of agents.
const (
	HostAgent  Kind = 1
	GuestAgent Kind = 2
)

// Answer is the three-valued answer of a source; its zero value is "cannot tell".
type Answer = fleet.Answer

// Item is what an agent says about one server.
type Item struct {
	// Server is the server's name, 1 to MaxName printable ASCII bytes.
	Server string
	// Epoch is the instance that the agent speaks of.
	Epoch fleet.Epoch
	// Progress rises while the application makes progress.
	Progress uint64
	// Since is from when on the agent has given these answers without a break,
	// on the agent's clock.
	Since int64
	// Alive answers "does the instance run?", Works "does the application work?".
	Alive, Works Answer
	// CannotLie marks the agent's own record: it has reaped this child itself.
	CannotLie bool
}

// Beat is one datagram from an agent.
type Beat struct {
	Agent AgentID
	// Counter strictly rises over all the datagrams that one agent ever sends.
	Counter uint64
	// Salt is drawn at each start of the agent and makes nonces differ even if
	// its counter was set back; 24 bits.
	Salt uint32
	// Session is the receiver's incarnation as told by its acks; a beat with
	// another one is a hello: it proves nothing, because it could be a replay
	// from before the receiver started.
	Session uint64
	// SentAt is stamped before the datagram is sent, on the agent's clock.
	SentAt int64
	Kind   Kind
	Items  []Item
}

// Ack is the receiver's answer to one beat.
type Ack struct {
	Agent AgentID
	// Counter echoes the beat.
	Counter uint64
	// Session is the receiver's incarnation, for the next beats.
	Session uint64
	// Highest is the highest counter that this receiver has taken from the agent.
	Highest uint64
	// Term is the controller's term; the agent refuses older ones.
	Term fleet.Term
	// Lease is what is granted, counted from the beat's SentAt on the holder's
	// own clock; 0 grants nothing and takes nothing back.
	Lease time.Duration
	// Work says that the agent should fetch work from the controller.
	Work bool
	// Hello says that the beat's session was not this receiver's, so the beat
	// was not counted; the agent beats again at once with Session.
	Hello bool
}
