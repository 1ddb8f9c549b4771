package massheal

import (
	"time"
)

// The floor is the least time in which anybody could bring servers back, from the
// quotas and the platform's times alone: no error, no answer that takes time, no
// jitter. It shares no code with the scheduler or the plan.
//
// For the servers of waves 1 to w together, each call of the API a says
//
//	end(w) >= before(a) + (sum of calls - burst) / rate + after(a)
//
// and the order of the waves says, with W servers in wave w,
//
//	end(w) >= end(w-1) + max over gated APIs of (W x calls - burst) / rate + tail
//
// since a bucket holds no more than its burst when a wave begins. The tail is all
// that is gated: attaching and the application's start, and in strict order the
// launch as well. In strict order a wave with a type that has no capacity when it
// begins ends no earlier than the shortage and what follows a launch.

// need is how often one server makes a call, what bounds it, and the parts of one
// server's way before and after it.
type need struct {
	calls, burst, rate float64
	before, after      time.Duration
	// gated is true if the call waits for its wave; strict if only in strict order.
	gated, strict bool
}

func needs() []need {
	const up = attachTakes + appTakes
	const fenced = terminateTakes
	return []need{
		{calls: 1, burst: 1000, rate: 20, after: fenced + bootTakes + up},                                            // TerminateInstances, resources
		{calls: 1, burst: 5, rate: 2, before: fenced, after: bootTakes + up, gated: true, strict: true},              // RunInstances, requests
		{calls: volumes, burst: 50, rate: 5, before: fenced + bootTakes, after: attachTakes + appTakes, gated: true}, // AttachVolume
		{calls: 1, burst: 50, rate: 5, before: fenced + bootTakes, after: attachTakes + appTakes, gated: true},       // AttachNetworkInterface
	}
}

func span(n, burst, rate float64) time.Duration {
	return time.Duration(max(0, n-burst) / rate * float64(time.Second))
}

// QuotaFloor is the floor of n servers without any order among them: the larger of
// all calls' times, and one server's way.
func QuotaFloor(n int) time.Duration {
	var least time.Duration
	for _, c := range needs() {
		least = max(least, c.before+span(float64(n)*c.calls, c.burst, c.rate)+c.after)
	}
	return least
}

// floorOf is the floor of some of the servers, which wait for no others.
func floorOf(s Scenario, some []server) time.Duration {
	waves := make([][]server, s.Waves+1)
	for _, srv := range some {
		waves[srv.wave] = append(waves[srv.wave], srv)
	}
	const tail = attachTakes + appTakes
	sum := 0
	var end time.Duration
	for _, wave := range waves {
		if len(wave) == 0 {
			continue
		}
		next := end + tail
		for _, c := range needs() {
			if c.gated && (s.Strict || !c.strict) {
				own := tail
				if c.strict {
					own += bootTakes
				}
				next = max(next, end+span(float64(len(wave))*c.calls, c.burst, c.rate)+own)
			}
		}
		next = max(next, shortageFloor(s, wave, end))
		sum += len(wave)
		end = max(next, QuotaFloor(sum))
	}
	return end
}

// shortageFloor is when a wave that begins at begun can end at the earliest if one
// of its types has no capacity then. Only strict order forbids to launch before.
func shortageFloor(s Scenario, wave []server, begun time.Duration) time.Duration {
	var least time.Duration
	for _, short := range s.Shortages {
		for _, srv := range wave {
			if s.Strict && srv.kind == short.Type && begun >= short.From && begun < short.To {
				least = max(least, short.To+bootTakes+attachTakes+appTakes)
			}
		}
	}
	return least
}

// Floor is the floor of all servers of the scenario.
func Floor(s Scenario) time.Duration { return floorOf(s, zone(s)) }

// TopFloor is that of the most important ones alone; see Important.
func TopFloor(s Scenario) time.Duration {
	var top []server
	for _, srv := range zone(s) {
		if important(s, srv) {
			top = append(top, srv)
		}
	}
	return floorOf(s, top)
}
