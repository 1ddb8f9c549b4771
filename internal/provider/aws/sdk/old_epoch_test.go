package sdk_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"relight/internal/core/fence"
	"relight/internal/core/fleet"
)

// What an epoch gave up it can never take back: a late call of the old one finds the
// elastic address, the target group and the name with the new one, and leaves them.
// And the old machine is out of its groups before the new one is put into them.
func TestAH_EIP_TheOldEpochStealsNothing(t *testing.T) {
	a := newAccount(t, nil)
	s := a.server()
	steps := a.steps(s)
	late := a.steps(s).at(1) // still with the proof of its own time
	a.up(s, 1, steps.at(1))
	steps.proof = steps.end(1)
	a.up(s, 2, steps.at(2))
	a.holdsAll(s, 2)
	for _, o := range []fleet.Object{
		{Address: s.Spec.Identity.Addresses[0].IP}, {Interface: s.Spec.Identity.Interfaces[0].ID}, {Volume: "data"}, {Group: a.group}, {Name: s.Spec.Identity.Names[0].Name},
	} {
		if err := late(fleet.StepAttach, o); err == nil {
			t.Errorf("%s: epoch 1 was given it after epoch 2", o)
		}
	}
	a.holdsAll(s, 2)

	var groups []string
	for _, e := range a.fake.Ledger() {
		if e.Action == "RegisterTargets" || e.Action == "DeregisterTargets" {
			groups = append(groups, e.Action)
		}
	}
	if want := []string{"RegisterTargets", "DeregisterTargets", "RegisterTargets"}; !slices.Equal(groups, want) {
		t.Errorf("the groups were told %v, want %v", groups, want)
	}
}

// The evidence of an ended instance tells what it has let go of: volumes that are
// available, interfaces that are detached, or that they are not yet. None of that is a
// proof, and none of it is missed for one.
func TestOP_NETID_EvidenceTellsWhatIsFree(t *testing.T) {
	for _, hangs := range []bool{false, true} {
		a := newAccount(t, nil)
		s := a.server()
		steps := a.steps(s)
		a.up(s, 1, steps.at(1))
		if hangs {
			a.locked(func() { a.w.StickVolume("vol-01") })
		}
		steps.end(1)
		a.locked(func() { a.w.Advance(time.Minute) })
		steps.end(1)
		e := steps.told[0]
		volume := "vol-01 is available"
		if hangs {
			volume = "vol-01 is still "
		}
		for _, words := range []string{volume, "eni-01 is detached"} {
			if !strings.Contains(e.Support, words) || !strings.Contains(fence.Describe(e), words) {
				t.Errorf("it does not tell that %s: %+v", words, e)
			}
		}
		alone := e
		alone.Method = "released"
		if _, missing := fence.Prove(s, 1, "", []fleet.Evidence{alone}, a.now()); len(missing) == 0 {
			t.Error("what supports a proof is taken for one")
		}
	}
}
