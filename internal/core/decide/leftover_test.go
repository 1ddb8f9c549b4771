package decide

import (
	"testing"
	"time"

	"relight/internal/core/fleet"
)

// A dozen instances are left that cannot be ended: each is told to stop, and again after a
// back-off of its own that grows. More than the status carries records of are told so one
// after the other, not all of them all the time (L2).
func TestManyLeftoversTakeTurns(t *testing.T) {
	for name, c := range map[string]struct {
		left, most int
		after      time.Duration // from when on the back-offs have grown
		all        bool
	}{
		"a dozen":           {12, 36, 0, true},
		"more than we note": {keepLeftovers + 6, keepLeftovers, 2 * time.Minute, false},
	} {
		t.Run(name, func(t *testing.T) {
			told, calls := tellLeftovers(t, c.left, 5*time.Minute)
			if c.all && len(told) != c.left {
				t.Errorf("only %d were told to stop: %v", len(told), told)
			}
			for i := c.most; i < len(calls); i++ {
				if calls[i-c.most].Sub(calls[0]) < c.after {
					continue
				}
				if took := calls[i].Sub(calls[i-c.most]); took < 10*time.Second {
					t.Fatalf("more than %d calls within %s, the last at %s", c.most, took, calls[i])
				}
			}
		})
	}
}

// tellLeftovers plays for so long that none of the stops is answered.
func tellLeftovers(t *testing.T, left int, span time.Duration) (told map[fleet.Epoch]int, calls []time.Time) {
	t.Helper()
	now := time.Date(2031, 5, 1, 12, 0, 0, 0, time.UTC)
	v := View{Server: fleet.Server{Name: "db"}}
	v.Server.Spec.Ladder.BackOff, v.Server.Spec.Ladder.MaxBackOff = fleet.Duration(2*time.Second), fleet.Duration(30*time.Second)
	var found []Decision
	for n := range left {
		found = append(found, Decision{Step: &fleet.Step{Kind: fleet.StepStop, Server: "db", Epoch: fleet.Epoch(n + 1), Host: "host-1", Why: "it is left"}})
	}
	told = map[fleet.Epoch]int{}
	for end := now.Add(span); now.Before(end); {
		d, wait := dueLeftover(v, now, found)
		if d == nil {
			if wait == nil || !wait.due.After(now) || wait.reason == "" {
				t.Fatalf("nothing is due, and nothing is waited for: %+v", wait)
			}
			now = wait.due
			continue
		}
		told[d.Step.Epoch]++
		calls = append(calls, now)
		v.Status.Leftovers = noteLeftover(v.Status.Leftovers, fleet.StepRecord{Step: *d.Step, State: fleet.StepIntended, Begun: now})
		now = now.Add(20 * time.Millisecond)
		endLeftover(v.Status.Leftovers, *d.Step, Result{State: fleet.StepUnknown, Error: "no answer"}, now)
	}
	return told, calls
}

// What was told to stop long ago makes room for others, and what may still be left does not.
func TestLeftoversOfLongAgoMakeRoom(t *testing.T) {
	now := time.Date(2031, 5, 1, 12, 0, 0, 0, time.UTC)
	var list []fleet.StepRecord
	for n := range 20 {
		at := now.Add(-time.Duration(20-n) * 10 * time.Minute)
		list = noteLeftover(list, fleet.StepRecord{Step: fleet.Step{Kind: fleet.StepStop, Epoch: fleet.Epoch(n + 1)}, Begun: at, Ended: at})
	}
	list = noteLeftover(list, fleet.StepRecord{Step: fleet.Step{Kind: fleet.StepStop, Epoch: 21}, Begun: now})
	if oldest := now.Sub(list[0].Begun); oldest > leftoverIsGone || len(list) != 7 {
		t.Errorf("%d are noted, the oldest of %s ago", len(list), oldest)
	}
}
