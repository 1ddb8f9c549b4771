package demo

import (
	"math"
	"time"

	"relight/internal/core/fleet"
)

// Report is what a demo found; its JSON form is a public format.
type Report struct {
	// Healed is true if every fault was healed.
	Healed bool     `json:"healed"`
	Faults []Result `json:"faults"`
	// Acked counts the acknowledged writes, AckedLost those that the logs do not
	// hold. TwoWriters counts the moments at which two were at work on one log.
	Acked      int `json:"acked"`
	AckedLost  int `json:"acked_lost"`
	TwoWriters int `json:"two_writers"`
}

// Result is the outcome of one fault. Where it hit several servers, the times are
// those of the one that was healed last.
type Result struct {
	Name   string `json:"name"`
	Healed bool   `json:"healed"`
	// Detect is from the fault to the beginning of the recovery, with all that the
	// policy waits for; Fence, Attach and Launch are the recovery's own marks;
	// Verify is from the last effect until the server's own checks passed.
	Detect Millis `json:"detect_ms"`
	Fence  Millis `json:"fence_ms"`
	Launch Millis `json:"launch_ms"`
	Attach Millis `json:"attach_ms"`
	Verify Millis `json:"verify_ms"`
	// Heal is from the fault until both the server was verified and a client had a
	// write acknowledged by it.
	Heal Millis `json:"heal_ms"`
	// Overhead is Heal without what the policy's timings make necessary and
	// without the driver's own time for the launch.
	Overhead Millis `json:"overhead_ms"`
}

// Millis is a time in milliseconds, to a tenth.
type Millis float64

func millis(d time.Duration) Millis {
	return Millis(math.Round(float64(d)/float64(time.Millisecond)*10) / 10)
}

// span is one bar of a waterfall; times count from the fault.
type span struct {
	name       string
	begun, end time.Duration
}

// healing is all that is known about how one server was healed.
type healing struct {
	server string
	// before and after are the server's status around the fault.
	before, after fleet.Status
	fault         time.Time
	recovery      fleet.Recovery
	ended         time.Time
	// acked is when the first write that began after the launch was acknowledged.
	acked time.Time
	// floor is what the policy's timings make necessary.
	floor time.Duration
}

func (h healing) heal() time.Duration {
	if h.acked.After(h.ended) {
		return h.acked.Sub(h.fault)
	}
	return h.ended.Sub(h.fault)
}

// mark returns a phase of the recovery, or false if it had none.
func (h healing) mark(name string) (fleet.Mark, bool) {
	for _, m := range h.recovery.Marks {
		if m.Name == name && !m.Ended.IsZero() {
			return m, true
		}
	}
	return fleet.Mark{}, false
}

// effect is when the recovery's last effect ended.
func (h healing) effect() time.Time {
	at := h.recovery.Begun
	for _, m := range h.recovery.Marks {
		if m.Ended.After(at) {
			at = m.Ended
		}
	}
	return at
}

// spans are the bars of the waterfall, in the order of their beginning.
func (h healing) spans() []span {
	out := []span{{name: "detect", end: h.recovery.Begun.Sub(h.fault)}}
	for _, name := range []string{"fence", "attach", "launch"} {
		if m, ok := h.mark(name); ok {
			out = append(out, span{name, m.Begun.Sub(h.fault), m.Ended.Sub(h.fault)})
		}
	}
	return append(out, span{"verify", h.effect().Sub(h.fault), h.ended.Sub(h.fault)})
}

func (h healing) result(name string) Result {
	r := Result{Name: name, Healed: true, Heal: millis(h.heal())}
	for _, s := range h.spans() {
		took := millis(s.end - s.begun)
		switch s.name {
		case "detect":
			r.Detect = took
		case "fence":
			r.Fence = took
		case "attach":
			r.Attach = took
		case "launch":
			r.Launch = took
		case "verify":
			r.Verify = took
		}
	}
	r.Overhead = millis(h.heal() - h.floor - time.Duration(float64(r.Launch)*float64(time.Millisecond)))
	return r
}
