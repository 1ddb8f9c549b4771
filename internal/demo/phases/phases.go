// Package phases tells how one server was healed: in the phases of its recovery, as
// numbers and as a waterfall.
package phases

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	api "relight/internal/api/client"
	"relight/internal/core/fleet"
)

// Result is the outcome of one fault. Where it hit several servers, the times are
// those of the one that was healed last.
type Result struct {
	Name   string `json:"name"`
	Healed bool   `json:"healed"`
	Times
	// Overhead is Heal without what the policy's timings make necessary and
	// without the driver's own time for the launch.
	Overhead Millis `json:"overhead_ms"`
}

// Times are the phases of one healing.
type Times struct {
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
}

// Millis is a time in milliseconds, to a tenth.
type Millis float64

// MillisOf rounds to a tenth of a millisecond.
func MillisOf(d time.Duration) Millis {
	return Millis(math.Round(float64(d)/float64(time.Millisecond)*10) / 10)
}

// span is one bar of a waterfall; times count from the fault.
type span struct {
	name       string
	begun, end time.Duration
}

// Healing is all that is known about how one server was healed.
type Healing struct {
	Server string
	// Before and After are the server's status around the fault.
	Before, After fleet.Status
	Fault         time.Time
	Recovery      fleet.Recovery
	Ended         time.Time
	// Acked is when the first write that began after the launch was acknowledged.
	Acked time.Time
	// Floor is what the policy's timings make necessary.
	Floor time.Duration
}

// Heal is from the fault until both the server was verified and a client had a write
// acknowledged by it.
func (h Healing) Heal() time.Duration {
	if h.Acked.After(h.Ended) {
		return h.Acked.Sub(h.Fault)
	}
	return h.Ended.Sub(h.Fault)
}

// mark returns a phase of the recovery, or false if it had none.
func (h Healing) mark(name string) (fleet.Mark, bool) {
	for _, m := range h.Recovery.Marks {
		if m.Name == name && !m.Ended.IsZero() {
			return m, true
		}
	}
	return fleet.Mark{}, false
}

// Effect is when the recovery's last effect ended.
func (h Healing) Effect() time.Time {
	at := h.Recovery.Begun
	for _, m := range h.Recovery.Marks {
		if m.Ended.After(at) {
			at = m.Ended
		}
	}
	return at
}

// spans are the bars of the waterfall, in the order of their beginning.
func (h Healing) spans() []span {
	out := []span{{name: "detect", end: h.Recovery.Begun.Sub(h.Fault)}}
	for _, name := range []string{"fence", "attach", "launch"} {
		if m, ok := h.mark(name); ok {
			out = append(out, span{name, m.Begun.Sub(h.Fault), m.Ended.Sub(h.Fault)})
		}
	}
	return append(out, span{"verify", h.Effect().Sub(h.Fault), h.Ended.Sub(h.Fault)})
}

// Times is the healing in numbers.
func (h Healing) Times() Times {
	t := Times{Heal: MillisOf(h.Heal())}
	for _, s := range h.spans() {
		took := MillisOf(s.end - s.begun)
		switch s.name {
		case "detect":
			t.Detect = took
		case "fence":
			t.Fence = took
		case "attach":
			t.Attach = took
		case "launch":
			t.Launch = took
		case "verify":
			t.Verify = took
		}
	}
	return t
}

// Result is the healing in numbers, under the fault's name.
func (h Healing) Result(name string) Result {
	r := Result{Name: name, Healed: true, Times: h.Times()}
	r.Overhead = MillisOf(h.Heal() - h.Floor - time.Duration(float64(r.Launch)*float64(time.Millisecond)))
	return r
}

// Find looks for the recovery that healed the server, in a closed incident. The error
// says why there is none yet.
func (h *Healing) Find(ctx context.Context, c *api.Client) (bool, error) {
	list, err := c.Incidents(ctx, api.ListQuery{Limit: 20})
	if err != nil {
		return false, err
	}
	for _, row := range list.Items {
		if !slices.Contains(row.Servers, h.Server) || (!row.Closed.IsZero() && row.Closed.Before(h.Fault)) {
			continue
		}
		if row.Closed.IsZero() {
			return false, fmt.Errorf("incident %s is open", row.ID)
		}
		view, err := c.Incident(ctx, row.ID)
		if err != nil {
			return false, err
		}
		for _, r := range view.Recoveries {
			if r.Server == h.Server && r.Healed && r.Recovery.Begun.After(h.Fault) {
				h.Recovery, h.Ended = r.Recovery, r.Ended
				return true, nil
			}
		}
	}
	return false, fmt.Errorf("no incident tells of the recovery of %s", h.Server)
}
