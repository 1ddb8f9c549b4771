package sdk_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"relight/internal/api/client"
	"relight/internal/core/fleet"
	"relight/internal/provider"
	awsprovider "relight/internal/provider/aws"
	"relight/internal/world"
)

// copied launches what a person gets who asks for one more machine like the server's: with
// its tags. The world calls that an epoch taken twice, which it is and which is theirs.
func (a *account) copied(name string, epoch fleet.Epoch) *world.Instance {
	a.t.Helper()
	return a.copiedAs(name, epoch, "by-hand")
}

func (a *account) copiedAs(name string, epoch fleet.Epoch, token string) *world.Instance {
	a.t.Helper()
	a.forgives = func(v world.Violation) bool { return v.Invariant == "S3" }
	id, err := a.cloud.Launch(context.Background(), awsprovider.Launch{Token: token, Template: a.lt, Version: 1, Subnet: "subnet-a", Tags: map[string]string{
		"Name": "copy", awsprovider.TagServer: name, awsprovider.TagEpoch: fmt.Sprint(epoch), awsprovider.TagToken: "whatever",
	}})
	if err != nil {
		a.t.Fatal(err)
	}
	for _, i := range a.w.Of(name) {
		if i.ID == id {
			return i
		}
	}
	a.t.Fatalf("%s is no instance of %s", id, name)
	return nil
}

// toldOfTwo reports that people are told of two instances that carry one epoch.
func (r *rig) toldOfTwo(name string) bool {
	look := r.solo.Look(name)
	return strings.Contains(look.Reason, "is carried by 2 instances") && strings.Contains(look.Reason, "take its relight tags away")
}

// stateless is a server of an elastic address alone.
func (r *rig) stateless() (string, string) {
	s := r.server()
	a := s.Spec.Identity.Addresses[0]
	return s.Name, fmt.Sprintf(`apiVersion: relight/v1alpha1
kind: Server
metadata: {name: %s}
spec:
  identity:
    addresses: [{ip: %s, allocation: %s}]
  template:
    ec2: {launchTemplate: %s, version: 1, subnet: subnet-a, types: [m6i.large]}
`, s.Name, a.IP, a.Allocation, r.lt)
}

// A person launches one more like the server's instance, which copies its tags, sees the
// mistake and ends the copy. Meanwhile they are told; nothing is ended or started, and the
// end of the copy is no end of the server.
func TestEndOfACopyEndsNothing(t *testing.T) {
	for _, kind := range []string{"with a volume", "with an address alone"} {
		t.Run(kind, func(t *testing.T) {
			r := newRig(t, slowly)
			name, text := r.licence()
			if kind != "with a volume" {
				name, text = r.stateless()
			}
			r.declare(text)
			r.until(5*time.Minute, "it works", r.healthy(name, 1))
			first := r.machine(name)
			before := r.count(changing...)
			second := r.copied(name, 1)
			r.until(time.Minute, "people are told", func() bool { return r.toldOfTwo(name) })
			if err := r.cloud.Terminate(context.Background(), second.ID, awsprovider.Ending{}); err != nil {
				t.Fatal(err)
			}
			r.until(time.Minute, "the copy has ended", func() bool { return second.State == fleet.InstanceTerminated })
			r.during(2*time.Minute, "the server works as before", func() bool { return r.healthy(name, 1)() && first.Executes })
			if r.toldOfTwo(name) {
				t.Errorf("they are still told: %s", r.solo.Look(name).Reason)
			}
			if made := r.count(changing...) - before; made != 2 {
				t.Errorf("%d calls, and the person made 2:\n%s", made, r.calls())
			}
		})
	}
}

// A relaunch is asked for while a copy carries the epoch too: both are ended before the next
// one is started, for nobody knows which of them is the server.
func TestAllThatCarryAnEpochAreEnded(t *testing.T) {
	r := newRig(t, slowly)
	name := r.born()
	first, second := r.machine(name), r.copied(name, 1)
	r.until(time.Minute, "people are told", func() bool { return r.toldOfTwo(name) })
	if _, err := r.solo.Backend.Heal(t.Context(), "eve", name, client.HealRequest{Rung: fleet.Relaunch, Reason: "both must go"}); err != nil {
		t.Fatal(err)
	}
	r.until(5*time.Minute, "it works as epoch 2", func() bool {
		if r.w.Running(name)[2] > 0 && (first.State != fleet.InstanceTerminated || second.State != fleet.InstanceTerminated) {
			t.Fatalf("epoch 2 runs, and of epoch 1 one is %s, the other %s", first.State, second.State)
		}
		return r.healthy(name, 2)()
	})
}

// A machine of a replaced epoch is copied after it has ended: the copy is ended, and what
// works stays as it is.
func TestCopyOfAReplacedEpochIsEnded(t *testing.T) {
	r := newRig(t, slowly)
	name := r.born()
	r.locked(func() { _ = r.w.TerminateMachine(r.machine(name), world.Ending{}) })
	r.until(5*time.Minute, "it works as epoch 2", r.healthy(name, 2))
	second := r.copied(name, 1)
	r.until(2*time.Minute, "the copy has ended", func() bool { return second.State == fleet.InstanceTerminated })
	r.during(time.Minute, "epoch 2 works on", r.healthy(name, 2))
}

// The provider itself, whoever asks: a stop proves nothing while one of an epoch's machines
// lives, ends all of them, and nothing is launched beside one that a proof calls ended.
func TestStopIsOfAllThatCarryTheEpoch(t *testing.T) {
	a := newAccount(t, slowly)
	s := a.server()
	x := a.steps(s)
	if err := x.at(1)(fleet.StepLaunch, fleet.Object{}); err != nil {
		t.Fatal(err)
	}
	first, second := a.w.Find(s.Name, 1), a.copied(s.Name, 1)
	a.locked(func() { a.w.Advance(time.Minute) })
	if err := x.at(1)(fleet.StepReboot, fleet.Object{}); err == nil || !strings.Contains(err.Error(), "nobody knows which is the server") {
		t.Errorf("one of the two was reset: %v", err)
	}
	if err := a.cloud.Terminate(context.Background(), second.ID, awsprovider.Ending{}); err != nil {
		t.Fatal(err)
	}
	a.locked(func() { a.w.Advance(time.Minute) })
	out, err := a.p.Do(context.Background(), x.call(fleet.StepStop, 1, fleet.Object{}))
	if err != nil || len(out.Evidence) > 0 || !strings.Contains(out.Detail, second.ID+" is terminated") {
		t.Errorf("%s has just been told to end, and the copy had ended before: %+v, %v", first.ID, out, err)
	}
	a.locked(func() { a.w.Advance(time.Minute) })
	x.proof = x.end(1)
	if first.State != fleet.InstanceTerminated || second.State != fleet.InstanceTerminated {
		t.Errorf("proved dead, and one is %s, the other %s", first.State, second.State)
	}

	third := a.copiedAs(s.Name, 1, "once more")
	a.locked(func() { a.w.Advance(time.Minute) })
	err = x.at(2)(fleet.StepLaunch, fleet.Object{})
	if class, may := provider.ClassOf(err); err == nil || class != provider.Retry || may || !strings.Contains(err.Error(), third.ID+" is running: it is ended first") {
		t.Errorf("a launch beside it: class %s, may have happened %v: %v", class, may, err)
	}
	_ = x.at(1)(fleet.StepStop, fleet.Object{})
	a.locked(func() { a.w.Advance(time.Minute) })
	x.proof = x.end(1)
	if err := x.at(2)(fleet.StepLaunch, fleet.Object{}); err != nil || third.State != fleet.InstanceTerminated {
		t.Errorf("epoch 1 is %s, and the launch of epoch 2: %v", third.State, err)
	}
}

// Two stopped machines carry the epoch that is to be started again on other hardware: neither
// is, and the copy is never started in place of the server.
func TestRecoverStartsNoneOfTwo(t *testing.T) {
	a := newAccount(t, slowly)
	s := a.server()
	x := a.steps(s)
	if err := x.at(1)(fleet.StepLaunch, fleet.Object{}); err != nil {
		t.Fatal(err)
	}
	a.copied(s.Name, 1)
	a.locked(func() { a.w.Advance(time.Minute) })
	x.rung = fleet.Recover
	_ = x.at(1)(fleet.StepStop, fleet.Object{})
	a.locked(func() { a.w.Advance(time.Minute) })
	x.proof = x.end(1)
	if got := a.w.Running(s.Name); got[1] != 0 {
		t.Errorf("proved stopped, and %v run", got)
	}
	err := x.at(2)(fleet.StepRecover, fleet.Object{})
	if class, _ := provider.ClassOf(err); err == nil || class != provider.Conflict {
		t.Errorf("class %s: %v", class, err)
	}
	if n := a.done("StartInstances"); n != 0 {
		t.Errorf("%d starts", n)
	}
}

// The server's own instance ends while a copy of it lives: nothing is started beside that,
// people are told what to type, and that helps.
func TestCopyThatIsLeft(t *testing.T) {
	r := newRig(t, slowly)
	name := r.born()
	first, second := r.machine(name), r.copied(name, 1)
	r.until(time.Minute, "people are told of two", func() bool { return r.toldOfTwo(name) })
	if err := r.cloud.Terminate(context.Background(), first.ID, awsprovider.Ending{}); err != nil {
		t.Fatal(err)
	}
	r.until(2*time.Minute, "people are told that a copy is left", func() bool {
		why := r.solo.Look(name)
		return why.NeedsPerson && strings.Contains(why.Reason, "a copy of it is left") && strings.Contains(why.Reason, "relight heal "+name+" --rung relaunch")
	})
	r.during(2*time.Minute, "nothing is started", func() bool { return r.count("RunInstances") == 2 && second.State == fleet.InstanceRunning })
	if _, err := r.solo.Backend.Heal(t.Context(), "eve", name, client.HealRequest{Rung: fleet.Relaunch, Reason: "the copy must go"}); err != nil {
		t.Fatal(err)
	}
	r.until(5*time.Minute, "it works as epoch 2", r.healthy(name, 2))
	if second.State != fleet.InstanceTerminated {
		t.Errorf("the copy is %s", second.State)
	}
}
