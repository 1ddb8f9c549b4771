// Package provider is the port to whatever runs instances: hosts with our
// agents, a cloud, a simulated world. Adapters live in the packages below it,
// wrappers of the same interface (authority, pacing, retry, dry run) beside it,
// and providertest holds the suite that each adapter passes.
package provider

import (
	"context"
	"time"

	"relight/internal/core/fence"
	"relight/internal/core/fleet"
)

// Provider is what the heal loop needs of a platform. Implementations are safe
// for concurrent use.
type Provider interface {
	// Traits tell what the provider can do. They never change while it runs.
	Traits() fleet.Traits

	// Observe looks at the resources of all the given servers in one batched
	// sweep, and at the hosts. It reports what it saw and how old that is; a part
	// that could not be queried makes the server's Observed incomplete instead of
	// failing the sweep. An error means that nothing at all was seen, and never
	// that a server is gone (invariant S4).
	Observe(ctx context.Context, servers []fleet.Server) (Sweep, error)

	// Do carries out one step. It is idempotent by Call.Step.Token: a replay with
	// the identical call leaves one effect and returns the same outcome (S7). A
	// step that starts or attaches is refused without a proof that covers it (S2).
	// It returns once the effect is accepted, not once it is complete: the next
	// observation tells. Errors are *Error values; see Class.
	Do(ctx context.Context, call Call) (Outcome, error)

	// Wakes delivers names of servers that are worth a look now; "" means all.
	// Losing, doubling or reordering wakes changes nothing but speed. The channel
	// may be nil.
	Wakes() <-chan string
}

// Call is one step with all that the provider needs to carry it out.
type Call struct {
	Step fleet.Step
	// Server is the spec with all defaults filled in.
	Server fleet.Server
	// Term is the controller's; executors refuse a lower one than they have seen.
	Term fleet.Term
	// Proof covers the epoch before Step.Epoch for the steps that need one.
	Proof fence.Proof
	// Power is what switches Step.Host off, for powerOff steps.
	Power *fleet.Power
}

// Outcome is what a step showed.
type Outcome struct {
	// Evidence about the death of the epoch that the step acted on.
	Evidence []fleet.Evidence
	// Made is what was made for a server that is away, by the objects of its spec, also if
	// the step failed after that.
	Made map[fleet.Object]fleet.Made
	// Detail is for people. Note is what the record of the step's end must say besides,
	// such as what was made; empty for most steps.
	Detail, Note string
}

// Sweep is what one batched look saw.
type Sweep struct {
	At time.Time
	// Servers are in the order in which they were asked for. Those are left out that the
	// look could say nothing of; their older facts stand, with their age (S4).
	Servers []ServerSight
	// Blind says what could not be looked at, and why; empty if all was.
	Blind string
	Hosts []HostSight
}

// ServerSight is one server's resources and the signals about it.
type ServerSight struct {
	Observed fleet.Observed
	Signals  []fleet.Signal
}

// HostSight is one host and the signals about it.
type HostSight struct {
	Host    fleet.Host
	Signals []fleet.Signal
	// Reaches lists, for each server (by name), the volumes that the host can use.
	Reaches map[string][]string
	// Servers names those that have an instance on the host.
	Servers []string
}
