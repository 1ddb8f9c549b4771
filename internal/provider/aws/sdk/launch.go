package sdk

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"relight/internal/core/fleet"
)

// launchOwn puts what a spec itself says of a launch into the request, where it wins
// over the launch template. fresh is whether the primary interface is made with the
// instance: security groups are an existing one's own.
func launchOwn(in *ec2.RunInstancesInput, l *fleet.EC2Launch, fresh bool) {
	if l == nil {
		return
	}
	in.ImageId, in.KeyName, in.UserData = text(l.Image), text(l.Key), text(l.UserData)
	in.InstanceType = types.InstanceType(l.Type)
	in.InstanceInitiatedShutdownBehavior = types.ShutdownBehavior(l.OnShutdown)
	in.EbsOptimized = flag(l.EBSOptimized)
	if l.Profile != "" {
		in.IamInstanceProfile = &types.IamInstanceProfileSpecification{Arn: aws.String(l.Profile)}
	}
	if fresh {
		in.SecurityGroupIds = l.Groups
	}
	if l.Monitoring {
		in.Monitoring = &types.RunInstancesMonitoringEnabled{Enabled: aws.Bool(true)}
	}
	if l.Enclave {
		in.EnclaveOptions = &types.EnclaveOptionsRequest{Enabled: aws.Bool(true)}
	}
	if l.Hibernation {
		in.HibernationOptions = &types.HibernationOptionsRequest{Configured: aws.Bool(true)}
	}
	if l.Credits != "" {
		in.CreditSpecification = &types.CreditSpecificationRequest{CpuCredits: aws.String(string(l.Credits))}
	}
	if l.Bandwidth != "" {
		in.NetworkPerformanceOptions = &types.InstanceNetworkPerformanceOptionsRequest{BandwidthWeighting: types.InstanceBandwidthWeighting(l.Bandwidth)}
	}
	for _, arn := range l.Licenses {
		in.LicenseSpecifications = append(in.LicenseSpecifications, types.LicenseConfigurationRequest{LicenseConfigurationArn: aws.String(arn)})
	}
	launchRoot(in, l.Root)
	launchMetadata(in, l.Metadata)
	launchPlace(in, l.Place)
	launchRest(in, l)
}

func launchRoot(in *ec2.RunInstancesInput, r *fleet.EC2Root) {
	if r == nil {
		return
	}
	disk := &types.EbsBlockDevice{
		VolumeSize: count(r.Size), VolumeType: types.VolumeType(r.Type), Iops: count(r.IOPS), Throughput: count(r.Throughput),
		Encrypted: flag(r.Encrypted), KmsKeyId: text(r.Key), DeleteOnTermination: aws.Bool(!r.Keep),
	}
	in.BlockDeviceMappings = []types.BlockDeviceMapping{{DeviceName: aws.String(r.Device), Ebs: disk}}
	if len(r.Tags) > 0 {
		in.TagSpecifications = append(in.TagSpecifications, types.TagSpecification{ResourceType: types.ResourceTypeVolume, Tags: tags(r.Tags)})
	}
}

func launchMetadata(in *ec2.RunInstancesInput, m *fleet.EC2Metadata) {
	if m == nil {
		return
	}
	o := &types.InstanceMetadataOptionsRequest{
		HttpTokens: types.HttpTokensState(m.Tokens), HttpPutResponseHopLimit: count(m.HopLimit), HttpEndpoint: types.InstanceMetadataEndpointStateEnabled,
	}
	if m.Off {
		o.HttpEndpoint = types.InstanceMetadataEndpointStateDisabled
	}
	if m.IPv6 {
		o.HttpProtocolIpv6 = types.InstanceMetadataProtocolStateEnabled
	}
	if m.Tags {
		o.InstanceMetadataTags = types.InstanceMetadataTagsStateEnabled
	}
	in.MetadataOptions = o
}

func launchPlace(in *ec2.RunInstancesInput, p *fleet.EC2Place) {
	if p == nil {
		return
	}
	in.Placement = &types.Placement{
		Tenancy: types.Tenancy(p.Tenancy), HostId: text(p.Host), HostResourceGroupArn: text(p.HostGroup),
		GroupName: text(p.Group), PartitionNumber: count(p.Partition),
	}
	if p.Pinned {
		in.Placement.Affinity = aws.String("host")
	}
}

func launchRest(in *ec2.RunInstancesInput, l *fleet.EC2Launch) {
	if c := l.CPU; c != nil {
		in.CpuOptions = &types.CpuOptionsRequest{CoreCount: count(c.Cores), ThreadsPerCore: count(c.Threads)}
	}
	if h := l.Hostname; h != nil {
		in.PrivateDnsNameOptions = &types.PrivateDnsNameOptionsRequest{
			HostnameType: types.HostnameType(h.Type), EnableResourceNameDnsARecord: aws.Bool(h.A), EnableResourceNameDnsAAAARecord: aws.Bool(h.AAAA),
		}
	}
	if r := l.Reservation; r != nil {
		in.CapacityReservationSpecification = &types.CapacityReservationSpecification{CapacityReservationPreference: types.CapacityReservationPreference(r.Preference)}
		if r.ID != "" || r.Group != "" {
			in.CapacityReservationSpecification.CapacityReservationTarget = &types.CapacityReservationTarget{CapacityReservationId: text(r.ID), CapacityReservationResourceGroupArn: text(r.Group)}
		}
	}
}

// text and count leave out what is not set.
func text(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func count(n int) *int32 {
	if n == 0 {
		return nil
	}
	return aws.Int32(int32(n))
}

// KeepInterface implements provider.Cloud.
func (c *Client) KeepInterface(ctx context.Context, iface, attachment string) error {
	_, err := c.ec2.ModifyNetworkInterfaceAttribute(ctx, &ec2.ModifyNetworkInterfaceAttributeInput{
		NetworkInterfaceId: aws.String(iface),
		Attachment:         &types.NetworkInterfaceAttachmentChanges{AttachmentId: aws.String(attachment), DeleteOnTermination: aws.Bool(false)},
	})
	return failed("ModifyNetworkInterfaceAttribute", err)
}
