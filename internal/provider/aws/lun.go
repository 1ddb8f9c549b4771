package aws

import (
	"context"
	"time"

	"relight/internal/core/fleet"
	"relight/internal/provider"
)

// arrayWait is how long a sweep waits for arrays of which nothing present is known.
const arrayWait = time.Second

// onArray carries out a step on a LUN. The array does it: nothing of EC2's is asked to
// shut an epoch out, so that it works while EC2 reaches the instance no more. An epoch is
// let in only once EC2 shows its instance, as with volumes of EBS.
func (p *Provider) onArray(ctx context.Context, call provider.Call, vol fleet.Volume) (provider.Outcome, error) {
	switch call.Step.Kind {
	case fleet.StepAttach:
		m, _, err := p.find(ctx, call)
		if err == nil {
			err = takes(call, m)
		}
		if err != nil {
			return provider.Outcome{}, err
		}
	case fleet.StepSeal, fleet.StepDetach, fleet.StepSnapshot, fleet.StepRestore, fleet.StepDrop:
	default:
		return provider.Outcome{}, provider.Errorf(provider.Permanent, call, "provider %s has no step %s for a LUN", Name, call.Step.Kind)
	}
	return p.opt.Arrays.Do(ctx, call, vol)
}
