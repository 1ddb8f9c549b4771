package sdk_test

import (
	"context"
	"errors"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/route53"
	"github.com/aws/aws-sdk-go-v2/service/route53/types"

	awsprovider "relight/internal/provider/aws"
	"relight/internal/world"
)

// These are mistakes of the fake that moto, somebody else's emulator, brought to light.

// Route 53 changes nothing of a batch with a record that is there already, is not there,
// or is another.
func TestFake_RecordBatches(t *testing.T) {
	a := newAccount(t, nil)
	names := route53.NewFromConfig(a.cfg)
	change := func(action types.ChangeAction, value string) error {
		_, err := names.ChangeResourceRecordSets(context.Background(), &route53.ChangeResourceRecordSetsInput{HostedZoneId: aws.String("Z1"), ChangeBatch: &types.ChangeBatch{Changes: []types.Change{{
			Action: action, ResourceRecordSet: &types.ResourceRecordSet{Name: aws.String("a.example.com"), Type: types.RRTypeA, TTL: aws.Int64(60), ResourceRecords: []types.ResourceRecord{{Value: aws.String(value)}}},
		}}}})
		return err
	}
	for n, x := range []struct {
		action  types.ChangeAction
		value   string
		refused bool
	}{
		{types.ChangeActionDelete, "192.0.2.1", true},
		{types.ChangeActionCreate, "192.0.2.1", false},
		{types.ChangeActionCreate, "192.0.2.1", true},
		{types.ChangeActionDelete, "192.0.2.2", true},
		{types.ChangeActionDelete, "192.0.2.1", false},
	} {
		err := change(x.action, x.value)
		var bad *types.InvalidChangeBatch
		if errors.As(err, &bad) != x.refused || (err != nil) != x.refused {
			t.Errorf("%d: %s %s: %v", n, x.action, x.value, err)
		}
	}
}

// What a launch answers shows the interface attached, while describe calls still lag.
func TestFake_LaunchTellsItsInterface(t *testing.T) {
	a := newAccount(t, func(c *world.Config) { c.Lag = 1e9 * 3 })
	out, err := ec2.NewFromConfig(a.cfg).RunInstances(context.Background(), &ec2.RunInstancesInput{MinCount: aws.Int32(1), MaxCount: aws.Int32(1), ImageId: aws.String("ami-1"), InstanceType: "m7i.large", SubnetId: aws.String("subnet-a")})
	if err != nil {
		t.Fatal(err)
	}
	if n := out.Instances[0].NetworkInterfaces; len(n) != 1 || n[0].Attachment == nil || aws.ToString(n[0].Attachment.AttachmentId) == "" {
		t.Errorf("interfaces %+v", n)
	}
}

// A type that earns no credits is said to have the standard option, and a capture leaves
// it out: a launch with it would be refused.
func TestFake_CreditsOfOtherTypes(t *testing.T) {
	a := newAccount(t, nil)
	id, err := a.cloud.Launch(context.Background(), awsprovider.Launch{Token: "x", Template: a.lt, Version: 1, Subnet: "subnet-a"})
	if err != nil {
		t.Fatal(err)
	}
	out, err := ec2.NewFromConfig(a.cfg).DescribeInstanceCreditSpecifications(context.Background(), &ec2.DescribeInstanceCreditSpecificationsInput{InstanceIds: []string{id}})
	if err != nil || aws.ToString(out.InstanceCreditSpecifications[0].CpuCredits) != "standard" {
		t.Errorf("%+v, %v", out, err)
	}
	s, err := a.cloud.Capture(context.Background(), id)
	if err != nil || s.Launch.Credits != "" {
		t.Errorf("credits %q, %v", s.Launch.Credits, err)
	}
}
