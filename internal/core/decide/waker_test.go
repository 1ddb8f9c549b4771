package decide_test

import (
	"testing"

	"pgregory.net/rapid"

	"relight/internal/core/decide"
)

// wakers are the gates that may hold without a time to look again, each with who
// makes the server due when it clears.
var wakers = map[string]string{
	decide.GateAuthority: "controller.Loops.regain, when lease and store are back",
	decide.GateVerdict:   "controller.Collector.Take on news; detect.Judge looks again while it doubts; a person's request",
	decide.GateFreeze:    "controller.Backend, when a person lifts it",
	decide.GatePause:     "controller.Backend, when a person lifts it",
	decide.GateMode:      "controller.Backend, when a spec is applied",
	decide.GateApproval:  "controller.Backend, when a person answers",
	decide.GateLadder:    "controller.Backend, when a person asks; controller.Collector.Take on news",
}

// TestEveryHoldIsLookedAtAgain holds each decision against L1: a hold that clears by
// itself has a time at which it is looked at again, or somebody who wakes the server.
func TestEveryHoldIsLookedAtAgain(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v, now := drawReached(t)
		d := decide.Next(v, now)
		if d.Hold == nil || !d.LookAgainAt.IsZero() || wakers[d.Hold.Gate] != "" {
			return
		}
		if d.Hold.Gate == decide.GateBudget && d.Hold.NeedsPerson {
			return // it makes no sense: woken when a spec is applied
		}
		t.Fatalf("nobody ever looks again: %s holds: %s", d.Hold.Gate, d.Reason)
	})
}

// TestUsedUpLadderFrees: tries leave the ladder's window by themselves.
func TestUsedUpLadderFrees(t *testing.T) {
	s := newStory(func(cell) {})
	for _, line := range []string{
		"host host-1", "status epoch=3 host=host-1 verified", "server lic-01 rungs=relaunch:1", `finding down 4s "reaped"`, "attempt relaunch 1m",
	} {
		if err := s.do(line); err != nil {
			t.Fatal(err)
		}
	}
	d := decide.Next(s.v, s.now)
	if d.Hold == nil || d.Hold.Gate != decide.GateLadder || d.LookAgainAt.Sub(s.now).Minutes() != 9 {
		t.Fatalf("%+v, looks again in %s", d.Hold, d.LookAgainAt.Sub(s.now))
	}
}
