package sdk_test

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/route53"
	"github.com/aws/aws-sdk-go-v2/service/route53/types"

	"relight/internal/api/client"
	"relight/internal/core/event"
	"relight/internal/core/fence"
	"relight/internal/core/fleet"
	"relight/internal/provider"
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

// A record that others have a part in is not overwritten: two values may be two servers.
func TestOP_NETID_SharedRecord(t *testing.T) {
	a := newAccount(t, nil)
	s := a.server()
	steps := a.steps(s)
	name := s.Spec.Identity.Names[0].Name
	names := route53.NewFromConfig(a.cfg)
	if _, err := names.ChangeResourceRecordSets(t.Context(), &route53.ChangeResourceRecordSetsInput{HostedZoneId: aws.String("Z1"), ChangeBatch: &types.ChangeBatch{Changes: []types.Change{{
		Action: types.ChangeActionCreate, ResourceRecordSet: &types.ResourceRecordSet{
			Name: aws.String(name), Type: types.RRTypeA, TTL: aws.Int64(60), ResourceRecords: []types.ResourceRecord{{Value: aws.String("192.0.2.1")}, {Value: aws.String("192.0.2.2")}},
		},
	}}}}); err != nil {
		t.Fatal(err)
	}
	if err := steps.at(1)(fleet.StepLaunch, fleet.Object{}); err != nil {
		t.Fatal(err)
	}
	a.locked(func() { a.w.Advance(time.Minute) })
	err := steps.at(1)(fleet.StepAttach, fleet.Object{Name: name})
	if class, _ := provider.ClassOf(err); class != provider.Permanent || !strings.Contains(fmt.Sprint(err), "it has 2 values") {
		t.Errorf("class %s: %v", class, err)
	}
	if n := a.done("POST /2013-04-01/hostedzone/Z1/rrset"); n != 1 {
		t.Errorf("%d changes of the zone, one of them the test's", n)
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
		again := steps.end(1)
		e := steps.told[0]
		volume, grade := "vol-01 is available", fleet.GradeFreed
		if hangs {
			volume, grade = "vol-01 is still ", fleet.GradeEnded
		}
		if g, _ := again.Grade(); g.Name != grade {
			t.Errorf("its volume hangs %v, and the proof's grade is %s", hangs, g)
		}
		for _, words := range []string{volume, "eni-01 is detached", s.Spec.Identity.Addresses[0].IP + " leads to no instance"} {
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

// What cannot be read of what an instance had makes no better grade, and no worse proof.
func TestOP_NETID_GradeOfWhatCannotBeRead(t *testing.T) {
	a := newAccount(t, nil)
	s := a.server()
	steps := a.steps(s)
	a.up(s, 1, steps.at(1))
	a.fake.Deny("ec2:DescribeAddresses")
	steps.end(1)
	a.locked(func() { a.w.Advance(time.Minute) })
	if g, is := steps.end(1).Grade(); !is || g.Name != fleet.GradeEnded || steps.told[0].Released != fleet.CannotTell {
		t.Errorf("proved %v, grade %s, released %s", is, g, steps.told[0].Released)
	}
}

// The claim of an elastic address that an old epoch made comes late, from an instance that
// runs on though a person called it dead, after the next epoch has the address: EC2 itself
// refuses it, by what the claim said when it was made.
func TestAH_EIP_ALateClaimIsRefusedByEC2(t *testing.T) {
	a := newAccount(t, nil)
	s := a.server()
	steps := a.steps(s)
	ip := s.Spec.Identity.Addresses[0].IP
	claim := func(epoch fleet.Epoch) *ec2.AssociateAddressInput {
		t.Helper()
		do := steps.at(epoch)
		if err := do(fleet.StepLaunch, fleet.Object{}); err != nil {
			t.Fatal(err)
		}
		a.locked(func() { a.w.Advance(10 * time.Second) })
		if err := do(fleet.StepAttach, fleet.Object{Address: ip}); err != nil {
			t.Fatal(err)
		}
		var last url.Values
		for _, e := range a.fake.Ledger() {
			if e.Action == "AssociateAddress" && e.Code == "" {
				last = e.Form
			}
		}
		return &ec2.AssociateAddressInput{
			AllocationId: aws.String(last.Get("AllocationId")), NetworkInterfaceId: aws.String(last.Get("NetworkInterfaceId")),
			AllowReassociation: aws.Bool(last.Get("AllowReassociation") == "true"),
		}
	}
	old := claim(1)
	var missing []fence.Need
	steps.proof, missing = fence.Prove(s, 1, "", []fleet.Evidence{{Method: fleet.Attested, Server: s.Name, Epoch: 1, By: "eve", At: a.now()}}, a.now())
	if len(missing) > 0 {
		t.Fatal(missing)
	}
	claim(2)
	_, err := ec2.NewFromConfig(a.cfg).AssociateAddress(t.Context(), old)
	if err == nil || !strings.Contains(err.Error(), "Resource.AlreadyAssociated") {
		t.Errorf("the old epoch's claim: %v", err)
	}
	a.locked(func() {
		if sight, _ := a.w.SeeAddress(ip); sight.Holder != a.w.Find(s.Name, 2).ID {
			t.Errorf("the address leads to %s", sight.Holder)
		}
	})
}

// How far the proof of the old epoch goes is told by why and stands in the record.
func TestOP_AUDIT_GradeOfTheProof(t *testing.T) {
	r := newRig(t, slowly)
	name := r.born()
	r.locked(func() { _ = r.w.Kill(r.machine(name)) })
	r.until(10*time.Minute, "the next epoch is begun", func() bool { return r.status(name).Epoch == 2 })
	w, err := r.solo.Backend.Why(t.Context(), name)
	if err != nil || w.Grade == nil || !w.Grade.Final || !strings.HasPrefix(w.GradeLine(), "grade "+string(w.Grade.Name)+": ") {
		t.Fatalf("%v, grade %v", err, w.Grade)
	}
	page, err := r.solo.Backend.Events(t.Context(), client.EventQuery{})
	if err != nil {
		t.Fatal(err)
	}
	proved := slices.IndexFunc(page.Items, func(e client.EventRecord) bool { return e.Event.Kind == event.EpochProved })
	if proved < 0 || page.Items[proved].Event.Grade == nil || *page.Items[proved].Event.Grade != *w.Grade || !r.told("(grade "+string(w.Grade.Name)+")") {
		t.Errorf("the record has %+v, why says %s", page.Items[max(proved, 0)].Event.Grade, w.Grade)
	}
}
