package provider

import (
	"time"

	"relight/internal/core/fleet"
)

// OrphanKind says what an Orphan is.
type OrphanKind string

// The kinds of orphans.
const (
	// OrphanInstance: a host has an instance of a server that the fleet does not have.
	OrphanInstance OrphanKind = "instance"
	// OrphanAddress: an instance on a host holds an address for such a server.
	OrphanAddress OrphanKind = "address"
	// OrphanStandby: a guest waits on a host for such a server.
	OrphanStandby OrphanKind = "standby"
	// OrphanMap: an array would let in an epoch of a server that has no LUN there.
	OrphanMap OrphanKind = "map"
)

// Orphan is what was left on a host or an array by a server of which the fleet knows
// nothing there any more. Nothing of ours removes one by itself: what the fleet has
// forgotten may still be somebody's (invariant S8).
type Orphan struct {
	Kind   OrphanKind
	Server string
	Epoch  fleet.Epoch
	// On is the host or the array, What the object there, if it has a name of its own.
	On, What string
	Detail   string
	// Next is what a person types to take it away, or to take it back.
	Next string
	// At is when it was seen.
	At time.Time
	// Err is why On could not be asked: all but On is empty then, and what is there is
	// not known, which is not nothing (invariant S4).
	Err error
}
