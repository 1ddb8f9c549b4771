package sdk_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"relight/internal/core/fleet"
	"relight/internal/provider"
	"relight/internal/world"
)

// changes counts the requests that changed something, or were to.
func (a *account) changes() (n int) {
	for _, e := range a.fake.Ledger() {
		if !strings.HasPrefix(e.Action, "Describe") && !strings.HasPrefix(e.Action, "GET") {
			n++
		}
	}
	return n
}

// The end of an instance is several requests. The controller's lease ends between two of them, as when its
// machine is suspended: EC2 knows no terms, so that the rest must not be sent (S10).
func TestStepEndsWithTheLease(t *testing.T) {
	a := newAccount(t, func(c *world.Config) { c.Delays = world.Delays{} })
	s := a.server()
	s.Spec.Template.EC2.AutoRecovery = fleet.AutoRecoveryPlatform // it is taken from it before the end
	x := a.steps(s)
	lost, over := errors.New("the lease has ended"), func() bool { return a.changes() > 0 }
	p := provider.WithAuthority(a.p, func(context.Context) error {
		if over() {
			return lost
		}
		return nil
	})
	if err := x.at(1)(fleet.StepLaunch, fleet.Object{}); err != nil {
		t.Fatal(err)
	}
	a.locked(func() { a.w.Advance(time.Minute) })

	before := a.changes()
	over = func() bool { return a.changes() > before }
	_, err := p.Do(context.Background(), x.call(fleet.StepStop, 1, fleet.Object{}))
	if made := a.changes() - before; made != 1 {
		t.Fatalf("%d requests that change something, with a lease that ended with the first: %v", made, err)
	}
	if class, may := provider.ClassOf(err); !errors.Is(err, lost) || class != provider.Retry || !may || !strings.Contains(err.Error(), "not sent") {
		t.Errorf("class %s, may have happened %v: %v", class, may, err)
	}
	over = func() bool { return false }
	if _, err := p.Do(context.Background(), x.call(fleet.StepStop, 1, fleet.Object{})); err != nil {
		t.Errorf("with the lease: %v", err)
	}
}
