package sdk_test

import (
	"testing"
	"time"

	"relight/internal/core/fleet"
	"relight/internal/provider/aws/examine"
)

// What takes an interface and an address away is tried on those that are attached: a right
// that is missing comes out before it is needed.
func TestDoctorTriesToTakeAway(t *testing.T) {
	a := newAccount(t, nil)
	s := a.server()
	x := a.steps(s)
	a.up(s, 1, x.at(1))
	a.locked(func() { a.w.Advance(time.Minute) })
	answer := func(action string) examine.Answer {
		t.Helper()
		f, err := a.cloud.Examine(t.Context(), []fleet.Server{s}, 1, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range f.Rights {
			if r.Action == action {
				return r.Answer
			}
		}
		return "never tried"
	}
	for _, action := range []string{"ec2:DetachNetworkInterface", "ec2:DisassociateAddress"} {
		if got := answer(action); got != examine.Allowed {
			t.Errorf("%s: %s", action, got)
		}
		a.fake.Deny(action)
		if got := answer(action); got != examine.Denied {
			t.Errorf("%s is denied, and the doctor says %s", action, got)
		}
	}
	a.holdsAll(s, 1)
}
