package lease

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"relight/internal/core/fleet"
)

const second = int64(time.Second)

func TestIsolationAsksBeforeTheLeaseEnds(t *testing.T) {
	m := NewIsolation(0)
	one := Instance{"a", 1}
	run := []Instance{one}
	lease := 10 * second
	if v := m.Step(1*second, lease, run); len(v.Ask)+len(v.Stop) != 0 {
		t.Fatalf("with a lease: %+v", v)
	}
	v := m.Step(lease-int64(AskAhead), lease, run)
	if !slices.Contains(v.Ask, one) || len(v.Stop) != 0 {
		t.Fatalf("shortly before its end: %+v, want a question", v)
	}
	m.Answered(lease-second/2, one, fleet.No)
	if v := m.Step(lease+second, lease, run); len(v.Stop) != 0 || !slices.Contains(v.Ask, one) {
		t.Fatalf("all said no: %+v, want the next question and no stop", v)
	}
	m.Answered(lease+second+1, one, fleet.CannotTell)
	if v := m.Step(lease+2*second, lease, run); !slices.Contains(v.Stop, one) {
		t.Fatalf("one cannot be asked: %+v, want a stop", v)
	}
	if v := m.Step(lease+3*second, lease, run); len(v.Stop) != 0 {
		t.Fatalf("told to stop twice: %+v", v)
	}
}

func TestIsolationYesStopsAtOnce(t *testing.T) {
	m := NewIsolation(0)
	one := Instance{"a", 1}
	lease := 10 * second
	m.Step(lease-int64(AskAhead), lease, []Instance{one})
	m.Answered(lease-second, one, fleet.Yes)
	if v := m.Step(lease-second, lease, []Instance{one}); !slices.Contains(v.Stop, one) {
		t.Fatalf("a peer has a higher epoch: %+v, want a stop", v)
	}
}

func TestIsolationWithoutAnyLease(t *testing.T) {
	m := NewIsolation(5 * second)
	one := Instance{"a", 1}
	if v := m.Step(5*second, 0, []Instance{one}); len(v.Stop) != 0 {
		t.Fatalf("a fresh agent stops at once: %+v", v)
	}
	v := m.Step(5*second+int64(FirstGrace), 0, []Instance{one})
	if !slices.Contains(v.Ask, one) {
		t.Fatalf("after the grace: %+v, want a question", v)
	}
}

// Whatever happens, an instance is told to stop only if the lease has ended or a
// peer said yes, and never while recent answers all say no.
func TestIsolationStopsOnlyForAReason(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := NewIsolation(0)
		one := Instance{"a", 1}
		now, lease, asked := int64(0), 3*second, false
		last, lastAt := fleet.CannotTell, int64(0)
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			now += rapid.Int64Range(0, second).Draw(t, "pass")
			if rapid.Bool().Draw(t, "renew") {
				lease = now + 3*second
			}
			if asked && rapid.Bool().Draw(t, "answer") {
				last, lastAt = rapid.SampledFrom([]fleet.Answer{fleet.Yes, fleet.No, fleet.CannotTell}).Draw(t, "say"), now
				m.Answered(now, one, last)
				asked = false
			}
			v := m.Step(now, lease, []Instance{one})
			asked = asked || len(v.Ask) > 0
			if len(v.Stop) == 0 {
				continue
			}
			if last == fleet.Yes {
				return
			}
			if now < lease {
				t.Fatalf("stopped with a lease until %d at %d", lease, now)
			}
			if last == fleet.No && lastAt != 0 && now-lastAt <= int64(AnswersFor) {
				t.Fatalf("stopped at %d though all said no at %d", now, lastAt)
			}
			return
		}
	})
}
