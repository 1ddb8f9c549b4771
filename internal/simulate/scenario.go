package simulate

import (
	"time"

	"relight/internal/core/fleet"
)

// Style is what kind of platform the servers run on.
type Style string

// The styles.
const (
	// Hosts are machines of ours with agents and keepers; volumes are sealed.
	Hosts Style = "hosts"
	// Cloud is a platform with an API: machines, attachments, states read back.
	Cloud Style = "cloud"
)

// Scenario is a whole run in words.
type Scenario struct {
	Seed  uint64
	Style Style
	// For is how long the faults last. Settle, if set, is how long after it all
	// servers may take to be healthy or to need a person: at For all is mended,
	// and what is not at rest Settle later breaks L1.
	For, Settle time.Duration
	// Controllers is how many controller processes are set up; one reigns.
	Controllers int
	// Members is how many members the store has; with less than two it is one map that
	// is there or not.
	Members int
	Sites   []Site
	Hosts   []Host
	Delays  Delays
	// Loss is the share of beats and acks that the network loses.
	Loss float64
	// Drift is how far clocks may run fast or slow, in parts per million.
	Drift int64
	// Spec holds the documents, in YAML.
	Spec   string
	Faults []Fault
}

// Site is a failure domain of the world.
type Site struct {
	Name   string
	Kind   fleet.SiteKind
	Parent string
}

// Host is a host of the world.
type Host struct {
	Name, Parent string
	Units        int
	Power        bool
}

// Delays are how long the platform takes.
type Delays struct {
	Start, App, Stop, Attach Span
	// Call is a request's way to its executor, and a reply's way back.
	Call Span
	// LockLease is how long a network file system keeps the lock of a host that
	// it lost.
	LockLease Span
}

// Span is drawn evenly between its ends.
type Span struct{ Min, Max time.Duration }

// Fault is one thing that goes wrong, or that a person does. As text:
//
//	at 10s for 30s host host-1 cut control,peers
type Fault struct {
	At time.Duration
	// For is how long it lasts; zero is for ever, or what happens in a moment.
	For    time.Duration
	Class  string
	Object string
	Verb   string
	Args   []string
}
