package agent

import (
	"cmp"
	"context"
	"slices"
	"time"

	"relight/internal/core/fleet"
	"relight/internal/provider/onprem/link"
)

// Driver runs instances on this host. Implementations are safe for concurrent use
// and remember by themselves, across restarts, which epochs may not start again.
type Driver interface {
	// Do carries out one step. It is idempotent by server, epoch and object.
	// Errors are *provider.Error values.
	Do(ctx context.Context, cmd link.Command) (Effect, error)
	// Instances returns what is known of all instances, sorted by server and epoch.
	Instances() []Instance
	// Changes receives after Instances may have changed.
	Changes() <-chan struct{}
	// End stops an instance at once on the agent's own decision (self-fence) and
	// sees to it that the epoch does not start here again.
	End(ctx context.Context, server string, epoch fleet.Epoch) error
	// Tidy frees what the host spends on instances that are gone for ever. What is
	// known of them stays.
	Tidy(ctx context.Context) error
}

// Effect is what a step has shown.
type Effect struct {
	Evidence []fleet.Evidence
	Detail   string
	// Note is what a person must be told though the step succeeded; empty for nothing.
	Note string
}

// Instance is an instance on this host.
type Instance struct {
	Server string
	Epoch  fleet.Epoch
	State  fleet.InstanceState
	// Alive is whether any process of it is seen.
	Alive fleet.Answer
	Since time.Time
	// Volumes are the directories and Addresses the addresses that it holds.
	Volumes   []string
	Addresses []string
	// Device carries the addresses of a process; Bridge is the one that a machine with
	// addresses is on. Empty where nobody else could have them.
	Device, Bridge string
	// MAC is the hardware address of a machine on a bridge; empty for a process, whose
	// addresses are at that of its device.
	MAC string
	// Unheard is set while a machine's guest says nothing at all, not even that it
	// fails, and still completes I/O: it is silent, and not dead.
	Unheard bool
	Detail  string
}

// inOrder sorts instances by server and epoch.
func inOrder(list []Instance) []Instance {
	slices.SortFunc(list, func(a, b Instance) int {
		return cmp.Or(cmp.Compare(a.Server, b.Server), cmp.Compare(a.Epoch, b.Epoch))
	})
	return list
}
