package simulate

import (
	"time"

	"relight/internal/core/fleet"
	"relight/internal/provider"
	"relight/internal/provider/sim"
)

// mischief is what is in force against the store and the calls.
type mischief struct {
	storeDown, storeFull bool
	// storeLoses and storeForgets are the shares of commits that do not happen,
	// and of those that happen, whose answer is lost.
	storeLoses, storeForgets float64
	calls                    []callFault
	loss                     map[string]float64
}

// callFault hits a share of the calls of one kind.
type callFault struct {
	call  fleet.StepKind // "" is any but observe
	fault sim.FaultKind
	share float64
	age   time.Duration
}

// loss is the share of a host's datagrams that the network drops.
func (e *engine) loss(host string) float64 { return max(e.sc.Loss, e.mischief.loss[host]) }

// callFault chooses what happens to one call of one controller.
func (b *brain) callFault(call provider.Call, _ int) sim.Fault {
	for _, f := range b.e.mischief.calls {
		if f.call != call.Step.Kind && (f.call != "" || call.Step.Kind == sim.StepObserve) {
			continue
		}
		if b.e.chance(f.share) {
			return sim.Fault{Kind: f.fault, Age: f.age}
		}
	}
	return sim.Fault{}
}
