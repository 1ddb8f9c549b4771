package simulate

import (
	"slices"
	"time"

	"relight/internal/core/fleet"
	"relight/internal/core/pace"
	"relight/internal/provider"
	"relight/internal/provider/sim"
	"relight/internal/world"
)

// What one recovery takes of the platform where there are quotas. The boot is one
// published run's; the others are assumed, and the floor is made from the same ones.
const (
	quotaEnds    = 5 * time.Second
	quotaBoots   = 30 * time.Second
	quotaAttach  = 3 * time.Second
	quotaStarts  = 5 * time.Second
	quotaSweep   = 2 * time.Second
	quotaObjects = 2 // a volume and an address, one call each
	// quotaErrors is the share of the calls that fail for no reason of the caller's.
	quotaErrors = 0.01
)

func quotaDelays() world.Delays {
	exactly := func(d time.Duration) world.Span { return world.Span{Min: d, Max: d} }
	return world.Delays{Start: exactly(quotaBoots), App: exactly(quotaStarts), Stop: exactly(quotaEnds), Terminate: exactly(quotaEnds), Attach: exactly(quotaAttach)}
}

// fleetQuotas are the buckets of TerminateInstances, RunInstances and AttachVolume;
// the world's port has one kind of call for all that is attached.
func fleetQuotas() []pace.API {
	return []pace.API{
		{Name: string(fleet.StepStop), Requests: pace.Bucket{PerSecond: 5, Burst: 100}},
		{Name: string(fleet.StepLaunch), Requests: pace.Bucket{PerSecond: 2, Burst: 5}},
		{Name: string(fleet.StepAttach), Requests: pace.Bucket{PerSecond: 5, Burst: 50}},
	}
}

// paced limits the world and wraps its provider as a cloud's is wrapped.
func (r *fleetRun) paced(inner provider.Provider) *provider.Paced {
	limits := provider.Limits{APIs: fleetQuotas(), Uses: func(call provider.Call) []string {
		if name := string(call.Step.Kind); slices.ContainsFunc(fleetQuotas(), func(q pace.API) bool { return q.Name == name }) {
			return []string{name}
		}
		return nil
	}}
	for n, q := range limits.APIs {
		r.world.SetQuota(q.Name, q.Requests.PerSecond, int(q.Requests.Burst))
		// Two calls may overtake each other on their way: as much is left in the bucket
		// as they can be apart.
		limits.APIs[n].Requests.Burst -= q.Requests.PerSecond * longestWay.Seconds()
	}
	return provider.WithPacing(inner, limits, sim.Clock(r.world))
}

// errs fails a call now and then: it is refused, it fails, or its answer is lost.
func (r *fleetRun) errs(call provider.Call, _ int) sim.Fault {
	if call.Step.Kind == sim.StepObserve || r.rng.Float64() >= quotaErrors {
		return sim.Fault{}
	}
	kinds := []sim.FaultKind{sim.Throttle, sim.ServerError, sim.LostReply}
	return sim.Fault{Kind: kinds[r.rng.IntN(len(kinds))]}
}

func (r *fleetRun) throttledShare() float64 {
	var granted, throttled uint64
	for _, q := range fleetQuotas() {
		c := r.world.Calls(q.Name)
		granted, throttled = granted+c.Granted, throttled+c.Throttled
	}
	return float64(throttled) / float64(max(granted+throttled, 1))
}

// QuotaFloor is the least time in which anybody could bring n servers back under the
// quotas of FleetOptions.Quotas, from the first call on: for each kind of call what
// comes before the first of them, the tokens for all, and what follows the last. It
// shares no code with what gives out the tokens, and knows of no error.
func QuotaFloor(n int) time.Duration {
	// A machine's application starts while it is given what is its own.
	const up = quotaBoots + max(quotaAttach, quotaStarts)
	var least time.Duration
	for _, c := range []struct {
		calls, burst, rate float64
		before, after      time.Duration
	}{
		{1, 100, 5, 0, quotaEnds + up},
		{1, 5, 2, quotaEnds, up},
		{quotaObjects, 50, 5, quotaEnds + quotaBoots, quotaAttach},
	} {
		tokens := max(0, float64(n)*c.calls-c.burst) / c.rate
		least = max(least, c.before+time.Duration(tokens*float64(time.Second))+c.after)
	}
	return least
}
