package sdk_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"relight/internal/core/fleet"
	"relight/internal/core/pace"
	awsprovider "relight/internal/provider/aws"
	"relight/internal/provider/guest"
	"relight/internal/provider/san"
	"relight/internal/world"
)

// What a step calls takes tokens before it begins: each call that changes anything has a
// bucket, and the step names it. That holds for what only imported instances need, whose
// disk and interface are to outlive them, and for guests that are told their next epoch.
func TestStepsUseWhatTheyCall(t *testing.T) {
	a := newAccount(t, nil)
	s := a.server()
	out, err := ec2.NewFromConfig(a.cfg).RunInstances(t.Context(), &ec2.RunInstancesInput{
		MinCount: aws.Int32(1), MaxCount: aws.Int32(1), ImageId: aws.String("ami-1"), InstanceType: "m7i.large", SubnetId: aws.String("subnet-a"),
		TagSpecifications: []types.TagSpecification{{ResourceType: types.ResourceTypeInstance, Tags: []types.Tag{
			{Key: aws.String(awsprovider.TagServer), Value: aws.String(s.Name)}, {Key: aws.String(awsprovider.TagEpoch), Value: aws.String("1")},
		}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	id := &s.Spec.Identity
	id.Interfaces = append(id.Interfaces, fleet.Interface{ID: aws.ToString(out.Instances[0].NetworkInterfaces[0].NetworkInterfaceId), Index: 0})
	id.Volumes[0].Mount = &fleet.Mount{Path: "/data", Format: true}
	r := &rig{account: a, doors: guest.New(), arrays: san.New()}
	r.guestsOf(func(string) fleet.Epoch { return 2 })
	a.p = awsprovider.New(awsprovider.Options{Cloud: a.cloud, Region: "eu-west-1", Now: a.now, Guests: r.doors, Arrays: r.arrays})
	limits := awsprovider.Limits(1)
	x, seen, called := a.steps(s), len(a.fake.Ledger()), map[string]bool{}
	do := func(kind fleet.StepKind, epoch fleet.Epoch, o fleet.Object) {
		t.Helper()
		call := x.call(kind, epoch, o)
		if kind == fleet.StepStop {
			x.proof = x.end(epoch)
		} else if _, err := a.p.Do(t.Context(), call); err != nil {
			t.Fatalf("%s %s: %v", kind, o, err)
		}
		a.locked(func() { a.w.Advance(time.Minute) })
		for _, e := range a.fake.Ledger()[seen:] {
			api := e.Action
			if e.Service == "route53" {
				api = strings.Replace(e.Action, "POST", world.Route53, 1)
				api, _, _ = strings.Cut(api, " ")
			}
			if strings.HasPrefix(api, "Describe") || api == "GET" {
				continue
			}
			called[api] = true
			if !slices.Contains(limits.Uses(call), api) {
				t.Errorf("%s %s at the rung %s calls %s, and takes tokens of %v alone", kind, o, x.rung, api, limits.Uses(call))
			}
			if !slices.ContainsFunc(limits.APIs, func(l pace.API) bool { return l.Name == api }) {
				t.Errorf("%s has no bucket", api)
			}
		}
		seen = len(a.fake.Ledger())
	}
	do(fleet.StepReboot, 1, fleet.Object{})
	do(fleet.StepStop, 1, fleet.Object{}) // it was imported: its disk and interface are kept
	do(fleet.StepLaunch, 2, fleet.Object{})
	for _, o := range []fleet.Object{{Volume: "data"}, {Interface: "eni-01"}, {Address: id.Addresses[0].IP}, {Group: a.group}, {Name: id.Names[0].Name}} {
		do(fleet.StepAttach, 2, o)
	}
	x.rung = fleet.Recover
	do(fleet.StepStop, 2, fleet.Object{})
	do(fleet.StepRecover, 3, fleet.Object{})
	for _, o := range []fleet.Object{{Volume: "data"}, {Interface: "eni-01"}, {Address: id.Addresses[0].IP}, {Group: a.group}} {
		do(fleet.StepDetach, 3, o)
	}
	for _, api := range []string{"ModifyInstanceAttribute", "ModifyInstanceMaintenanceOptions", "ModifyNetworkInterfaceAttribute", "StartInstances", "RegisterTargets", world.Route53} {
		if !called[api] {
			t.Errorf("no step called %s: the story misses what it is about", api)
		}
	}
}
