package decide_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"relight/internal/core/decide"
	"relight/internal/core/fleet"
)

// drawNeighbour draws another server of host-1, and a second opinion on whether a
// power-off may take it.
func drawNeighbour(t *rapid.T, l string) (decide.View, bool) {
	v := decide.View{Server: fleet.Server{Name: "lic-" + l}}
	v.Traits = drawTraits(t)
	v.Guards.Modes = []fleet.ModeSetting{{Mode: pick(t, l+" mode", fleet.Auto, fleet.Auto, fleet.Ask, fleet.Observe)}}
	verdict := pick(t, l+" verdict", fleet.Down, fleet.Down, fleet.Isolated, fleet.Isolated, fleet.Healthy, fleet.Suspect, fleet.Impaired, fleet.Unknown)
	wait, age := pick(t, l+" isolatedFor", 0, 30*time.Second), pick(t, l+" for", time.Second, 30*time.Second)
	v.Server.Spec.IsolatedFor = fleet.Duration(wait)
	v.Status = fleet.Status{Server: v.Server.Name, Epoch: 2, Host: pick(t, l+" host", "host-1", "host-1", "host-1", "host-2"), Verdict: verdict, VerdictSince: noon.Add(-age)}
	mode := v.Guards.Modes[0].Mode
	givenUp := verdict == fleet.Isolated && wait > 0 && age >= wait && mode == fleet.Auto
	switch pick(t, l+" recovery", "none", "none", "fences", "in place", "builds") {
	case "fences":
		v.Status.Recovery = &fleet.Recovery{Rung: fleet.Relaunch, From: 2}
		givenUp = mode != fleet.Observe
	case "in place":
		v.Status.Recovery = &fleet.Recovery{Rung: fleet.Reboot, From: 2}
	case "builds":
		v.Status.Recovery = &fleet.Recovery{Rung: fleet.Relaunch, From: 1, To: 2}
	}
	if chance(t, l+" paused", 20) {
		v.Guards.Pauses, givenUp = []fleet.Pause{{Server: v.Server.Name, By: "kim"}}, false
	}
	gone := v.Status.Host != "host-1" || verdict == fleet.Down
	if chance(t, l+" reaped", 15) {
		v.Status.Evidence, gone = []fleet.Evidence{{Method: fleet.Reaped, Server: v.Server.Name, Epoch: 2}}, true
	}
	return v, gone || givenUp
}

// TestPowerOffSparesNeighbours is S5: a host is switched off if, and only if, each
// other server on it is down, gone, or given up by its own policy and people.
func TestPowerOffSparesNeighbours(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newStory(func(cell) {})
		for _, line := range []string{
			"server lic-01 fence=power", "host host-1 silent power=yes", "host host-2", "status epoch=3 host=host-1 verified",
			"finding down 40s \"two sources say no\"",
		} {
			if err := s.do(line); err != nil {
				t.Fatal(err)
			}
		}
		want := true
		for range rapid.IntRange(0, 3).Draw(t, "neighbours") {
			other, may := drawNeighbour(t, "other")
			want = want && may
			if n, there := decide.NeighbourOn("host-1", other, noon); there {
				s.v.Hosts[0].Neighbours = append(s.v.Hosts[0].Neighbours, n)
			}
		}
		d := decide.Next(s.v, noon)
		if off := d.Step != nil && d.Step.Kind == fleet.StepPowerOff; off != want {
			t.Fatalf("switched off %v, want %v: %s", off, want, d.Reason)
		}
	})
}

// TestNothingIsEndedOnADoubt is S4 and S5 under way: a recovery that has ended
// nothing goes on only if it would begin now.
func TestNothingIsEndedOnADoubt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newStory(func(cell) {})
		for _, line := range []string{
			"host host-1 silent", "host host-2", "host host-3", "status epoch=3 host=host-1 verified", "finding down 40s \"two sources say no\"", "decide",
		} {
			if err := s.do(line); err != nil {
				t.Fatal(err)
			}
		}
		outcome := pick(t, "outcome", "failed", "failed", "failed", "unknown", "nothing recorded", "done")
		if outcome != "nothing recorded" {
			if err := s.do(outcome); err != nil {
				t.Fatal(err)
			}
		}
		verdict := pick(t, "verdict", fleet.Down, fleet.Isolated, fleet.Suspect, fleet.Unknown, fleet.Impaired)
		age := pick(t, "for", time.Second, time.Minute)
		s.v.Finding = fleet.Finding{Verdict: verdict, Since: noon.Add(-age), Reason: "the signals say so"}
		if chance(t, "storm", 30) {
			s.v.Around.Storm = &fleet.Trouble{Cause: "4 hosts", Reason: "4 hosts"}
		}
		due := verdict == fleet.Down || verdict == fleet.Impaired || verdict == fleet.Isolated && age >= 30*time.Second
		want := outcome != "failed" || due && s.v.Around.Storm == nil
		if d := decide.Next(s.v, noon); (d.Step != nil) != want {
			t.Fatalf("%s, then %s: step %v, want %v: %s", outcome, verdict, d.Step != nil, want, d.Reason)
		}
	})
}
