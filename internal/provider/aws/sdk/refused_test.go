package sdk_test

import (
	"testing"
	"time"

	"relight/internal/core/fence"
	"relight/internal/core/fleet"
	"relight/internal/provider"
)

// A start that is refused is tried again with the instance that there is, whether the
// refused try got as far as its tag or not: no try is spent on asking for the epoch
// that was never started.
func TestDET_SYS_StartRefusedOnce(t *testing.T) {
	for _, action := range []string{"ec2:CreateTags", "ec2:StartInstances"} {
		r := newRig(t, slowly)
		name := r.born()
		id := r.machine(name).ID
		r.fake.Deny(action)
		r.locked(func() { _ = r.w.KillHost(r.machine(name).Host) })
		r.until(10*time.Minute, "the start is refused", func() bool { return len(r.failed) > 0 })
		r.fake.Allow(action)
		r.until(10*time.Minute, "it works on other hardware", r.healthy(name, 3))
		if got := r.w.Find(name, 3).ID; got != id {
			t.Errorf("%s: another instance (%s) than %s: a recover keeps it", action, got, id)
		}
		for _, err := range r.failed {
			if class, _ := provider.ClassOf(err); class != provider.Refused {
				t.Errorf("%s: a try was spent on %v", action, err)
			}
		}
	}
}

// An instance that may never be started again is replaced: whoever is to end it finds
// it, however many epochs it was named after in vain.
func TestDET_SYS_StartRefusedForEver(t *testing.T) {
	r := newRig(t, slowly)
	name := r.born()
	old := r.machine(name).ID
	r.fake.Deny("ec2:StartInstances")
	r.locked(func() { _ = r.w.KillHost(r.machine(name).Host) })
	r.until(20*time.Minute, "another instance works", func() bool {
		s := r.status(name)
		return s.Epoch > 3 && s.Verdict == fleet.Healthy && s.Recovery == nil
	})
	if got := r.machine(name).ID; got == old || r.w.Instance(old).State != fleet.InstanceTerminated {
		t.Errorf("it runs on %s, and the old %s is %s", got, old, r.w.Instance(old).State)
	}
	for _, err := range r.failed {
		if class, _ := provider.ClassOf(err); class == provider.NotFound {
			t.Errorf("an instance is not found again: %v", err)
		}
	}
}

// The proof of epochs that came to nothing says which one ran.
func TestRecoverFindsWhatRan(t *testing.T) {
	a := newAccount(t, nil)
	s := a.server()
	x := a.steps(s)
	a.up(s, 1, x.at(1))
	x.rung = fleet.Recover
	stopped := x.end(1)
	hollow := func(e fleet.Epoch) fleet.Evidence {
		return fleet.Evidence{Method: fleet.NeverStarted, Server: s.Name, Epoch: e, At: a.now()}
	}
	proof, missing := fence.Prove(s, 3, "", append(stopped.Evidence(), hollow(2), hollow(3)), a.now())
	if len(missing) > 0 {
		t.Fatal(missing)
	}
	x.proof = proof
	if err := x.at(4)(fleet.StepRecover, fleet.Object{}); err != nil {
		t.Fatal(err)
	}
	a.locked(func() {
		if i := a.w.Find(s.Name, 4); i == nil || len(a.w.Of(s.Name)) != 1 {
			t.Errorf("epoch 4 is %v, of %d instances", i, len(a.w.Of(s.Name)))
		}
	})
}
