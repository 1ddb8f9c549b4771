package decide_test

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"relight/internal/core/decide"
	"relight/internal/core/fleet"
)

// drawReady draws a view in which nothing but what the caller adds can hold the
// start of a relaunch: of a server that is impaired, or healthy and asked for.
func drawReady(t *rapid.T) decide.View {
	s := newStory(func(cell) {})
	lines := []string{"host host-1", "host host-2", "status epoch=3 host=host-1 verified", "server lic-01 rungs=relaunch:3"}
	if chance(t, "asked", 50) {
		lines = append(lines, "finding healthy 1m works works=0s", "request relaunch by="+pick(t, "requester", people...))
	} else {
		lines = append(lines, "finding impaired 40s fails")
	}
	for _, line := range lines {
		if err := s.do(line); err != nil {
			t.Fatal(err)
		}
	}
	return s.v
}

// TestApprovals holds mode ask against a second opinion (S11): as many different
// people as the spec wants approved this plan of this epoch of this server, the
// requester is none of them, and nobody denied it.
func TestApprovals(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := drawReady(t)
		v.Guards.Modes = []fleet.ModeSetting{{Scope: "fleet", Mode: fleet.Ask}}
		v.Server.Spec.Approvals = rapid.IntRange(0, 3).Draw(t, "needed")
		plan := decide.PlanHash(v, fleet.Relaunch)
		by, denied := map[string]bool{}, false
		v.Guards.Approvals = some(t, "approval", 5, func(t *rapid.T, l string) fleet.Approval {
			a := fleet.Approval{Server: "lic-01", Epoch: 3, Plan: plan, By: pick(t, l+" by", people...), At: noon, Until: noon.Add(time.Hour)}
			good := false
			switch pick(t, l+" is", "good", "good", "good", "denial", "of another server", "of another epoch", "of another plan", "over") {
			case "good":
				good = true
			case "denial":
				a.Denied, denied = true, true
			case "of another server":
				a.Server = "lic-02"
			case "of another epoch":
				a.Epoch = 2
			case "of another plan":
				a.Plan = decide.PlanHash(v, fleet.Move)
			case "over":
				a.Until = noon
			}
			if good && (v.Request == nil || v.Request.By != a.By) {
				by[a.By] = true
			}
			return a
		})
		need := max(1, v.Server.Spec.Approvals)
		want := !denied && (len(by) >= need || (v.Request != nil && need == 1))
		if d := decide.Next(v, noon); (d.Step != nil) != want {
			t.Fatalf("%d of %d approve, denied %v: step %v: %s", len(by), need, denied, d.Step != nil, d.Reason)
		}
	})
}

// TestKeepAlive holds the budget against a second opinion (S5): a server that works
// is touched only if as many as must live still do so without it.
func TestKeepAlive(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := drawReady(t)
		want := true
		for i := range rapid.IntRange(0, 3).Draw(t, "domains") {
			d := fleet.Domain{
				Name: fmt.Sprintf("site-%d", i), Healthy: rapid.IntRange(1, 4).Draw(t, "healthy"),
				Budget: fleet.Budget{KeepAlive: rapid.IntRange(0, 4).Draw(t, "keep"), Steps: rapid.IntRange(0, 2).Draw(t, "steps"), Window: fleet.Duration(time.Minute)},
				Begun: some(t, "begun", 2, func(t *rapid.T, l string) fleet.Begun {
					return fleet.Begun{At: noon.Add(-pick(t, l, time.Second, time.Minute-1, time.Minute)), Count: pick(t, l+" count", 1, 2)}
				}),
			}
			used := 0
			for _, b := range d.Begun {
				if noon.Sub(b.At) < time.Minute {
					used += b.Count
				}
			}
			want = want && (d.Budget.Steps == 0 || used < d.Budget.Steps)
			if v.Finding.Verdict == fleet.Healthy {
				want = want && (d.Budget.KeepAlive == 0 || d.Healthy-1 >= d.Budget.KeepAlive)
			} else if d.Budget.KeepAlive > 0 && d.Healthy <= d.Budget.KeepAlive {
				return // one that fails its check: not said here
			}
			v.Around.Domains = append(v.Around.Domains, d)
		}
		if d := decide.Next(v, noon); (d.Step != nil) != want {
			t.Fatalf("step %v, want %v: %s", d.Step != nil, want, d.Reason)
		}
	})
}
