package fleet

import "time"

// Method is a way in which an epoch can be shown to write no more.
type Method string

// The methods of invariant S2 that exist so far.
const (
	// FirstEpoch: no instance was ever started.
	FirstEpoch Method = "firstEpoch"
	// Reaped: the keeper waited for the last process of the epoch.
	Reaped Method = "reaped"
	// Terminated: the provider's record says that the instance is gone for ever.
	Terminated Method = "terminated"
	// Stopped: the provider's record, read after the stop, says stopped.
	Stopped Method = "stopped"
	// PoweredOff: the power device, read after the switch, says off.
	PoweredOff Method = "poweredOff"
	// Sealed: a volume's epoch file was raised under its lock and read back.
	Sealed Method = "sealed"
	// InitiatorRemoved: the epoch's initiator is out of its array's map for ever, and
	// the array lists no session of it.
	InitiatorRemoved Method = "initiatorRemoved"
	// NeverStarted: every call that carried the epoch was answered, none had an
	// effect, and the epoch was given up: there is no instance of it. Then the epoch
	// before it is the last that could write, and must be proved dead as well.
	NeverStarted Method = "neverStarted"
	// Skipped: the numbers from First to the epoch are left out for ever. The store was set
	// back to a backup, and what it forgot may have used them. Then the epoch before First is
	// the last that is known to have been able to write, and must be proved dead as well.
	Skipped Method = "skipped"
	// Attested: a person states that the epoch is dead.
	Attested Method = "attested"
)

// Final reports whether evidence by this method stays true for ever. A stopped
// or powered-off instance can come back, so that evidence is perishable.
func (m Method) Final() bool { return m != Stopped && m != PoweredOff && m != FirstEpoch }

// EndsInstance reports whether one piece of evidence by this method shows for ever
// that no instance of the epoch is left. A seal or a removed initiator only keeps it from its volume.
func (m Method) EndsInstance() bool {
	return m.Final() && m != Sealed && m != InitiatorRemoved && m != Skipped
}

// Hollow reports that evidence by this method says of an epoch that no instance of it is
// known: the last that could write is one before it.
func (m Method) Hollow() bool { return m == NeverStarted || m == Skipped }

// Evidence is one fact about the death of one epoch of one server.
type Evidence struct {
	Method Method `json:"method"`
	Server string `json:"server"`
	Epoch  Epoch  `json:"epoch"`
	// First is set for Skipped: the first of the numbers that are left out; Epoch is the last.
	First Epoch `json:"first,omitempty"`
	// Volume is set for Sealed and InitiatorRemoved.
	Volume string `json:"volume,omitempty"`
	// Host is set for PoweredOff: the host that is off; and for NeverStarted and Skipped: where
	// the epoch before ran.
	Host string `json:"host,omitempty"`
	// By is who saw it: a host agent, a device, a person, a provider.
	By     string    `json:"by"`
	At     time.Time `json:"at"`
	Detail string    `json:"detail,omitempty"`
	// Support is what else was seen at the time that goes with it, such as volumes that
	// are free again. It is told, and no part of any proof.
	Support string `json:"support,omitempty"`
	// Released is whether all that an instance had was read back as let go by it: yes, no,
	// or not all of it could be read. It grades a proof and is no part of any.
	Released Answer `json:"released,omitempty"`
	// Offline is set for InitiatorRemoved where sessions of the epoch stay listed: its
	// LUNs were taken off line, with no command of it inside the array.
	Offline bool `json:"offline,omitempty"`
}
