package simulate

import (
	"context"

	"relight/internal/core/fleet"
	"relight/internal/provider"
	"relight/internal/provider/sim"
	"relight/internal/simulate/oracle"
)

// watchOver makes the oracle of the run and gives it its senses.
func (e *engine) watchOver() *oracle.Oracle {
	o := oracle.New(e.world)
	o.Surround(oracle.Around{
		Loss: e.loss, Cloud: e.sc.Style == Cloud,
		Reigns: func() bool {
			b := e.reigning()
			return b != nil && !b.frozen && !b.noHosts && !b.noStore
		},
	})
	return o
}

// executed tells the oracle what became of a call at its executor, whenever it came.
func (e *engine) executed(by string) func(provider.Call, provider.Outcome, bool, error) {
	return func(call provider.Call, out provider.Outcome, replayed bool, err error) {
		e.oracle.Executed(oracle.Call{At: e.clock.Now(), By: by, Call: call, Out: out, Replayed: replayed, Err: err})
	}
}

// restored tells the oracle what a controller knows that has just begun.
func (e *engine) restored(b *brain) {
	known := map[string]fleet.Status{}
	for name := range e.isolations { // into another map: the order is all one
		known[name] = b.solo.State.Status(name)
	}
	e.oracle.Restored(b.name, known)
}

// troubles tells the oracle that a fault began or ended.
func (e *engine) troubles(k kind, f Fault, began bool) {
	class := k.class
	if class == "clock" && e.world.Host(f.Object) == nil {
		class = "controller" // whose clock jumps has to doubt itself for a while
	}
	e.oracle.Trouble(class, began)
	stale := f.Object == string(sim.StepObserve) || f.Object == "any"
	if k.class == "api" && k.verb == string(sim.StaleRead) && stale {
		e.oracle.Trouble("stale", began)
	}
}

// oracleEnds gives the oracle all that the store serves at the end.
func (e *engine) oracleEnds() {
	if records, _, err := e.store.List(context.Background(), ""); err == nil {
		e.oracle.Ended(records)
	}
}
