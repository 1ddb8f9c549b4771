package world

import "time"

// Quota is a platform's limit of one API: a token bucket for requests and, where
// Resource is set, a second one for the objects that a request is about.
type Quota struct {
	API       string
	PerSecond float64
	Burst     int
	Resource  bool
}

// Unfiltered marks the bucket of a describe call without filter or page size,
// which a platform limits more: its name is the API's with this suffix.
const Unfiltered = ":unfiltered"

// Route53 is the one bucket of all calls of Route 53.
const Route53 = "Route53"

// EC2Quotas are the default numbers of EC2 per account and Region
// (docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html), and of what EC2's
// servers need beside it: load balancers, and Route 53's five requests a second
// (docs.aws.amazon.com/Route53/latest/DeveloperGuide/DNSLimitations.html).
func EC2Quotas() []Quota {
	var all []Quota
	add := func(burst int, perSecond float64, apis ...string) {
		for _, api := range apis {
			all = append(all, Quota{API: api, PerSecond: perSecond, Burst: burst})
		}
	}
	add(100, 20, "DescribeInstances", "DescribeInstanceStatus", "DescribeVolumes", "DescribeVolumeStatus", "DescribeSnapshots",
		"DescribeNetworkInterfaces", "DescribeAddresses", "DescribeSubnets", "DescribeInstanceTypes", "DescribeLaunchTemplates", "DescribeTags",
		"DescribeLaunchTemplateVersions", "DescribeAvailabilityZones", "DescribeImages", "DescribeInstanceAttribute", "DescribeInstanceTypeOfferings",
		"DescribeInstanceCreditSpecifications", "DescribeCapacityReservations", "GetConsoleOutput")
	add(50, 10, "DescribeInstances"+Unfiltered, "DescribeInstanceStatus"+Unfiltered, "DescribeVolumes"+Unfiltered, "DescribeNetworkInterfaces"+Unfiltered)
	add(50, 5, "AttachVolume", "DetachVolume", "AttachNetworkInterface", "DetachNetworkInterface", "AssociateAddress", "DisassociateAddress",
		"RebootInstances", "StopInstances", "ModifyInstanceAttribute", "ModifyInstanceMaintenanceOptions", "ModifyNetworkInterfaceAttribute", "CreateLaunchTemplate", "DeleteVolume", "DeleteSnapshot", "DeleteNetworkInterface")
	add(5, 2, "RunInstances", "StartInstances")
	add(100, 5, "TerminateInstances", "CreateVolume", "CreateSnapshot", "CreateNetworkInterface", "AssignPrivateIpAddresses", "CreateLaunchTemplateVersion")
	add(100, 10, "CreateTags")
	add(100, 1, "CopyImage")
	add(40, 10, "DescribeTargetHealth")
	add(20, 4, "RegisterTargets", "DeregisterTargets")
	add(5, 5, Route53)
	for _, r := range []Quota{
		{API: "RunInstances", PerSecond: 2},
		{API: "StartInstances", PerSecond: 2},
		{API: "TerminateInstances", PerSecond: 20},
		{API: "StopInstances", PerSecond: 20},
	} {
		r.Burst, r.Resource = 1000, true
		all = append(all, r)
	}
	return all
}

// bucketKey names a bucket.
type bucketKey struct {
	api      string
	resource bool
}

type bucket struct {
	rate, burst, tokens float64
	at                  time.Time
}

// fill adds what has flowed in since the last look.
func (b *bucket) fill(now time.Time) {
	b.tokens = min(b.burst, b.tokens+now.Sub(b.at).Seconds()*b.rate)
	b.at = now
}

// Calls counts the calls of one API.
type Calls struct{ Granted, Throttled uint64 }

// SetQuotas limits APIs, each bucket full at first.
func (w *World) SetQuotas(quotas ...Quota) {
	for _, q := range quotas {
		w.buckets[bucketKey{q.API, q.Resource}] = &bucket{rate: q.PerSecond, burst: float64(q.Burst), tokens: float64(q.Burst), at: w.Now()}
	}
}

// SetQuota limits an API of the world to a rate per second and a burst.
func (w *World) SetQuota(api string, perSecond float64, burst int) {
	w.SetQuotas(Quota{API: api, PerSecond: perSecond, Burst: burst})
}

// Take uses one token of an API's quota and reports whether there was one. An
// API without a quota always has.
func (w *World) Take(api string) bool { return w.TakeFor(api, 0) }

// TakeFor uses one request token and one resource token for each object, all or
// none. A call about more objects than its resource bucket holds is never granted.
func (w *World) TakeFor(api string, objects int) bool {
	calls := w.calls[api]
	requests, resources := w.buckets[bucketKey{api: api}], w.buckets[bucketKey{api, true}]
	ok := requests.has(w.Now(), 1) && resources.has(w.Now(), objects)
	if ok {
		requests.pay(1)
		resources.pay(objects)
		calls.Granted++
	} else {
		calls.Throttled++
	}
	w.calls[api] = calls
	return ok
}

func (b *bucket) has(now time.Time, n int) bool {
	if b == nil {
		return true
	}
	b.fill(now)
	return b.tokens >= float64(n)
}

func (b *bucket) pay(n int) {
	if b != nil {
		b.tokens -= float64(n)
	}
}

// Calls returns how many calls of an API were granted and throttled.
func (w *World) Calls(api string) Calls { return w.calls[api] }
