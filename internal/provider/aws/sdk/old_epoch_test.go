package sdk_test

import (
	"slices"
	"testing"

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
