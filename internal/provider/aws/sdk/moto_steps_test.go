package sdk_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"relight/internal/core/fence"
	"relight/internal/core/fleet"
	"relight/internal/provider"
	"relight/internal/provider/aws/sdk"
)

// motoSteps does steps of one server on moto, as a decider would.
func (a *motoAccount) motoSteps(s fleet.Server) func(fleet.Epoch, fleet.StepKind, fleet.Object) provider.Outcome {
	proof, _ := fence.Prove(s, 0, "", nil, time.Now())
	return func(epoch fleet.Epoch, kind fleet.StepKind, o fleet.Object) provider.Outcome {
		a.t.Helper()
		out, err := a.p.Do(a.t.Context(), provider.Call{
			Step:   fleet.Step{Kind: kind, Server: s.Name, Epoch: epoch, Object: o, Rung: fleet.Relaunch, Token: "t-" + string(kind) + o.String() + string(rune('0'+epoch))},
			Server: s, Term: 1, Proof: proof,
		})
		if err != nil {
			a.t.Fatalf("epoch %d, %s %s: %v", epoch, kind, o, err)
		}
		if kind == fleet.StepStop {
			var missing []fence.Need
			if proof, missing = fence.Prove(s, epoch, "", out.Evidence, time.Now()); len(missing) > 0 {
				a.t.Fatal(missing)
			}
		}
		return out
	}
}

func partsOf(s fleet.Server) []fleet.Object {
	id := s.Spec.Identity
	return []fleet.Object{{Volume: "data"}, {Interface: id.Interfaces[0].ID}, {Address: id.Addresses[0].IP}, {Group: id.Groups[0].ID}, {Name: id.Names[0].Name}}
}

// What is half done is done again: each attach twice, and each part is there once.
func TestMoto_AH_ATTACH(t *testing.T) {
	a := motoServer(t).account(t)
	s := a.server()
	do := a.motoSteps(s)
	do(1, fleet.StepLaunch, fleet.Object{})
	for _, o := range append(partsOf(s), partsOf(s)...) {
		do(1, fleet.StepAttach, o)
	}
	a.holds(s, 1)
}

// A subnet of another zone than the volume's is found before anything is launched.
func TestMoto_AH_VOL(t *testing.T) {
	a := motoServer(t).account(t)
	s := a.server()
	nets, err := a.ec2.DescribeSubnets(t.Context(), &ec2.DescribeSubnetsInput{})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range nets.Subnets {
		if aws.ToString(n.AvailabilityZone) != a.zone {
			s.Spec.Template.EC2.Subnet = aws.ToString(n.SubnetId)
		}
	}
	proof, _ := fence.Prove(s, 0, "", nil, time.Now())
	_, err = a.p.Do(t.Context(), provider.Call{Step: fleet.Step{Kind: fleet.StepLaunch, Server: s.Name, Epoch: 1, Rung: fleet.Relaunch, Token: "t"}, Server: s, Term: 1, Proof: proof})
	if class, may := provider.ClassOf(err); class != provider.Permanent || may || !strings.Contains(err.Error(), "name a subnet of "+a.zone) {
		t.Errorf("class %s, may have happened %v: %v", class, may, err)
	}
	if n := len(a.instances(s.Name, "pending", "running", "stopped")); n != 0 {
		t.Errorf("%d instances were launched", n)
	}
}

// The whole identity goes from one epoch to the next, and nothing of it stays behind.
func TestMoto_OP_NETID(t *testing.T) {
	a := motoServer(t).account(t)
	s := a.server()
	do := a.motoSteps(s)
	for epoch := fleet.Epoch(1); epoch <= 2; epoch++ {
		do(epoch, fleet.StepLaunch, fleet.Object{})
		for _, o := range partsOf(s) {
			do(epoch, fleet.StepAttach, o)
		}
		a.holds(s, epoch)
		if epoch == 1 {
			do(1, fleet.StepStop, fleet.Object{})
		}
	}
}

// The end of an instance leaves the volume, the interface and the address.
func TestMoto_AH_DEL(t *testing.T) {
	a := motoServer(t).account(t)
	s := a.server()
	do := a.motoSteps(s)
	do(1, fleet.StepLaunch, fleet.Object{})
	for _, o := range partsOf(s) {
		do(1, fleet.StepAttach, o)
	}
	do(1, fleet.StepStop, fleet.Object{})
	id := s.Spec.Identity
	v, err := a.ec2.DescribeVolumes(t.Context(), &ec2.DescribeVolumesInput{VolumeIds: []string{id.Volumes[0].ID}})
	if err != nil || v.Volumes[0].State != "available" {
		t.Errorf("the volume: %+v, %v", v, err)
	}
	if _, err := a.ec2.DescribeNetworkInterfaces(t.Context(), &ec2.DescribeNetworkInterfacesInput{NetworkInterfaceIds: []string{id.Interfaces[0].ID}}); err != nil {
		t.Error(err)
	}
	if _, err := a.ec2.DescribeAddresses(t.Context(), &ec2.DescribeAddressesInput{AllocationIds: []string{id.Addresses[0].Allocation}}); err != nil {
		t.Error(err)
	}
}

// holds demands that an epoch has the volume, the address and the only place in the group.
func (a *motoAccount) holds(s fleet.Server, epoch fleet.Epoch) {
	a.t.Helper()
	if got := a.harness().Holders(s, "data"); !slices.Equal(got, []fleet.Epoch{epoch}) {
		a.t.Errorf("epoch %d: the volume is with %v", epoch, got)
	}
	now := a.instances(s.Name, "pending", "running")
	if len(now) != 1 || epochOf(now[0]) != epoch {
		a.t.Fatalf("epoch %d: %d instances run", epoch, len(now))
	}
	cloud := a.client()
	ip, err := cloud.Addresses(a.t.Context(), []string{s.Spec.Identity.Addresses[0].Allocation})
	if err != nil || len(ip) != 1 || ip[0].Holder != aws.ToString(now[0].InstanceId) {
		a.t.Errorf("epoch %d: the address %+v, %v", epoch, ip, err)
	}
	targets, err := cloud.Targets(a.t.Context(), a.group)
	if err != nil || len(targets) != 1 || targets[0].ID != aws.ToString(now[0].InstanceId) {
		a.t.Errorf("epoch %d: the group serves %+v, %v", epoch, targets, err)
	}
}

func (a *motoAccount) client() *sdk.Client { return sdk.New(a.m.config(a.m)) }
