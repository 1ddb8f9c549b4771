package sdk_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"relight/internal/api/client"
	"relight/internal/core/fleet"
	"relight/internal/provider"
	awsprovider "relight/internal/provider/aws"
	"relight/internal/world"
)

// changing are the calls that change anything.
var changing = []string{
	"RunInstances", "StartInstances", "StopInstances", "TerminateInstances", "RebootInstances", "AttachVolume", "DetachVolume",
	"AttachNetworkInterface", "DetachNetworkInterface", "AssociateAddress", "DisassociateAddress", "RegisterTargets", "DeregisterTargets", "CreateTags",
}

// Applying the same spec again does nothing to the account.
func TestAH_NET_Idempotent(t *testing.T) {
	r := newRig(t, slowly)
	name, text := r.licence()
	r.declare(text)
	r.until(5*time.Minute, "it works", r.healthy(name, 1))
	before := r.count(changing...)
	if err := r.solo.Apply(context.Background(), "eve", "spec.yaml", text); err != nil {
		t.Fatal(err)
	}
	r.during(time.Minute, "nothing is called", func() bool { return r.count(changing...) == before })
}

// A volume of another zone is refused by EC2, and no other zone is guessed.
func TestAH_VOL_ZoneMismatch(t *testing.T) {
	a := newAccount(t, nil)
	s := a.server()
	s.Spec.Template.EC2.Subnet = "subnet-b"
	do := a.steps(s).at(1)
	// It is found before anything is launched.
	refused := do(fleet.StepLaunch, fleet.Object{})
	if class, may := provider.ClassOf(refused); class != provider.Permanent || may || !strings.Contains(fmt.Sprint(refused), "name a subnet of "+zoneA) {
		t.Errorf("class %s, may have happened %v: %v", class, may, refused)
	}
	if n := a.done("RunInstances"); n != 0 {
		t.Errorf("%d instances were launched for a volume that they can never have", n)
	}
	// Where the subnet may not be read, EC2 refuses the attach.
	a = newAccount(t, nil)
	s = a.server()
	s.Spec.Template.EC2.Subnet = "subnet-b"
	a.fake.Deny("ec2:DescribeSubnets")
	do = a.steps(s).at(1)
	if err := do(fleet.StepLaunch, fleet.Object{}); err != nil {
		t.Fatal(err)
	}
	err := do(fleet.StepAttach, fleet.Object{Volume: "data"})
	if class, _ := provider.ClassOf(err); class != provider.Permanent || !strings.Contains(fmt.Sprint(err), "ZoneMismatch") {
		t.Errorf("class %s: %v", class, err)
	}
}

// Replies are lost, calls dropped and doubled: everything is attached once, to one
// instance, and nothing is launched twice.
func TestAH_ATTACH_LostReplies(t *testing.T) {
	r := newRig(t, func(c *world.Config) {
		slowly(c)
		c.Replies = world.Replies{Dropped: 0.05, Lost: 0.1, Doubled: 0.05}
	})
	name := r.born()
	r.locked(func() { _ = r.w.Kill(r.machine(name)) })
	r.until(20*time.Minute, "it works again", func() bool {
		s := r.status(name)
		return s.Epoch >= 2 && s.Verdict == fleet.Healthy && s.Recovery == nil
	})
	if got := r.w.Running(name); len(got) != 1 {
		t.Errorf("running %v", got)
	}
}

// The first claim of an address does not take it from anybody; what a stranger's
// instance has is left to it.
func TestAH_EIP(t *testing.T) {
	a := newAccount(t, nil)
	s, other := a.server(), a.server()
	other.Spec.Identity.Addresses = s.Spec.Identity.Addresses
	a.up(s, 1, a.steps(s).at(1))
	for _, e := range a.fake.Ledger() {
		if e.Action == "AssociateAddress" && e.Form.Get("AllowReassociation") != "false" {
			t.Errorf("the first claim would take it from anybody: %v", e.Form)
		}
	}
	do := a.steps(other).at(1)
	if err := do(fleet.StepLaunch, fleet.Object{}); err != nil {
		t.Fatal(err)
	}
	err := do(fleet.StepAttach, fleet.Object{Address: s.Spec.Identity.Addresses[0].IP})
	if class, _ := provider.ClassOf(err); class != provider.Conflict {
		t.Errorf("a stranger's address was taken: %v", err)
	}
	a.locked(func() {
		if sight, _ := a.w.SeeAddress(s.Spec.Identity.Addresses[0].IP); sight.Holder != a.w.Find(s.Name, 1).ID {
			t.Errorf("the address leads to %s", sight.Holder)
		}
	})
}

// An application that fails is healed once, and not replaced in a loop.
func TestAH_ELB(t *testing.T) {
	r := newRig(t, slowly)
	name := r.born()
	r.until(2*time.Minute, "the load balancer finds it healthy", func() bool { return r.solo.Look(name).Verdict == fleet.Healthy })
	r.locked(func() { r.w.SetApp(r.machine(name), world.AppFails) })
	r.until(10*time.Minute, "it works again", func() bool { return r.machine(name).App == world.AppOK && r.healthy(name, 1)() })
	before := r.count(changing...)
	r.during(10*time.Minute, "it is left alone", func() bool { return r.count(changing...) == before })
}

// A server that is no longer declared keeps its disks: nothing of it is deleted.
func TestAH_DEL_KeepsData(t *testing.T) {
	r := newRig(t, slowly)
	name := r.born()
	if err := r.solo.Backend.Delete(context.Background(), "eve", "Server", name, 0); err != nil {
		t.Fatal(err)
	}
	before := r.count(changing...)
	r.during(5*time.Minute, "nothing of it is touched", func() bool { return r.count(changing...) == before && r.w.Volume("vol-01") != nil })
}

// Without an approval nothing is done in mode ask, and in mode observe never.
func TestOP_GUARD(t *testing.T) {
	for _, mode := range []string{"ask", "observe"} {
		r := newRig(t, slowly)
		name, text := r.licence()
		r.declare(text)
		r.until(5*time.Minute, "it works", r.healthy(name, 1))
		if err := r.solo.Apply(context.Background(), "eve", "mode.yaml", strings.Replace(text, "spec:\n", "spec:\n  mode: "+mode+"\n", 1)); err != nil {
			t.Fatal(err)
		}
		r.locked(func() { _ = r.w.Kill(r.machine(name)) })
		before := r.count(changing...)
		r.during(5*time.Minute, "nothing is called in mode "+mode, func() bool { return r.count(changing...) == before })
		if look := r.solo.Look(name); look.Verdict != fleet.Down || look.Gate == "" {
			t.Errorf("mode %s: verdict %s, gate %q", mode, look.Verdict, look.Gate)
		}
	}
}

// Two people have to say yes to the plan. The yes of the first is over after an hour: with
// that of the second it is one of two, and nothing is called. Given anew it counts, for the
// plan that they read and no other, and the server is healed.
func TestOP_GUARD_Approved(t *testing.T) {
	r := newRig(t, slowly)
	name, text := r.licence()
	r.declare(text)
	r.until(5*time.Minute, "it works", r.healthy(name, 1))
	if err := r.solo.Apply(context.Background(), "eve", "mode.yaml", strings.Replace(text, "spec:\n", "spec:\n  mode: ask\n  approvals: 2\n", 1)); err != nil {
		t.Fatal(err)
	}
	r.locked(func() { _ = r.w.Kill(r.machine(name)) })
	before := r.count(changing...)
	asks := func() []client.ApprovalRow {
		list, err := r.solo.Backend.Approvals(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		return list.Items
	}
	r.until(5*time.Minute, "people are asked", func() bool { return len(asks()) == 1 })
	yes := func(by, plan string) (int, error) {
		a, err := r.solo.Backend.Answer(context.Background(), by, name, client.ApprovalRequest{Epoch: 1, Plan: plan, Reason: "it is dead"}, false)
		return a.Given, err
	}
	if _, err := yes("ann", "another"); err == nil {
		t.Error("a yes to another plan is taken")
	}
	held := func() bool { return r.count(changing...) == before }
	for _, step := range []struct {
		by    string
		given int
		wait  time.Duration
	}{{"ann", 1, 61 * time.Minute}, {"bob", 1, time.Minute}} {
		if n, err := yes(step.by, asks()[0].Plan); err != nil || n != step.given {
			t.Fatalf("%s: %d given, %v", step.by, n, err)
		}
		r.during(step.wait, "nothing is called", held)
	}
	if n, err := yes("ann", asks()[0].Plan); err != nil || n != 2 {
		t.Fatalf("%d given, %v", n, err)
	}
	r.until(15*time.Minute, "it works again", r.healthy(name, 2))
}

// Every target group is moved, and the old instance leaves before the new one comes.
func TestOP_NETID(t *testing.T) {
	r := newRig(t, slowly)
	second := r.fake.AddGroup(world.Group{Name: "second", Every: time.Second}, 443)
	name, text := r.licence()
	text = strings.Replace(text, "groups: [", `groups: [{id: "`+second+`"}, `, 1)
	r.declare(text)
	r.until(5*time.Minute, "it works", r.healthy(name, 1))
	old := r.machine(name).ID
	r.locked(func() { r.w.HangGuest(r.machine(name)); r.w.Crash(r.machine(name)) })
	_ = old
	r.locked(func() { _ = r.w.Kill(r.machine(name)) })
	r.until(15*time.Minute, "it works again", r.healthy(name, 2))
	for _, g := range []string{"lic", "second"} {
		members, _ := r.w.Members(g)
		for _, m := range members {
			if m.Instance == old && m.State != world.MemberDraining {
				t.Errorf("%s still serves the old instance (%s)", g, m.State)
			}
		}
		if len(members) == 0 {
			t.Errorf("%s serves nobody", g)
		}
	}
}

// An instance that EC2 calls running and that never works is not healed: the try
// fails and the ladder goes on.
func TestOP_POST(t *testing.T) {
	r := newRig(t, slowly)
	name := r.born()
	r.locked(func() { _ = r.w.Kill(r.machine(name)) })
	r.until(5*time.Minute, "the next one runs", func() bool { i := r.w.Find(name, 2); return i != nil && i.Executes })
	bad := r.w.Find(name, 2)
	r.locked(func() { r.w.Crash(bad) })
	r.during(2*time.Minute, "running is not healed", func() bool {
		return r.status(name).VerifiedAt.IsZero() || r.status(name).Epoch != 2 || r.status(name).Recovery != nil
	})
	r.until(30*time.Minute, "a later try heals it", func() bool {
		s := r.status(name)
		return s.Verdict == fleet.Healthy && s.Recovery == nil && r.w.Able(r.machine(name))
	})
}

// The sample tools skip the second failure; here each of three is healed.
func TestSample_SecondFailure(t *testing.T) {
	r := newRig(t, slowly)
	name := r.born()
	for epoch := fleet.Epoch(2); epoch <= 4; epoch++ {
		r.locked(func() { _ = r.w.Kill(r.machine(name)) })
		r.until(15*time.Minute, fmt.Sprintf("failure %d is healed", epoch-1), r.healthy(name, epoch))
	}
}

// The sample tools launch again when a retry comes after a lost reply; here EC2 knows the
// launch again by its token, also while its lists do not tell of the instance yet.
func TestSample_DoubleLaunch(t *testing.T) {
	a := newAccount(t, nil)
	a.p = awsprovider.New(awsprovider.Options{Cloud: unseeing{a.cloud}, Region: "eu-west-1", Now: a.now})
	s := a.server()
	launch := a.steps(s).at(1)
	a.locked(func() { a.w.LoseReplies("RunInstances", 1) })
	err := launch(fleet.StepLaunch, fleet.Object{})
	if class, may := provider.ClassOf(err); class != provider.Retry || !may {
		t.Errorf("class %s, may have happened %v: %v", class, may, err)
	}
	for range 2 {
		if err := launch(fleet.StepLaunch, fleet.Object{}); err != nil {
			t.Error(err)
		}
	}
	a.locked(func() {
		if n := len(a.w.Of(s.Name)); n != 1 {
			t.Errorf("%d instances, want one", n)
		}
	})
}

// The sample tools never fence: here a launch is refused as long as the old instance
// lives, whoever asks.
func TestSample_NoFence(t *testing.T) {
	a := newAccount(t, nil)
	s := a.server()
	x := a.steps(s)
	a.up(s, 1, x.at(1))
	if err := x.at(2)(fleet.StepLaunch, fleet.Object{}); err == nil {
		t.Errorf("epoch 2 was launched beside a living epoch 1")
	}
}

// The sample tools relaunch without the profile: here each epoch has it, from the template
// version that is pinned, or from what a capture wrote into the spec.
func TestSample_LostProfile(t *testing.T) {
	for _, captured := range []bool{false, true} {
		a := newAccount(t, nil)
		s := a.server()
		want := "arn:aws:iam::123456789012:instance-profile/lic"
		if captured {
			want = "arn:aws:iam::123456789012:instance-profile/captured"
			s.Spec.Template.EC2 = &fleet.EC2Template{Subnet: "subnet-a", Launch: &fleet.EC2Launch{Image: "ami-1", Type: "m7i.large", Profile: want}}
		}
		x := a.steps(s)
		for epoch := fleet.Epoch(1); epoch <= 2; epoch++ {
			a.up(s, epoch, x.at(epoch))
			out, err := ec2.NewFromConfig(a.cfg).DescribeInstances(t.Context(), &ec2.DescribeInstancesInput{InstanceIds: []string{a.w.Find(s.Name, epoch).ID}})
			if err != nil {
				t.Fatal(err)
			}
			if got := out.Reservations[0].Instances[0].IamInstanceProfile; got == nil || aws.ToString(got.Arn) != want {
				t.Errorf("captured %v: epoch %d has the profile %+v", captured, epoch, got)
			}
			x.proof = x.end(epoch)
		}
		for _, e := range a.fake.Ledger() {
			if e.Action == "RunInstances" && !captured && (e.Form.Get("LaunchTemplate.Version") != "1" || e.Form.Get("LaunchTemplate.LaunchTemplateId") != a.lt) {
				t.Errorf("launched from %v: a version that moves, or another template", e.Form)
			}
		}
	}
}

// The machine type is sold out: the next one of the spec is taken, under the same
// token; and a launch that EC2 takes back later is no success.
func TestCapacity(t *testing.T) {
	for _, async := range []bool{false, true} {
		r := newRig(t, slowly)
		name := r.born()
		r.locked(func() {
			_ = r.w.Kill(r.machine(name))
			r.w.SetCapacity(zoneA, "m7i.large", 0, async)
		})
		r.until(30*time.Minute, "it works again", func() bool {
			s := r.status(name)
			return s.Epoch >= 2 && s.Verdict == fleet.Healthy && s.Recovery == nil
		})
		if got := r.machine(name).Type; got != "m6i.large" {
			t.Errorf("it runs on %s", got)
		}
	}
}

// An instance that somebody tagged as the server, without an epoch, may be the server:
// nothing is launched beside it.
func TestUnnumberedInstance(t *testing.T) {
	a := newAccount(t, nil)
	s := a.server()
	_, err := a.cloud.Launch(context.Background(), awsprovider.Launch{
		Token: "by-hand", Template: a.lt, Version: 1, Subnet: "subnet-a", Tags: map[string]string{awsprovider.TagServer: s.Name},
	})
	if err != nil {
		t.Fatal(err)
	}
	err = a.steps(s).at(1)(fleet.StepLaunch, fleet.Object{})
	if class, _ := provider.ClassOf(err); class != provider.Refused {
		t.Errorf("class %s: %v", class, err)
	}
}
