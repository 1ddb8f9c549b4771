package sdk_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/route53"
	"github.com/aws/aws-sdk-go-v2/service/route53/types"

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
