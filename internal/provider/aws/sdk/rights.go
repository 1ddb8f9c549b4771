package sdk

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/route53"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"relight/internal/core/fleet"
	provider "relight/internal/provider/aws"
	"relight/internal/provider/aws/examine"
)

// trial is an action that can be tried without an effect.
type trial struct {
	action string
	try    func(context.Context) error
	// why it matters, where that is not what every recovery needs.
	why string
}

// rights tries every action that EC2 lets one try: a dry run says what a real call
// would have been told. Changes of other services cannot be tried: IAM is asked.
func (c *Client) rights(ctx context.Context, f *examine.Facts) {
	trials := append(c.readTrials(), c.instanceTrials(f)...)
	trials = append(trials, c.identityTrials(f)...)
	for _, s := range f.Servers {
		trials = append(trials, c.launchTrial(s))
	}
	trials = append(trials, c.forceTrials(f)...)
	trials = append(trials, c.elsewhereTrials(f)...)
	answers := map[string]examine.Right{}
	var order []string
	for _, t := range trials {
		r := c.answer(ctx, t.action, t.try(ctx))
		r.Why = t.why
		was, tried := answers[r.Action]
		if !tried {
			order = append(order, r.Action)
		}
		if !tried || was.Answer == examine.Allowed || r.Answer == examine.Denied { // the worst counts
			answers[r.Action] = r
		}
	}
	for _, a := range order {
		f.Rights = append(f.Rights, answers[a])
	}
	c.simulated(ctx, f)
}

// answer reads what a dry run was told.
func (c *Client) answer(ctx context.Context, action string, err error) examine.Right {
	r := examine.Right{Action: action, Answer: examine.Unknown}
	var e *provider.APIError
	switch {
	case err == nil:
		r.Answer = examine.Allowed
	case !errors.As(err, &e):
		r.Detail = err.Error()
	case e.Code == "DryRunOperation":
		r.Answer = examine.Allowed
	case e.Code == "UnauthorizedOperation", strings.HasPrefix(e.Code, "AccessDenied"), e.Code == "AuthFailure":
		r.Answer, r.Detail = examine.Denied, c.decoded(ctx, e.Message)
		if strings.Contains(e.Message, "iam:PassRole") || strings.Contains(r.Detail, "iam:PassRole") {
			r.Action = "iam:PassRole"
		}
	default:
		r.Detail = e.Code // it came past the check of rights, or before it
	}
	return r
}

const encoded = "Encoded authorization failure message:"

// decoded opens the sealed part of a refusal, if we may.
func (c *Client) decoded(ctx context.Context, message string) string {
	plain, seal, is := strings.Cut(message, encoded)
	if !is {
		return message
	}
	out, err := c.sts.DecodeAuthorizationMessage(ctx, &sts.DecodeAuthorizationMessageInput{EncodedMessage: aws.String(strings.TrimSpace(seal))})
	if err != nil {
		return strings.TrimSpace(plain) + " (to read more, allow sts:DecodeAuthorizationMessage)"
	}
	var x struct {
		Deny    bool `json:"explicitDeny"`
		Context struct {
			Principal struct {
				ARN string `json:"arn"`
			} `json:"principal"`
			Action, Resource string
		} `json:"context"`
	}
	if json.Unmarshal([]byte(aws.ToString(out.DecodedMessage)), &x) != nil {
		return strings.TrimSpace(plain)
	}
	why := "no policy allows it"
	if x.Deny {
		why = "a policy denies it"
	}
	return why + ": " + x.Context.Action + " on " + x.Context.Resource + " for " + x.Context.Principal.ARN
}

func (c *Client) readTrials() []trial {
	dry := aws.Bool(true)
	return []trial{
		{action: "ec2:DescribeInstances", try: func(ctx context.Context) error {
			_, err := c.ec2.DescribeInstances(ctx, &ec2.DescribeInstancesInput{DryRun: dry, MaxResults: aws.Int32(5)})
			return failed("DescribeInstances", err)
		}},
		{action: "ec2:DescribeInstanceStatus", try: func(ctx context.Context) error {
			_, err := c.ec2.DescribeInstanceStatus(ctx, &ec2.DescribeInstanceStatusInput{DryRun: dry, MaxResults: aws.Int32(5)})
			return failed("DescribeInstanceStatus", err)
		}},
		{action: "ec2:DescribeVolumes", try: func(ctx context.Context) error {
			_, err := c.ec2.DescribeVolumes(ctx, &ec2.DescribeVolumesInput{DryRun: dry, MaxResults: aws.Int32(5)})
			return failed("DescribeVolumes", err)
		}},
		{action: "ec2:DescribeNetworkInterfaces", try: func(ctx context.Context) error {
			_, err := c.ec2.DescribeNetworkInterfaces(ctx, &ec2.DescribeNetworkInterfacesInput{DryRun: dry, MaxResults: aws.Int32(5)})
			return failed("DescribeNetworkInterfaces", err)
		}},
		{action: "ec2:DescribeAddresses", try: func(ctx context.Context) error {
			_, err := c.ec2.DescribeAddresses(ctx, &ec2.DescribeAddressesInput{DryRun: dry, Filters: named("domain", []string{"vpc"})})
			return failed("DescribeAddresses", err)
		}},
		{action: "ec2:DescribeSubnets", why: "that a launch and its volumes are in different zones would come out at the attach only", try: func(ctx context.Context) error {
			_, err := c.ec2.DescribeSubnets(ctx, &ec2.DescribeSubnetsInput{DryRun: dry, MaxResults: aws.Int32(5)})
			return failed("DescribeSubnets", err)
		}},
		c.zonesTrial("the instances of all zones would be read together, so that one zone whose calls fail hides those of all others"),
	}
}

// instanceTrials are the actions on instances, tried on one of ours: a policy may ask
// for our tags. Without one nothing is known.
func (c *Client) instanceTrials(f *examine.Facts) []trial {
	if len(f.Machines) == 0 {
		return nil
	}
	dry, id := aws.Bool(true), f.Machines[0].ID
	for _, m := range f.Machines {
		if m.State == "running" {
			id = m.ID
		}
	}
	one := []string{id}
	return []trial{
		{action: "ec2:StartInstances", try: func(ctx context.Context) error {
			_, err := c.ec2.StartInstances(ctx, &ec2.StartInstancesInput{DryRun: dry, InstanceIds: one})
			return failed("StartInstances", err)
		}},
		{action: "ec2:StopInstances", try: func(ctx context.Context) error {
			_, err := c.ec2.StopInstances(ctx, &ec2.StopInstancesInput{DryRun: dry, InstanceIds: one})
			return failed("StopInstances", err)
		}},
		{action: "ec2:TerminateInstances", try: func(ctx context.Context) error {
			_, err := c.ec2.TerminateInstances(ctx, &ec2.TerminateInstancesInput{DryRun: dry, InstanceIds: one})
			return failed("TerminateInstances", err)
		}},
		{action: "ec2:RebootInstances", try: func(ctx context.Context) error {
			_, err := c.ec2.RebootInstances(ctx, &ec2.RebootInstancesInput{DryRun: dry, InstanceIds: one})
			return failed("RebootInstances", err)
		}},
		{action: "ec2:CreateTags", try: func(ctx context.Context) error {
			_, err := c.ec2.CreateTags(ctx, &ec2.CreateTagsInput{DryRun: dry, Resources: one, Tags: []types.Tag{{Key: aws.String(provider.TagReboot), Value: aws.String("trial")}}})
			return failed("CreateTags", err)
		}},
		{action: "ec2:ModifyInstanceAttribute", try: func(ctx context.Context) error {
			_, err := c.ec2.ModifyInstanceAttribute(ctx, &ec2.ModifyInstanceAttributeInput{DryRun: dry, InstanceId: aws.String(id), BlockDeviceMappings: []types.InstanceBlockDeviceMappingSpecification{
				{DeviceName: aws.String("/dev/xvda"), Ebs: &types.EbsInstanceBlockDeviceSpecification{DeleteOnTermination: aws.Bool(false)}},
			}})
			return failed("ModifyInstanceAttribute", err)
		}},
		{action: "ec2:ModifyInstanceMaintenanceOptions", try: func(ctx context.Context) error {
			_, err := c.ec2.ModifyInstanceMaintenanceOptions(ctx, &ec2.ModifyInstanceMaintenanceOptionsInput{DryRun: dry, InstanceId: aws.String(id), AutoRecovery: types.InstanceAutoRecoveryStateDisabled})
			return failed("ModifyInstanceMaintenanceOptions", err)
		}},
	}
}

// identityTrials are the actions on what the first server with such a thing is known by.
func (c *Client) identityTrials(f *examine.Facts) []trial {
	var volume, iface, allocation, group, zone string
	for _, s := range f.Servers {
		id := s.Spec.Identity
		for _, v := range id.Volumes {
			volume = cmp.Or(volume, v.ID)
		}
		for _, n := range id.Interfaces {
			iface = cmp.Or(iface, n.ID)
		}
		for _, a := range id.Addresses {
			allocation = cmp.Or(allocation, a.Allocation)
		}
		for _, g := range id.Groups {
			group = cmp.Or(group, g.ID)
		}
		for _, n := range id.Names {
			zone = cmp.Or(zone, n.Zone)
		}
	}
	instance := ""
	if len(f.Machines) > 0 {
		instance = f.Machines[0].ID
	}
	dry := aws.Bool(true)
	var out []trial
	add := func(needs bool, action string, try func(context.Context) error) {
		if needs {
			out = append(out, trial{action: action, try: try})
		}
	}
	add(volume != "" && instance != "", "ec2:AttachVolume", func(ctx context.Context) error {
		_, err := c.ec2.AttachVolume(ctx, &ec2.AttachVolumeInput{DryRun: dry, VolumeId: aws.String(volume), InstanceId: aws.String(instance), Device: aws.String("/dev/sdz")})
		return failed("AttachVolume", err)
	})
	add(volume != "" && instance != "", "ec2:DetachVolume", func(ctx context.Context) error {
		_, err := c.ec2.DetachVolume(ctx, &ec2.DetachVolumeInput{DryRun: dry, VolumeId: aws.String(volume), InstanceId: aws.String(instance)})
		return failed("DetachVolume", err)
	})
	add(iface != "" && instance != "", "ec2:AttachNetworkInterface", func(ctx context.Context) error {
		_, err := c.ec2.AttachNetworkInterface(ctx, &ec2.AttachNetworkInterfaceInput{DryRun: dry, NetworkInterfaceId: aws.String(iface), InstanceId: aws.String(instance), DeviceIndex: aws.Int32(1)})
		return failed("AttachNetworkInterface", err)
	})
	add(iface != "", "ec2:ModifyNetworkInterfaceAttribute", func(ctx context.Context) error {
		_, err := c.ec2.ModifyNetworkInterfaceAttribute(ctx, &ec2.ModifyNetworkInterfaceAttributeInput{DryRun: dry, NetworkInterfaceId: aws.String(iface), Description: &types.AttributeValue{Value: aws.String("trial")}})
		return failed("ModifyNetworkInterfaceAttribute", err)
	})
	add(allocation != "" && iface != "", "ec2:AssociateAddress", func(ctx context.Context) error {
		_, err := c.ec2.AssociateAddress(ctx, &ec2.AssociateAddressInput{DryRun: dry, AllocationId: aws.String(allocation), NetworkInterfaceId: aws.String(iface), AllowReassociation: aws.Bool(false)})
		return failed("AssociateAddress", err)
	})
	add(iface != "", "ec2:DetachNetworkInterface", func(ctx context.Context) error {
		n, err := c.Interfaces(ctx, []string{iface})
		if err != nil || len(n) == 0 || n[0].Attachment == "" {
			return cmp.Or(err, fmt.Errorf("%s is not attached, so that its detach cannot be tried", iface))
		}
		_, err = c.ec2.DetachNetworkInterface(ctx, &ec2.DetachNetworkInterfaceInput{DryRun: dry, AttachmentId: aws.String(n[0].Attachment)})
		return failed("DetachNetworkInterface", err)
	})
	add(allocation != "", "ec2:DisassociateAddress", func(ctx context.Context) error {
		a, err := c.Addresses(ctx, []string{allocation})
		if err != nil || len(a) == 0 || a[0].Association == "" {
			return cmp.Or(err, fmt.Errorf("%s leads nowhere, so that its end cannot be tried", allocation))
		}
		_, err = c.ec2.DisassociateAddress(ctx, &ec2.DisassociateAddressInput{DryRun: dry, AssociationId: aws.String(a[0].Association)})
		return failed("DisassociateAddress", err)
	})
	add(group != "", "elasticloadbalancing:DescribeTargetHealth", func(ctx context.Context) error {
		_, err := c.elb.DescribeTargetHealth(ctx, &elasticloadbalancingv2.DescribeTargetHealthInput{TargetGroupArn: aws.String(group)})
		return failed("DescribeTargetHealth", err)
	})
	add(zone != "", "route53:ListResourceRecordSets", func(ctx context.Context) error {
		_, err := c.route53.ListResourceRecordSets(ctx, &route53.ListResourceRecordSetsInput{HostedZoneId: aws.String(zone), MaxItems: aws.Int32(1)})
		return failed("ListResourceRecordSets", err)
	})
	return out
}

// launchTrial is the launch of a server's next instance, in all but its effect. It asks
// for the role of the instance profile too.
func (c *Client) launchTrial(s fleet.Server) trial {
	return trial{action: "ec2:RunInstances", try: func(ctx context.Context) error {
		t := s.Spec.Template.EC2
		in := &ec2.RunInstancesInput{DryRun: aws.Bool(true), MinCount: aws.Int32(1), MaxCount: aws.Int32(1), SubnetId: text(t.Subnet)}
		if t.LaunchTemplate != "" {
			in.LaunchTemplate = &types.LaunchTemplateSpecification{LaunchTemplateId: aws.String(t.LaunchTemplate), Version: aws.String(strconv.Itoa(t.Version))}
		}
		in.TagSpecifications = []types.TagSpecification{{ResourceType: types.ResourceTypeInstance, Tags: tags(map[string]string{provider.TagServer: s.Name, provider.TagEpoch: "1"})}}
		fresh := true
		for _, n := range s.Spec.Identity.Interfaces {
			if n.Index == 0 {
				fresh, in.SubnetId = false, nil
				in.NetworkInterfaces = []types.InstanceNetworkInterfaceSpecification{{DeviceIndex: aws.Int32(0), NetworkInterfaceId: aws.String(n.ID)}}
			}
		}
		launchOwn(in, t.Launch, fresh)
		_, err := c.ec2.RunInstances(ctx, in)
		return failed("RunInstances", err)
	}}
}
