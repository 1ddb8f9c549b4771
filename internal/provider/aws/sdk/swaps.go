package sdk

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	provider "relight/internal/provider/aws"
)

func ifaceOf(n *types.NetworkInterface) provider.Interface {
	x := provider.Interface{ID: aws.ToString(n.NetworkInterfaceId), NoSourceCheck: n.SourceDestCheck != nil && !*n.SourceDestCheck}
	if a := n.Attachment; a != nil {
		x.Holder, x.Attachment = aws.ToString(a.InstanceId), aws.ToString(a.AttachmentId)
	}
	for _, a := range n.PrivateIpAddresses {
		x.Addresses = append(x.Addresses, aws.ToString(a.PrivateIpAddress))
	}
	for _, a := range n.Ipv6Addresses {
		x.Addresses = append(x.Addresses, aws.ToString(a.Ipv6Address))
	}
	for _, g := range n.Groups {
		x.Groups = append(x.Groups, aws.ToString(g.GroupId))
	}
	return x
}

// InterfaceByToken implements provider.Cloud.
func (c *Client) InterfaceByToken(ctx context.Context, token string) (*provider.Interface, error) {
	pages := ec2.NewDescribeNetworkInterfacesPaginator(c.ec2, &ec2.DescribeNetworkInterfacesInput{Filters: named("tag:"+provider.TagToken, []string{token})})
	for pages.HasMorePages() {
		p, err := pages.NextPage(ctx)
		if err != nil {
			return nil, failed("DescribeNetworkInterfaces", err)
		}
		if len(p.NetworkInterfaces) > 0 {
			n := ifaceOf(&p.NetworkInterfaces[0])
			return &n, nil
		}
	}
	return nil, nil
}

// MakeInterface implements provider.Cloud.
func (c *Client) MakeInterface(ctx context.Context, n provider.NewInterface) (provider.Interface, error) {
	in := &ec2.CreateNetworkInterfaceInput{
		ClientToken: aws.String(n.Token), SubnetId: aws.String(n.Subnet), Groups: n.Groups,
		TagSpecifications: []types.TagSpecification{{ResourceType: types.ResourceTypeNetworkInterface, Tags: tags(n.Tags)}},
	}
	if n.Addresses > 1 {
		in.SecondaryPrivateIpAddressCount = aws.Int32(int32(n.Addresses - 1))
	}
	if n.IPv6 > 0 {
		in.Ipv6AddressCount = aws.Int32(int32(n.IPv6))
	}
	out, err := c.ec2.CreateNetworkInterface(ctx, in)
	if err != nil {
		return provider.Interface{}, failed("CreateNetworkInterface", err)
	}
	return ifaceOf(out.NetworkInterface), nil
}

// SkipSourceCheck implements provider.Cloud.
func (c *Client) SkipSourceCheck(ctx context.Context, iface string) error {
	_, err := c.ec2.ModifyNetworkInterfaceAttribute(ctx, &ec2.ModifyNetworkInterfaceAttributeInput{
		NetworkInterfaceId: aws.String(iface), SourceDestCheck: &types.AttributeBooleanValue{Value: aws.Bool(false)},
	})
	return failed("ModifyNetworkInterfaceAttribute", err)
}

// Zones implements provider.Cloud.
func (c *Client) Zones(ctx context.Context) (map[string]string, error) {
	out, err := c.ec2.DescribeAvailabilityZones(ctx, &ec2.DescribeAvailabilityZonesInput{})
	if err != nil {
		return nil, failed("DescribeAvailabilityZones", err)
	}
	zones := map[string]string{}
	for _, z := range out.AvailabilityZones {
		zones[aws.ToString(z.ZoneName)] = string(z.State)
	}
	return zones, nil
}

// Subnet implements provider.Cloud.
func (c *Client) Subnet(ctx context.Context, subnet string) (provider.Subnet, error) {
	out, err := c.ec2.DescribeSubnets(ctx, &ec2.DescribeSubnetsInput{Filters: named("subnet-id", []string{subnet})})
	if err != nil {
		return provider.Subnet{}, failed("DescribeSubnets", err)
	}
	for _, s := range out.Subnets {
		return provider.Subnet{Zone: aws.ToString(s.AvailabilityZone), Outpost: aws.ToString(s.OutpostArn)}, nil
	}
	return provider.Subnet{}, &provider.APIError{Op: "DescribeSubnets", Code: "InvalidSubnetID.NotFound", Message: "there is no subnet " + subnet}
}
