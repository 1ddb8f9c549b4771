package aws

import (
	"maps"
	"slices"

	"relight/internal/core/fleet"
	"relight/internal/core/pace"
	"relight/internal/provider"
)

// Quotas are the token buckets of an account in a region, by API. That of
// Route 53 is one: its limit is for all calls together.
type Quotas map[string]Quota

// Quota is what AWS grants of one API: requests, and the instances that they are about.
type Quota struct{ Requests, Resources pace.Bucket }

// DefaultQuotas are the documented ones of the calls that we make
// (docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html, Route 53's
// DNSLimitations: five requests a second of an account; Elastic Load Balancing's
// elb-api-throttling: 40 and 10 a second for what changes nothing). Of registrations and
// their ends, which share a bucket there, each is given half of 20 and 4 a second: that
// much is taken on trust, and a bucket that proves smaller is learnt.
func DefaultQuotas() Quotas {
	q := Quotas{}
	add := func(burst, perSecond float64, apis ...string) {
		for _, api := range apis {
			q[api] = Quota{Requests: pace.Bucket{Burst: burst, PerSecond: perSecond}}
		}
	}
	add(100, 20, reading...)
	add(40, 10, targetHealth)
	add(10, 2, "RegisterTargets", "DeregisterTargets")
	add(5, 2, "RunInstances", "StartInstances")
	add(100, 5, "TerminateInstances", "CreateVolume", "CreateNetworkInterface")
	add(100, 10, "CreateTags")
	add(50, 5, "StopInstances", "RebootInstances", "AttachVolume", "DetachVolume", "AttachNetworkInterface", "DetachNetworkInterface", "AssociateAddress", "DisassociateAddress",
		modifyRecovery, modifyInstance, modifyInterface)
	add(5, 5, route53)
	for api, perSecond := range map[string]float64{"RunInstances": 2, "StartInstances": 2, "StopInstances": 20, "TerminateInstances": 20} {
		q[api] = Quota{Requests: q[api].Requests, Resources: pace.Bucket{Burst: 1000, PerSecond: perSecond}}
	}
	return q
}

// reading are the reads that have buckets, and route53 is the name of Route 53's only
// one. Half of that is for reads, which wait elsewhere than steps do.
var reading = []string{
	"DescribeInstances", "DescribeInstanceStatus", "DescribeVolumes", "DescribeNetworkInterfaces", "DescribeAddresses", "DescribeSnapshots",
	"DescribeSubnets", "DescribeLaunchTemplateVersions", "DescribeAvailabilityZones", targetHealth,
}

const (
	modifyRecovery  = "ModifyInstanceMaintenanceOptions"
	modifyInstance  = "ModifyInstanceAttribute"
	modifyInterface = "ModifyNetworkInterfaceAttribute"

	targetHealth = "DescribeTargetHealth"

	route53     = "Route53"
	listRecords = "ListResourceRecordSets"
)

// apis are the named ones of the quotas, of which share is ours, 0 to 1: others call
// in the same account.
func (q Quotas) apis(share float64, names ...string) []pace.API {
	ours := func(b pace.Bucket) pace.Bucket {
		if b.IsZero() {
			return b
		}
		return pace.Bucket{Burst: max(b.Burst*share, 1), PerSecond: b.PerSecond * share}
	}
	out := make([]pace.API, 0, len(names))
	for _, name := range names {
		out = append(out, pace.API{Name: name, Requests: ours(q[name].Requests), Resources: ours(q[name].Resources)})
	}
	return out
}

// Limits are the buckets of the calls that steps make. One that proves smaller is
// learnt; see package pace.
func (q Quotas) Limits(share float64) provider.Limits {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(q)) {
		if !slices.Contains(reading, name) && name != route53 {
			names = append(names, name)
		}
	}
	return provider.Limits{
		APIs: append(q.apis(share, names...), q.apis(share/2, route53)...),
		Uses: func(c provider.Call) []string {
			uses := Uses(c.Step.Kind, c.Step.Object, c.Step.Rung)
			if c.Step.Kind == fleet.StepRecover && c.Server.Spec.GuestAgent() { // it is told its next epoch
				uses = append([]string{modifyInstance}, uses...)
			}
			return uses
		},
	}
}

// Reads are the buckets of the calls that sweeps and looks make, for a Gate.
func (q Quotas) Reads(share float64) []pace.API {
	names := q.apis(share/2, route53)
	names[0].Name = listRecords
	return append(q.apis(share, reading...), names...)
}

// Limits are those of the documented quotas.
func Limits(share float64) provider.Limits { return DefaultQuotas().Limits(share) }

// Uses lists the APIs whose buckets a step takes from, in the order of its calls. A stop
// names what only imported instances need, too: 200 of those fail at once as well, and each
// is to keep its disks and its interface, and loses EC2's own recovery first. A recover does
// not, though it would do the last again: its stop did, and the stops of others that wait
// for that bucket would hold back the starts, of which there are fewest.
func Uses(kind fleet.StepKind, object fleet.Object, rung fleet.Rung) []string {
	switch kind {
	case fleet.StepLaunch:
		if rung == fleet.Move {
			return []string{"CreateVolume", "CreateNetworkInterface", modifyInterface, "RunInstances"}
		}
		return []string{"RunInstances"}
	case fleet.StepRecover:
		return []string{"CreateTags", "StartInstances"}
	case fleet.StepReboot:
		return []string{"RebootInstances", "CreateTags"}
	case fleet.StepStop:
		if rung == fleet.Recover {
			return []string{modifyRecovery, "StopInstances"}
		}
		return []string{modifyRecovery, modifyInstance, modifyInterface, "TerminateInstances"}
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
		return []string{"CreateTags", "AttachVolume"}
	case object.Volume != "":
		return []string{"DetachVolume"}
	case object.Interface != "" && attach:
		return []string{"AttachNetworkInterface"}
	case object.Interface != "":
		return []string{"DetachNetworkInterface"}
	case object.Address != "" && attach:
		return []string{"AssociateAddress"}
	case object.Address != "":
		return []string{"DisassociateAddress"}
	case object.Group != "" && attach: // older instances leave it first
		return []string{"DeregisterTargets", "RegisterTargets"}
	case object.Group != "":
		return []string{"DeregisterTargets"} // its read waits at the gate
	case object.Name != "" && attach:
		return []string{route53}
	default:
		return nil
	}
}
