package sdk

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
	"github.com/aws/aws-sdk-go-v2/service/route53"
	r53types "github.com/aws/aws-sdk-go-v2/service/route53/types"

	provider "relight/internal/provider/aws"
)

func sorted(list []types.Tag) []types.Tag {
	slices.SortFunc(list, func(a, b types.Tag) int { return cmp.Compare(aws.ToString(a.Key), aws.ToString(b.Key)) })
	return list
}

// named asks for objects by a filter, which leaves out those that are not there; a
// list of ids would fail as a whole for one of them.
func named(filter string, ids []string) []types.Filter {
	return []types.Filter{{Name: aws.String(filter), Values: ids}}
}

// Volumes implements provider.Cloud.
func (c *Client) Volumes(ctx context.Context, ids []string) ([]provider.Volume, error) {
	var out []provider.Volume
	pages := ec2.NewDescribeVolumesPaginator(c.ec2, &ec2.DescribeVolumesInput{Filters: named("volume-id", ids), MaxResults: aws.Int32(perPage)})
	for pages.HasMorePages() {
		p, err := pages.NextPage(ctx)
		if err != nil {
			return nil, failed("DescribeVolumes", err)
		}
		for _, v := range p.Volumes {
			x := provider.Volume{
				ID: aws.ToString(v.VolumeId), Zone: aws.ToString(v.AvailabilityZone), Type: string(v.VolumeType), Size: int(aws.ToInt32(v.Size)),
				IOPS: int(aws.ToInt32(v.Iops)), Throughput: int(aws.ToInt32(v.Throughput)), Multi: aws.ToBool(v.MultiAttachEnabled),
			}
			for _, a := range v.Attachments {
				x.Holder, x.Attachment = aws.ToString(a.InstanceId), string(a.State)
			}
			for _, t := range v.Tags {
				if aws.ToString(t.Key) == provider.TagEpoch {
					x.Epoch = provider.ParseEpoch(aws.ToString(t.Value))
				}
			}
			out = append(out, x)
		}
	}
	return out, nil
}

// Interfaces implements provider.Cloud.
func (c *Client) Interfaces(ctx context.Context, ids []string) ([]provider.Interface, error) {
	var out []provider.Interface
	pages := ec2.NewDescribeNetworkInterfacesPaginator(c.ec2, &ec2.DescribeNetworkInterfacesInput{Filters: named("network-interface-id", ids), MaxResults: aws.Int32(perPage)})
	for pages.HasMorePages() {
		p, err := pages.NextPage(ctx)
		if err != nil {
			return nil, failed("DescribeNetworkInterfaces", err)
		}
		for n := range p.NetworkInterfaces {
			out = append(out, ifaceOf(&p.NetworkInterfaces[n]))
		}
	}
	return out, nil
}

// Addresses implements provider.Cloud.
func (c *Client) Addresses(ctx context.Context, allocations []string) ([]provider.Address, error) {
	reply, err := c.ec2.DescribeAddresses(ctx, &ec2.DescribeAddressesInput{Filters: named("allocation-id", allocations)})
	if err != nil {
		return nil, failed("DescribeAddresses", err)
	}
	var out []provider.Address
	for _, a := range reply.Addresses {
		out = append(out, provider.Address{
			Allocation: aws.ToString(a.AllocationId), IP: addressIP(a.PublicIp, a.CustomerOwnedIp), Association: aws.ToString(a.AssociationId),
			Holder: aws.ToString(a.InstanceId), Interface: aws.ToString(a.NetworkInterfaceId), Private: aws.ToString(a.PrivateIpAddress),
		})
	}
	return out, nil
}

// addressIP is an elastic address, be it of Amazon or, on an Outpost, of the customer's own
// pool: EC2 tells that in a field of its own, and no public one.
func addressIP(public, customers *string) string {
	return cmp.Or(aws.ToString(public), aws.ToString(customers))
}

// AttachVolume implements provider.Cloud.
func (c *Client) AttachVolume(ctx context.Context, volume, id, device string) error {
	_, err := c.ec2.AttachVolume(ctx, &ec2.AttachVolumeInput{VolumeId: aws.String(volume), InstanceId: aws.String(id), Device: aws.String(device)})
	return failed("AttachVolume", err)
}

// DetachVolume implements provider.Cloud.
func (c *Client) DetachVolume(ctx context.Context, volume, id string, force bool) error {
	in := &ec2.DetachVolumeInput{VolumeId: aws.String(volume), InstanceId: aws.String(id)}
	if force {
		in.Force = aws.Bool(true)
	}
	_, err := c.ec2.DetachVolume(ctx, in)
	return failed("DetachVolume", err)
}

// AttachInterface implements provider.Cloud.
func (c *Client) AttachInterface(ctx context.Context, iface, id string, index int) error {
	_, err := c.ec2.AttachNetworkInterface(ctx, &ec2.AttachNetworkInterfaceInput{NetworkInterfaceId: aws.String(iface), InstanceId: aws.String(id), DeviceIndex: aws.Int32(int32(index))})
	return failed("AttachNetworkInterface", err)
}

// DetachInterface implements provider.Cloud.
func (c *Client) DetachInterface(ctx context.Context, attachment string) error {
	_, err := c.ec2.DetachNetworkInterface(ctx, &ec2.DetachNetworkInterfaceInput{AttachmentId: aws.String(attachment)})
	return failed("DetachNetworkInterface", err)
}

// Associate implements provider.Cloud.
func (c *Client) Associate(ctx context.Context, allocation, iface, private string, again bool) error {
	in := &ec2.AssociateAddressInput{AllocationId: aws.String(allocation), NetworkInterfaceId: aws.String(iface), AllowReassociation: aws.Bool(again)}
	if private != "" {
		in.PrivateIpAddress = aws.String(private)
	}
	_, err := c.ec2.AssociateAddress(ctx, in)
	return failed("AssociateAddress", err)
}

// Disassociate implements provider.Cloud.
func (c *Client) Disassociate(ctx context.Context, association string) error {
	_, err := c.ec2.DisassociateAddress(ctx, &ec2.DisassociateAddressInput{AssociationId: aws.String(association)})
	return failed("DisassociateAddress", err)
}

// Targets implements provider.Cloud.
func (c *Client) Targets(ctx context.Context, group string) ([]provider.Target, error) {
	reply, err := c.elb.DescribeTargetHealth(ctx, &elasticloadbalancingv2.DescribeTargetHealthInput{TargetGroupArn: aws.String(group)})
	if err != nil {
		return nil, failed("DescribeTargetHealth", err)
	}
	var out []provider.Target
	for _, t := range reply.TargetHealthDescriptions {
		out = append(out, provider.Target{ID: aws.ToString(t.Target.Id), Port: int(aws.ToInt32(t.Target.Port)), Health: string(t.TargetHealth.State)})
	}
	return out, nil
}

func described(targets []provider.Target) []elbtypes.TargetDescription {
	var out []elbtypes.TargetDescription
	for _, t := range targets {
		d := elbtypes.TargetDescription{Id: aws.String(t.ID)}
		if t.Port != 0 {
			d.Port = aws.Int32(int32(t.Port)) //nolint:gosec // G115: a port
		}
		out = append(out, d)
	}
	return out
}

// Register implements provider.Cloud.
func (c *Client) Register(ctx context.Context, group string, targets []provider.Target) error {
	_, err := c.elb.RegisterTargets(ctx, &elasticloadbalancingv2.RegisterTargetsInput{TargetGroupArn: aws.String(group), Targets: described(targets)})
	return failed("RegisterTargets", err)
}

// Deregister implements provider.Cloud.
func (c *Client) Deregister(ctx context.Context, group string, targets []provider.Target) error {
	_, err := c.elb.DeregisterTargets(ctx, &elasticloadbalancingv2.DeregisterTargetsInput{TargetGroupArn: aws.String(group), Targets: described(targets)})
	return failed("DeregisterTargets", err)
}

// SetRecord implements provider.Cloud. The value's family is the record's type.
func (c *Client) SetRecord(ctx context.Context, zone, name, value string, ttl time.Duration) error {
	kind := r53types.RRTypeA
	if ip, err := netip.ParseAddr(value); err == nil && ip.Is6() {
		kind = r53types.RRTypeAaaa
	}
	_, err := c.route53.ChangeResourceRecordSets(ctx, &route53.ChangeResourceRecordSetsInput{
		HostedZoneId: aws.String(zone),
		ChangeBatch: &r53types.ChangeBatch{Changes: []r53types.Change{{
			Action: r53types.ChangeActionUpsert,
			ResourceRecordSet: &r53types.ResourceRecordSet{
				Name: aws.String(name), Type: kind, TTL: aws.Int64(int64(ttl.Seconds())),
				ResourceRecords: []r53types.ResourceRecord{{Value: aws.String(value)}},
			},
		}}},
	})
	return failed("ChangeResourceRecordSets", err)
}
