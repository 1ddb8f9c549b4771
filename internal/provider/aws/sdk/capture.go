package sdk

import (
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"relight/internal/core/fleet"
	provider "relight/internal/provider/aws"
	"relight/internal/provider/aws/capture"
	"relight/internal/provider/guest"
)

// Capture reads everything that an instance is known by. It changes nothing. What
// could not be read is told in the source; an error means that nothing was.
func (c *Client) Capture(ctx context.Context, id string) (capture.Source, error) {
	out, err := c.ec2.DescribeInstances(ctx, &ec2.DescribeInstancesInput{InstanceIds: []string{id}})
	if err != nil {
		return capture.Source{}, failed("DescribeInstances", err)
	}
	if len(out.Reservations) == 0 || len(out.Reservations[0].Instances) == 0 {
		return capture.Source{}, &provider.APIError{Op: "DescribeInstances", Code: "InvalidInstanceID.NotFound", Message: "there is no instance " + id}
	}
	i := &out.Reservations[0].Instances[0]
	s := capturedInstance(i)
	blind := func(what string, err error) {
		if err != nil {
			s.Blind = append(s.Blind, fmt.Sprintf("%s: %v", what, err))
		}
	}
	blind("its machine type", c.captureType(ctx, &s))
	blind("its attributes", c.captureAttributes(ctx, &s))
	blind("its volumes", c.captureDisks(ctx, i, &s))
	blind("its interfaces", c.captureInterfaces(ctx, i, &s))
	blind("its elastic addresses", c.captureAddresses(ctx, &s))
	blind("its target groups", c.capturePlaces(ctx, &s))
	blind("DNS records", c.captureRecords(ctx, &s))
	blind("its Auto Scaling group", c.captureScaling(ctx, &s))
	return s, nil
}

// Of returns the instances that are a server's and have not ended, by its tag.
func (c *Client) Of(ctx context.Context, server string) ([]string, error) {
	all, err := c.Instances(ctx, "", []string{server})
	if err != nil {
		return nil, err
	}
	var out []string
	for _, m := range all {
		if m.State != "terminated" && m.State != "shutting-down" {
			out = append(out, m.ID)
		}
	}
	return out, nil
}

func capturedInstance(i *types.Instance) capture.Source {
	s := capture.Source{
		ID: aws.ToString(i.InstanceId), Subnet: aws.ToString(i.SubnetId), Outpost: aws.ToString(i.OutpostArn),
		Tags: map[string]string{}, Lifecycle: string(i.InstanceLifecycle), StoreRoot: i.RootDeviceType == types.DeviceTypeInstanceStore, RootDevice: aws.ToString(i.RootDeviceName),
		PublicIP: aws.ToString(i.PublicIpAddress),
	}
	if i.State != nil {
		s.State = string(i.State.Name)
	}
	for _, t := range i.Tags {
		s.Tags[aws.ToString(t.Key)] = aws.ToString(t.Value)
	}
	if i.MaintenanceOptions != nil {
		s.AutoRecovery = string(i.MaintenanceOptions.AutoRecovery)
	}
	l := &s.Launch
	l.Image, l.Type, l.Key = aws.ToString(i.ImageId), string(i.InstanceType), aws.ToString(i.KeyName)
	l.EBSOptimized = aws.ToBool(i.EbsOptimized)
	if i.IamInstanceProfile != nil {
		l.Profile = aws.ToString(i.IamInstanceProfile.Arn)
	}
	for _, g := range i.SecurityGroups {
		l.Groups = append(l.Groups, aws.ToString(g.GroupId))
	}
	if i.Monitoring != nil {
		l.Monitoring = i.Monitoring.State == types.MonitoringStateEnabled || i.Monitoring.State == types.MonitoringStatePending
	}
	for _, x := range i.Licenses {
		l.Licenses = append(l.Licenses, aws.ToString(x.LicenseConfigurationArn))
	}
	capturedOptions(i, l)
	if p := i.Placement; p != nil {
		s.Zone = aws.ToString(p.AvailabilityZone)
		l.Place = &fleet.EC2Place{
			Tenancy: fleet.EC2Tenancy(p.Tenancy), Host: aws.ToString(p.HostId), HostGroup: aws.ToString(p.HostResourceGroupArn),
			Pinned: aws.ToString(p.Affinity) == "host", Group: aws.ToString(p.GroupName), Partition: int(aws.ToInt32(p.PartitionNumber)),
		}
		if l.Place.HostGroup != "" || l.Place.Tenancy == fleet.TenancyHost && !l.Place.Pinned {
			l.Place.Host = "" // it was placed there, and could have been elsewhere
		}
	}
	return s
}

func capturedOptions(i *types.Instance, l *fleet.EC2Launch) {
	if m := i.MetadataOptions; m != nil {
		l.Metadata = &fleet.EC2Metadata{
			Tokens: fleet.EC2Tokens(m.HttpTokens), HopLimit: int(aws.ToInt32(m.HttpPutResponseHopLimit)), Off: m.HttpEndpoint == types.InstanceMetadataEndpointStateDisabled,
			IPv6: m.HttpProtocolIpv6 == types.InstanceMetadataProtocolStateEnabled, Tags: m.InstanceMetadataTags == types.InstanceMetadataTagsStateEnabled,
		}
	}
	if c := i.CpuOptions; c != nil {
		l.CPU = &fleet.EC2CPU{Cores: int(aws.ToInt32(c.CoreCount)), Threads: int(aws.ToInt32(c.ThreadsPerCore))}
	}
	if i.EnclaveOptions != nil {
		l.Enclave = aws.ToBool(i.EnclaveOptions.Enabled)
	}
	if i.HibernationOptions != nil {
		l.Hibernation = aws.ToBool(i.HibernationOptions.Configured)
	}
	if n := i.NetworkPerformanceOptions; n != nil {
		l.Bandwidth = fleet.EC2Bandwidth(n.BandwidthWeighting)
	}
	if h := i.PrivateDnsNameOptions; h != nil {
		l.Hostname = &fleet.EC2Hostname{Type: fleet.EC2HostnameType(h.HostnameType), A: aws.ToBool(h.EnableResourceNameDnsARecord), AAAA: aws.ToBool(h.EnableResourceNameDnsAAAARecord)}
	}
	if r := i.CapacityReservationSpecification; r != nil {
		l.Reservation = &fleet.EC2Reservation{Preference: fleet.EC2Preference(r.CapacityReservationPreference)}
		if t := r.CapacityReservationTarget; t != nil {
			l.Reservation.ID, l.Reservation.Group = aws.ToString(t.CapacityReservationId), aws.ToString(t.CapacityReservationResourceGroupArn)
		}
	}
}

func (c *Client) captureType(ctx context.Context, s *capture.Source) error {
	out, err := c.ec2.DescribeInstanceTypes(ctx, &ec2.DescribeInstanceTypesInput{InstanceTypes: []types.InstanceType{types.InstanceType(s.Launch.Type)}})
	if err != nil || len(out.InstanceTypes) == 0 {
		return failed("DescribeInstanceTypes", err)
	}
	t := out.InstanceTypes[0]
	s.Type.Burstable = aws.ToBool(t.BurstablePerformanceSupported)
	if t.VCpuInfo != nil {
		s.Type.Cores, s.Type.Threads = int(aws.ToInt32(t.VCpuInfo.DefaultCores)), int(aws.ToInt32(t.VCpuInfo.DefaultThreadsPerCore))
	}
	if !s.Type.Burstable {
		return nil // other types are said to have standard credits, and refuse to be launched with them
	}
	credits, err := c.ec2.DescribeInstanceCreditSpecifications(ctx, &ec2.DescribeInstanceCreditSpecificationsInput{InstanceIds: []string{s.ID}})
	if err != nil {
		return failed("DescribeInstanceCreditSpecifications", err)
	}
	for _, x := range credits.InstanceCreditSpecifications {
		s.Launch.Credits = fleet.EC2Credits(aws.ToString(x.CpuCredits))
	}
	return nil
}

func (c *Client) captureAttributes(ctx context.Context, s *capture.Source) error {
	ask := func(a types.InstanceAttributeName) (*ec2.DescribeInstanceAttributeOutput, error) {
		out, err := c.ec2.DescribeInstanceAttribute(ctx, &ec2.DescribeInstanceAttributeInput{InstanceId: aws.String(s.ID), Attribute: a})
		return out, failed("DescribeInstanceAttribute", err)
	}
	data, err := ask(types.InstanceAttributeNameUserData)
	if err != nil {
		return err
	}
	if data.UserData != nil {
		// What our launch joined to it, an epoch's token with it, is no part of the server.
		s.Launch.UserData = withoutGuest(aws.ToString(data.UserData.Value))
	}
	end, err := ask(types.InstanceAttributeNameInstanceInitiatedShutdownBehavior)
	if err != nil {
		return err
	}
	if end.InstanceInitiatedShutdownBehavior != nil {
		s.Launch.OnShutdown = fleet.EC2OnShutdown(aws.ToString(end.InstanceInitiatedShutdownBehavior.Value))
	}
	kept, err := ask(types.InstanceAttributeNameDisableApiTermination)
	if err != nil {
		return err
	}
	s.Protected = kept.DisableApiTermination != nil && aws.ToBool(kept.DisableApiTermination.Value)
	kept, err = ask(types.InstanceAttributeNameDisableApiStop)
	if err != nil {
		return err
	}
	s.NoStop = kept.DisableApiStop != nil && aws.ToBool(kept.DisableApiStop.Value)
	return nil
}

func (c *Client) captureDisks(ctx context.Context, i *types.Instance, s *capture.Source) error {
	ends := map[string]types.InstanceBlockDeviceMapping{}
	var ids []string
	for _, d := range i.BlockDeviceMappings {
		if d.Ebs != nil {
			ends[aws.ToString(d.Ebs.VolumeId)] = d
			ids = append(ids, aws.ToString(d.Ebs.VolumeId))
		}
	}
	if len(ids) == 0 {
		return nil
	}
	out, err := c.ec2.DescribeVolumes(ctx, &ec2.DescribeVolumesInput{VolumeIds: ids})
	if err != nil {
		return failed("DescribeVolumes", err)
	}
	for _, v := range out.Volumes {
		m := ends[aws.ToString(v.VolumeId)]
		d := capture.Disk{
			Device: aws.ToString(m.DeviceName), Volume: aws.ToString(v.VolumeId), Type: string(v.VolumeType), Key: aws.ToString(v.KmsKeyId), Tags: map[string]string{},
			Size: int(aws.ToInt32(v.Size)), IOPS: int(aws.ToInt32(v.Iops)), Throughput: int(aws.ToInt32(v.Throughput)),
			Ends: aws.ToBool(m.Ebs.DeleteOnTermination), Encrypted: aws.ToBool(v.Encrypted), Multi: aws.ToBool(v.MultiAttachEnabled),
		}
		for _, t := range v.Tags {
			d.Tags[aws.ToString(t.Key)] = aws.ToString(t.Value)
		}
		s.Disks = append(s.Disks, d)
	}
	slices.SortFunc(s.Disks, func(a, b capture.Disk) int { return strings.Compare(a.Device, b.Device) })
	return nil
}

func (c *Client) captureInterfaces(ctx context.Context, i *types.Instance, s *capture.Source) error {
	var ids []string
	for _, n := range i.NetworkInterfaces {
		ids = append(ids, aws.ToString(n.NetworkInterfaceId))
	}
	if len(ids) == 0 {
		return nil
	}
	out, err := c.ec2.DescribeNetworkInterfaces(ctx, &ec2.DescribeNetworkInterfacesInput{NetworkInterfaceIds: ids})
	if err != nil {
		return failed("DescribeNetworkInterfaces", err)
	}
	for n := range out.NetworkInterfaces {
		s.Interfaces = append(s.Interfaces, capturedInterface(&out.NetworkInterfaces[n]))
	}
	return nil
}

func capturedInterface(n *types.NetworkInterface) capture.Interface {
	x := capture.Interface{Kind: string(n.InterfaceType)}
	x.ID, x.MAC, x.NoSourceCheck = aws.ToString(n.NetworkInterfaceId), aws.ToString(n.MacAddress), !aws.ToBool(n.SourceDestCheck)
	for _, g := range n.Groups {
		x.Groups = append(x.Groups, aws.ToString(g.GroupId))
	}
	var rest []string
	for _, a := range n.PrivateIpAddresses {
		if aws.ToBool(a.Primary) {
			x.Addresses = append(x.Addresses, aws.ToString(a.PrivateIpAddress))
		} else {
			rest = append(rest, aws.ToString(a.PrivateIpAddress))
		}
	}
	for _, a := range n.Ipv6Addresses {
		rest = append(rest, aws.ToString(a.Ipv6Address))
	}
	slices.Sort(rest)
	x.Addresses = append(x.Addresses, rest...)
	for _, p := range n.Ipv4Prefixes {
		x.Prefixes = append(x.Prefixes, aws.ToString(p.Ipv4Prefix))
	}
	for _, p := range n.Ipv6Prefixes {
		x.Prefixes = append(x.Prefixes, aws.ToString(p.Ipv6Prefix))
	}
	if a := n.Attachment; a != nil {
		x.Index, x.Card, x.Ends = int(aws.ToInt32(a.DeviceIndex)), int(aws.ToInt32(a.NetworkCardIndex)), aws.ToBool(a.DeleteOnTermination)
	}
	return x
}

func (c *Client) captureAddresses(ctx context.Context, s *capture.Source) error {
	var ids []string
	for _, n := range s.Interfaces {
		ids = append(ids, n.ID)
	}
	if len(ids) == 0 {
		return nil
	}
	out, err := c.ec2.DescribeAddresses(ctx, &ec2.DescribeAddressesInput{Filters: named("network-interface-id", ids)})
	if err != nil {
		return failed("DescribeAddresses", err)
	}
	for _, a := range out.Addresses {
		x := capture.Address{IP: addressIP(a.PublicIp, a.CustomerOwnedIp), Allocation: aws.ToString(a.AllocationId), Interface: aws.ToString(a.NetworkInterfaceId), Private: aws.ToString(a.PrivateIpAddress)}
		if x.IP == s.PublicIP {
			s.PublicIP = "" // it is no passing one
		}
		s.Addresses = append(s.Addresses, x)
	}
	return nil
}

func (c *Client) captureScaling(ctx context.Context, s *capture.Source) error {
	out, err := c.scaling.DescribeAutoScalingInstances(ctx, &autoscaling.DescribeAutoScalingInstancesInput{InstanceIds: []string{s.ID}})
	if err != nil {
		return failed("DescribeAutoScalingInstances", err)
	}
	for _, x := range out.AutoScalingInstances {
		s.ScalingGroup = aws.ToString(x.AutoScalingGroupName)
	}
	return nil
}

func withoutGuest(encoded string) string {
	data, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return encoded // not ours
	}
	return base64.StdEncoding.EncodeToString(guest.Without(data))
}
