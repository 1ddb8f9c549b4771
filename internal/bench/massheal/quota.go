package massheal

import (
	"time"

	"relight/internal/core/pace"
)

// The calls of one recovery.
const (
	terminate = "TerminateInstances"
	launch    = "RunInstances"
	attach    = "AttachVolume"
	plug      = "AttachNetworkInterface"
	describe  = "DescribeInstances"
)

// batch is how many instances one request names.
const batch = 100

// Quotas are the default request and resource buckets of one EC2 account and
// region, burst and refill per second, as Amazon's developer guide lists them.
// RunInstances carries one server: each has its own interface and addresses.
func Quotas() []pace.API {
	return []pace.API{
		{Name: terminate, Requests: pace.Bucket{PerSecond: 5, Burst: 100}, Resources: pace.Bucket{PerSecond: 20, Burst: 1000}, Batch: batch},
		{Name: launch, Requests: pace.Bucket{PerSecond: 2, Burst: 5}, Resources: pace.Bucket{PerSecond: 2, Burst: 1000}},
		{Name: attach, Requests: pace.Bucket{PerSecond: 5, Burst: 50}},
		{Name: plug, Requests: pace.Bucket{PerSecond: 5, Burst: 50}},
		{Name: describe, Requests: pace.Bucket{PerSecond: 20, Burst: 100}, Batch: batch},
	}
}

// How long the platform takes. The boot is one published run's (API to ssh
// 29.3 s); the others are assumed.
const (
	terminateTakes = 5 * time.Second
	bootTakes      = 30 * time.Second
	attachTakes    = 3 * time.Second
	appTakes       = 5 * time.Second
	// jitter is added to each of them, evenly drawn from zero to this part.
	jitter = 0.03
	// roundTrip bounds a call from sending to its answer.
	roundTrip = 300 * time.Millisecond
	// visibleAfter is how long a new instance is not found.
	visibleAfter = time.Second
	// beatEvery is how often a guest says that its application works.
	beatEvery = time.Second
)

// Shortage is a time in which a type has no capacity.
type Shortage struct {
	Type     int
	From, To time.Duration
}
