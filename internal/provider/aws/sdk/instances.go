package sdk

import (
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"relight/internal/core/fleet"
	provider "relight/internal/provider/aws"
)

// perPage is the most that EC2's describe calls return at once.
const perPage = 1000

// Instances implements provider.Cloud.
func (c *Client) Instances(ctx context.Context, zone string, servers []string) ([]provider.Machine, error) {
	filters := []types.Filter{{Name: aws.String("tag-key"), Values: []string{provider.TagServer}}}
	if len(servers) > 0 {
		filters[0] = types.Filter{Name: aws.String("tag:" + provider.TagServer), Values: servers}
	}
	if zone != "" {
		filters = append(filters, types.Filter{Name: aws.String("availability-zone"), Values: []string{zone}})
	}
	return c.describe(ctx, filters...)
}

// ByToken implements provider.Cloud.
func (c *Client) ByToken(ctx context.Context, token string) (*provider.Machine, error) {
	list, err := c.describe(ctx, types.Filter{Name: aws.String("client-token"), Values: []string{token}})
	if err != nil || len(list) == 0 {
		return nil, err
	}
	return &list[0], nil
}

func (c *Client) describe(ctx context.Context, filters ...types.Filter) ([]provider.Machine, error) {
	var out []provider.Machine
	pages := ec2.NewDescribeInstancesPaginator(c.ec2, &ec2.DescribeInstancesInput{Filters: filters, MaxResults: aws.Int32(perPage)})
	for pages.HasMorePages() {
		p, err := pages.NextPage(ctx)
		if err != nil {
			return nil, failed("DescribeInstances", err)
		}
		for _, r := range p.Reservations {
			for n := range r.Instances {
				out = append(out, machine(&r.Instances[n]))
			}
		}
	}
	return out, nil
}

func machine(i *types.Instance) provider.Machine {
	m := provider.Machine{
		ID: aws.ToString(i.InstanceId), Type: string(i.InstanceType), Launched: aws.ToTime(i.LaunchTime), Tags: map[string]string{},
		Outpost: aws.ToString(i.OutpostArn), Private: map[string][]string{},
	}
	if i.State != nil {
		m.State = string(i.State.Name)
	}
	if i.Placement != nil {
		m.Zone = aws.ToString(i.Placement.AvailabilityZone)
	}
	if i.StateReason != nil {
		m.Reason = aws.ToString(i.StateReason.Code)
	}
	if i.MaintenanceOptions != nil {
		m.AutoRecovery = string(i.MaintenanceOptions.AutoRecovery)
	}
	for _, t := range i.Tags {
		m.Tags[aws.ToString(t.Key)] = aws.ToString(t.Value)
	}
	for _, d := range i.BlockDeviceMappings {
		if d.Ebs != nil {
			m.Devices = append(m.Devices, provider.Device{Name: aws.ToString(d.DeviceName), Volume: aws.ToString(d.Ebs.VolumeId), Delete: aws.ToBool(d.Ebs.DeleteOnTermination)})
		}
	}
	for _, n := range i.NetworkInterfaces {
		id := aws.ToString(n.NetworkInterfaceId)
		for _, a := range n.PrivateIpAddresses {
			m.Private[id] = append(m.Private[id], aws.ToString(a.PrivateIpAddress))
		}
		if n.Association != nil {
			m.Public = append(m.Public, addressIP(n.Association.PublicIp, n.Association.CustomerOwnedIp))
		}
		if a := n.Attachment; a != nil && aws.ToBool(a.DeleteOnTermination) {
			if m.Ending == nil {
				m.Ending = map[string]string{}
			}
			m.Ending[id] = aws.ToString(a.AttachmentId)
		}
		if n.Attachment != nil && aws.ToInt32(n.Attachment.DeviceIndex) == 0 {
			m.Interfaces = append([]string{id}, m.Interfaces...)
			continue
		}
		m.Interfaces = append(m.Interfaces, id)
	}
	return m
}

// fewChecks is how many ids DescribeInstanceStatus takes.
const fewChecks = 100

// Checks implements provider.Cloud.
func (c *Client) Checks(ctx context.Context, zone string, ids []string) ([]provider.Check, error) {
	if len(ids) == 0 {
		return c.checks(ctx, &ec2.DescribeInstanceStatusInput{
			MaxResults: aws.Int32(perPage), Filters: []types.Filter{{Name: aws.String("availability-zone"), Values: []string{zone}}},
		})
	}
	var out []provider.Check
	for part := range slices.Chunk(ids, fewChecks) {
		list, err := c.checks(ctx, &ec2.DescribeInstanceStatusInput{InstanceIds: part})
		if err != nil {
			return nil, err
		}
		out = append(out, list...)
	}
	return out, nil
}

func (c *Client) checks(ctx context.Context, in *ec2.DescribeInstanceStatusInput) ([]provider.Check, error) {
	var out []provider.Check
	pages := ec2.NewDescribeInstanceStatusPaginator(c.ec2, in)
	for pages.HasMorePages() {
		p, err := pages.NextPage(ctx)
		if err != nil {
			return nil, failed("DescribeInstanceStatus", err)
		}
		for n := range p.InstanceStatuses {
			out = append(out, check(&p.InstanceStatuses[n]))
		}
	}
	return out, nil
}

func check(s *types.InstanceStatus) provider.Check {
	out := provider.Check{ID: aws.ToString(s.InstanceId)}
	since := func(details []types.InstanceStatusDetails) {
		for _, d := range details {
			if d.ImpairedSince != nil && (out.Since.IsZero() || d.ImpairedSince.Before(out.Since)) {
				out.Since = *d.ImpairedSince
			}
		}
	}
	if s.SystemStatus != nil {
		out.System = string(s.SystemStatus.Status)
		since(s.SystemStatus.Details)
	}
	if s.InstanceStatus != nil {
		out.Instance = string(s.InstanceStatus.Status)
		since(s.InstanceStatus.Details)
	}
	if s.AttachedEbsStatus != nil {
		out.Disk = string(s.AttachedEbsStatus.Status)
	}
	for _, e := range s.Events {
		if about := aws.ToString(e.Description); strings.HasPrefix(about, "[Completed]") || strings.HasPrefix(about, "[Canceled]") {
			continue // EC2 shows what is over for a week
		}
		out.Scheduled = append(out.Scheduled, fleet.Scheduled{ID: aws.ToString(e.InstanceEventId), What: string(e.Code), NotBefore: aws.ToTime(e.NotBefore)})
	}
	return out
}

// Launch implements provider.Cloud.
func (c *Client) Launch(ctx context.Context, l provider.Launch) (string, error) {
	in := &ec2.RunInstancesInput{
		MinCount: aws.Int32(1), MaxCount: aws.Int32(1), ClientToken: aws.String(l.Token),
		TagSpecifications: []types.TagSpecification{{ResourceType: types.ResourceTypeInstance, Tags: tags(l.Tags)}},
	}
	if l.Template != "" {
		in.LaunchTemplate = &types.LaunchTemplateSpecification{LaunchTemplateId: aws.String(l.Template), Version: aws.String(strconv.Itoa(l.Version))}
	}
	launchOwn(in, l.Own, l.Primary == "")
	if l.Type != "" {
		in.InstanceType = types.InstanceType(l.Type)
	}
	if l.UserData != nil {
		in.UserData = aws.String(base64.StdEncoding.EncodeToString(l.UserData))
	}
	if l.NoAutoRecovery {
		in.MaintenanceOptions = &types.InstanceMaintenanceOptionsRequest{AutoRecovery: types.InstanceAutoRecoveryStateDisabled}
	}
	switch {
	case l.Primary != "":
		in.NetworkInterfaces = []types.InstanceNetworkInterfaceSpecification{{DeviceIndex: aws.Int32(0), NetworkInterfaceId: aws.String(l.Primary)}}
	case l.Subnet != "":
		in.SubnetId = aws.String(l.Subnet)
	}
	out, err := c.ec2.RunInstances(ctx, in)
	if err != nil {
		return "", failed("RunInstances", err)
	}
	return aws.ToString(out.Instances[0].InstanceId), nil
}

func tags(from map[string]string) []types.Tag {
	var out []types.Tag
	for k, v := range from {
		out = append(out, types.Tag{Key: aws.String(k), Value: aws.String(v)})
	}
	return sorted(out)
}

// TemplateUserData implements provider.Cloud.
func (c *Client) TemplateUserData(ctx context.Context, template string, version int) ([]byte, error) {
	out, err := c.ec2.DescribeLaunchTemplateVersions(ctx, &ec2.DescribeLaunchTemplateVersionsInput{
		LaunchTemplateId: aws.String(template), Versions: []string{strconv.Itoa(version)},
	})
	if err != nil {
		return nil, failed("DescribeLaunchTemplateVersions", err)
	}
	for _, v := range out.LaunchTemplateVersions {
		if v.LaunchTemplateData == nil || aws.ToString(v.LaunchTemplateData.UserData) == "" {
			continue
		}
		data, err := base64.StdEncoding.DecodeString(aws.ToString(v.LaunchTemplateData.UserData))
		if err != nil {
			return nil, fmt.Errorf("user data of launch template %s version %d: %w", template, version, err)
		}
		return data, nil
	}
	return nil, nil
}

// SetUserData implements provider.Cloud.
func (c *Client) SetUserData(ctx context.Context, id string, data []byte) error {
	_, err := c.ec2.ModifyInstanceAttribute(ctx, &ec2.ModifyInstanceAttributeInput{InstanceId: aws.String(id), UserData: &types.SecureBlobAttributeValue{Value: data}})
	return failed("ModifyInstanceAttribute", err)
}

// Start implements provider.Cloud.
func (c *Client) Start(ctx context.Context, id string) error {
	_, err := c.ec2.StartInstances(ctx, &ec2.StartInstancesInput{InstanceIds: []string{id}})
	return failed("StartInstances", err)
}

// Stop implements provider.Cloud.
func (c *Client) Stop(ctx context.Context, id string, e provider.Ending) error {
	_, err := c.ec2.StopInstances(ctx, &ec2.StopInstancesInput{InstanceIds: []string{id}, Force: flag(e.Force), SkipOsShutdown: flag(e.SkipOS)})
	return failed("StopInstances", err)
}

// Terminate implements provider.Cloud.
func (c *Client) Terminate(ctx context.Context, id string, e provider.Ending) error {
	_, err := c.ec2.TerminateInstances(ctx, &ec2.TerminateInstancesInput{InstanceIds: []string{id}, Force: flag(e.Force), SkipOsShutdown: flag(e.SkipOS)})
	return failed("TerminateInstances", err)
}

// flag leaves out what is false, so that older endpoints see nothing new.
func flag(b bool) *bool {
	if !b {
		return nil
	}
	return &b
}

// Reboot implements provider.Cloud.
func (c *Client) Reboot(ctx context.Context, id string) error {
	_, err := c.ec2.RebootInstances(ctx, &ec2.RebootInstancesInput{InstanceIds: []string{id}})
	return failed("RebootInstances", err)
}

// Tag implements provider.Cloud.
func (c *Client) Tag(ctx context.Context, id string, with map[string]string) error {
	_, err := c.ec2.CreateTags(ctx, &ec2.CreateTagsInput{Resources: []string{id}, Tags: tags(with)})
	return failed("CreateTags", err)
}

// KeepDisks implements provider.Cloud.
func (c *Client) KeepDisks(ctx context.Context, id string, devices []string) error {
	in := &ec2.ModifyInstanceAttributeInput{InstanceId: aws.String(id)}
	for _, d := range devices {
		in.BlockDeviceMappings = append(in.BlockDeviceMappings, types.InstanceBlockDeviceMappingSpecification{
			DeviceName: aws.String(d), Ebs: &types.EbsInstanceBlockDeviceSpecification{DeleteOnTermination: aws.Bool(false)},
		})
	}
	_, err := c.ec2.ModifyInstanceAttribute(ctx, in)
	return failed("ModifyInstanceAttribute", err)
}

// DisableAutoRecovery implements provider.Cloud.
func (c *Client) DisableAutoRecovery(ctx context.Context, id string) error {
	_, err := c.ec2.ModifyInstanceMaintenanceOptions(ctx, &ec2.ModifyInstanceMaintenanceOptionsInput{InstanceId: aws.String(id), AutoRecovery: types.InstanceAutoRecoveryStateDisabled})
	return failed("ModifyInstanceMaintenanceOptions", err)
}
