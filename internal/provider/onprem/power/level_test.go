package power

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"relight/internal/core/fleet"
)

// rack is outlets in virtual time; each call takes a second.
type rack struct {
	mu    sync.Mutex
	on    map[string]bool
	calls []string
	// script, if set, may answer a call instead of the outlet.
	script func(r *rack, plug, action string) (answer, bool)
}

func (r *rack) run(ctx context.Context, d fleet.PowerDevice, action string) answer {
	timer := time.NewTimer(time.Second)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return answer{code: -1, err: ctx.Err()}
	case <-timer.C:
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls = append(r.calls, action+" "+d.Plug)
	if r.script != nil {
		if a, ok := r.script(r, d.Plug, action); ok {
			return a
		}
	}
	switch {
	case action == "off":
		r.on[d.Plug] = false
		return answer{}
	case r.on[d.Plug]:
		return answer{out: []byte("Status: ON\n")}
	default:
		return answer{code: 2, out: []byte("Status: OFF\n")}
	}
}

func (r *rack) count(call string) int {
	n := 0
	for _, c := range r.calls {
		if c == call {
			n++
		}
	}
	return n
}

func level(plugs ...string) fleet.PowerLevel {
	var l fleet.PowerLevel
	for _, p := range plugs {
		l.All = append(l.All, fleet.PowerDevice{Command: []string{"fence_x"}, Plug: p})
	}
	return l
}

func newRack(plugs ...string) *rack {
	r := &rack{on: map[string]bool{}}
	for _, p := range plugs {
		r.on[p] = true
	}
	return r
}

func (r *rack) off(t *testing.T, within time.Duration, levels ...fleet.PowerLevel) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	return panel{run: r.run}.off(ctx, fleet.Power{Levels: levels})
}

var broken = answer{code: 1, said: []byte("no route to host")}

func TestFirstThisThenThat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRack("bmc", "a", "b")
		r.script = func(_ *rack, plug, _ string) (answer, bool) { return broken, plug == "bmc" }
		said, err := r.off(t, time.Minute, level("bmc"), level("a", "b"))
		if err != nil || !strings.Contains(said, "plug a") || !strings.Contains(said, "plug b") || strings.Contains(said, "bmc") {
			t.Fatalf("%q, %v", said, err)
		}
		if n := r.count("off bmc"); n != failures {
			t.Errorf("the first level was tried %d times, want %d", n, failures)
		}
	})
}

func TestFirstLevelIsEnough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRack("bmc", "a", "b")
		if _, err := r.off(t, time.Minute, level("bmc"), level("a", "b")); err != nil {
			t.Fatal(err)
		}
		if r.count("off a")+r.count("off b") > 0 {
			t.Errorf("the second level was used: %v", r.calls)
		}
	})
}

func TestBothSuppliesMustBeOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRack("a", "b")
		r.script = func(_ *rack, plug, action string) (answer, bool) {
			return answer{}, plug == "b" && action == "off" // accepted, without effect
		}
		if _, err := r.off(t, time.Minute, level("a", "b")); !errors.Is(err, ErrStillOn) {
			t.Errorf("one supply stays on: %v, want ErrStillOn", err)
		}
	})
}

// While the second outlet was switched, somebody put the first on again: each had
// been read as off, and the host never lost its power.
func TestSupplyThatCameBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRack("a", "b")
		r.script = func(r *rack, plug, action string) (answer, bool) {
			if plug != "b" || r.count("status b") > 3 {
				return answer{}, false
			}
			if action == "status" && r.count("status b") == 3 {
				r.on["a"], r.on["b"] = r.count("off a") == 1, false // b is slow, a comes back once
			}
			return answer{}, action == "off"
		}
		if _, err := r.off(t, time.Minute, level("a", "b")); err != nil || r.on["a"] || r.on["b"] {
			t.Errorf("%v, on: %v, calls: %v", err, r.on, r.calls)
		}
		if r.count("off a") != 2 {
			t.Errorf("a was switched %d times, want twice: %v", r.count("off a"), r.calls)
		}
	})
}

// A first level that hangs must leave its time to the second.
func TestHangingLevelLeavesTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRack("bmc", "pdu")
		run := func(ctx context.Context, d fleet.PowerDevice, action string) answer {
			if d.Plug == "bmc" {
				<-ctx.Done()
				return answer{code: -1, err: ctx.Err()}
			}
			return r.run(ctx, d, action)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		if _, err := (panel{run: run}).off(ctx, fleet.Power{Levels: []fleet.PowerLevel{level("bmc"), level("pdu")}}); err != nil {
			t.Error(err)
		}
	})
}

// Fewer and fewer questions are asked of a slow device, and only off, status and
// metadata at all.
func TestBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRack("a")
		r.script = func(_ *rack, _, action string) (answer, bool) { return answer{}, action == "off" }
		start := time.Now()
		if _, err := r.off(t, time.Minute, level("a")); !errors.Is(err, ErrStillOn) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
		if took := time.Since(start); took != time.Minute {
			t.Errorf("given up after %s", took)
		}
		if n := len(r.calls); n < 10 || n > 20 {
			t.Errorf("%d calls in a minute: %v", n, r.calls)
		}
		if slices.ContainsFunc(r.calls, func(c string) bool { return !strings.HasPrefix(c, "off ") && !strings.HasPrefix(c, "status ") }) {
			t.Errorf("other actions: %v", r.calls)
		}
	})
}

// The first level fails for a passing reason, the second for good; a later round
// finds the first well again.
func TestLevelsAreTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRack("bmc", "pdu")
		r.script = func(r *rack, plug, _ string) (answer, bool) {
			return broken, plug == "pdu" || r.count("off bmc") <= failures
		}
		if said, err := r.off(t, 2*time.Minute, level("bmc"), level("pdu")); err != nil || !strings.Contains(said, "bmc") {
			t.Errorf("%q, %v", said, err)
		}
	})
}
