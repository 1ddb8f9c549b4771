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
	if !asks(v, one) || len(v.Stop) != 0 {
		t.Fatalf("shortly before its end: %+v, want a question", v)
	}
	m.Answered(lease-second/2, v.Ask[0], fleet.No)
	if v = m.Step(lease+second, lease, run); len(v.Stop) != 0 || !asks(v, one) {
		t.Fatalf("all said no: %+v, want the next question and no stop", v)
	}
	m.Answered(lease+second+1, v.Ask[0], fleet.CannotTell)
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
	v := m.Step(lease-int64(AskAhead), lease, []Instance{one})
	m.Answered(lease-second, v.Ask[0], fleet.Yes)
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
	if !asks(v, one) {
		t.Fatalf("after the grace: %+v, want a question", v)
	}
}

// A host that slept while its heirs answered: the round is forgotten, the next one asks
// anew, and what comes late is as old as its question.
func TestIsolationAfterASleep(t *testing.T) {
	one := Instance{"a", 1}
	run, lease := []Instance{one}, 10*second
	m := NewIsolation(0)
	lost := m.Step(lease-second, lease, run).Ask[0]
	m.Step(60*second, 70*second, run) // awake, and with a new lease
	v := m.Step(69*second, 70*second, run)
	if !asks(v, one) || len(v.Stop) != 0 {
		t.Fatalf("when that lease ends: %+v, want a question", v)
	}
	m.Answered(69*second+1, lost, fleet.CannotTell) // of the round before the sleep
	m.Answered(69*second+2, v.Ask[0], fleet.No)
	if v := m.Step(70*second+1, 70*second, run); len(v.Stop) != 0 {
		t.Fatalf("all heirs said no a second ago: %+v", v)
	}

	m = NewIsolation(0)
	late := m.Step(lease-second, lease, run).Ask[0]
	m.Answered(60*second, late, fleet.No)
	if v := m.Step(60*second, lease, run); !slices.Contains(v.Stop, one) {
		t.Fatalf("the heirs said no before the host slept for 50 s: %+v, want a stop", v)
	}
}

func asks(v Actions, i Instance) bool {
	return slices.ContainsFunc(v.Ask, func(q Question) bool { return q.Instance == i })
}

// Whatever happens, an instance is told to stop only if the lease has ended or a
// peer said yes, and never while recent answers all say no.
func TestIsolationStopsOnlyForAReason(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := NewIsolation(0)
		one := Instance{"a", 1}
		now, lease, asked := int64(0), 3*second, []Question(nil)
		last, lastAt := fleet.CannotTell, int64(0)
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			now += rapid.Int64Range(0, second).Draw(t, "pass")
			if rapid.Bool().Draw(t, "renew") {
				lease = now + 3*second
			}
			if len(asked) > 0 && rapid.Bool().Draw(t, "answer") {
				last = rapid.SampledFrom([]fleet.Answer{fleet.Yes, fleet.No, fleet.CannotTell}).Draw(t, "say")
				lastAt = min(now, asked[0].At+int64(AskAhead))
				m.Answered(now, asked[0], last)
				asked = nil
			}
			v := m.Step(now, lease, []Instance{one})
			if len(v.Ask) > 0 {
				asked = v.Ask
			}
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
