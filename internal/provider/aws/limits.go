package aws

import (
	"relight/internal/core/fleet"
	"relight/internal/core/pace"
	"relight/internal/provider"
)

// Limits are EC2's default token buckets of the calls that steps make, for one
// account and region (docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html).
// share is the part of them that is ours, 0 to 1: others call in the same account.
// A bucket that proves smaller is learnt; see package pace.
func Limits(share float64) provider.Limits {
	bucket := func(burst, perSecond float64) pace.Bucket {
		return pace.Bucket{Burst: max(burst*share, 1), PerSecond: perSecond * share}
	}
	return provider.Limits{
		APIs: []pace.API{
			{Name: "RunInstances", Requests: bucket(5, 2), Resources: bucket(1000, 2)},
			{Name: "StartInstances", Requests: bucket(5, 2), Resources: bucket(1000, 2)},
			{Name: "StopInstances", Requests: bucket(50, 5), Resources: bucket(1000, 20)},
			{Name: "TerminateInstances", Requests: bucket(100, 5), Resources: bucket(1000, 20)},
			{Name: "RebootInstances", Requests: bucket(50, 5)},
			{Name: "AttachVolume", Requests: bucket(50, 5)},
			{Name: "DetachVolume", Requests: bucket(50, 5)},
			{Name: "AttachNetworkInterface", Requests: bucket(50, 5)},
			{Name: "DetachNetworkInterface", Requests: bucket(50, 5)},
			{Name: "AssociateAddress", Requests: bucket(50, 5)},
		},
		Uses: func(c provider.Call) []string { return Uses(c.Step.Kind, c.Step.Object, c.Step.Rung) },
	}
}

// Uses lists the APIs whose buckets a step takes from, in the order of its calls.
func Uses(kind fleet.StepKind, object fleet.Object, rung fleet.Rung) []string {
	switch kind {
	case fleet.StepLaunch:
		return []string{"RunInstances"}
	case fleet.StepRecover:
		return []string{"StartInstances"}
	case fleet.StepReboot:
		return []string{"RebootInstances"}
	case fleet.StepStop:
		if rung == fleet.Recover {
			return []string{"StopInstances"}
		}
		return []string{"TerminateInstances"}
	case fleet.StepAttach, fleet.StepDetach:
		return usesOf(kind, object)
	default:
		return nil
	}
}

func usesOf(kind fleet.StepKind, object fleet.Object) []string {
	attach := kind == fleet.StepAttach
	switch {
	case object.Volume != "" && attach:
		return []string{"AttachVolume"}
	case object.Volume != "":
		return []string{"DetachVolume"}
	case object.Interface != "" && attach:
		return []string{"AttachNetworkInterface"}
	case object.Interface != "":
		return []string{"DetachNetworkInterface"}
	case object.Address != "" && attach:
		return []string{"AssociateAddress"}
	default:
		return nil
	}
}
