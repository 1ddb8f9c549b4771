package sdk

import (
	"context"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
	"github.com/aws/aws-sdk-go-v2/service/route53"
	r53types "github.com/aws/aws-sdk-go-v2/service/route53/types"

	"relight/internal/provider/aws/capture"
)

// known are all addresses that lead to the instance.
func known(s *capture.Source) []string {
	var out []string
	for _, a := range s.Addresses {
		out = append(out, a.IP)
	}
	for _, n := range s.Interfaces {
		out = append(out, n.Addresses...)
	}
	if s.PublicIP != "" {
		out = append(out, s.PublicIP)
	}
	return out
}

// capturePlaces asks each target group for its targets: no call asks by instance.
func (c *Client) capturePlaces(ctx context.Context, s *capture.Source) error {
	addresses := known(s)
	pages := elasticloadbalancingv2.NewDescribeTargetGroupsPaginator(c.elb, &elasticloadbalancingv2.DescribeTargetGroupsInput{})
	for pages.HasMorePages() {
		p, err := pages.NextPage(ctx)
		if err != nil {
			return failed("DescribeTargetGroups", err)
		}
		for _, g := range p.TargetGroups {
			if g.TargetType != elbtypes.TargetTypeEnumInstance && g.TargetType != elbtypes.TargetTypeEnumIp {
				continue
			}
			health, err := c.elb.DescribeTargetHealth(ctx, &elasticloadbalancingv2.DescribeTargetHealthInput{TargetGroupArn: g.TargetGroupArn})
			if err != nil {
				return failed("DescribeTargetHealth", err)
			}
			for _, t := range health.TargetHealthDescriptions {
				id := aws.ToString(t.Target.Id)
				x := capture.Place{Group: aws.ToString(g.TargetGroupArn), Port: int(aws.ToInt32(t.Target.Port)), Own: int(aws.ToInt32(g.Port))}
				switch {
				case t.TargetHealth != nil && t.TargetHealth.State == elbtypes.TargetHealthStateEnumDraining:
					continue // it is on its way out
				case id == s.ID:
				case slices.Contains(addresses, id):
					x.ByIP = id
				default:
					continue
				}
				s.Places = append(s.Places, x)
			}
		}
	}
	return nil
}

// captureRecords looks through all hosted zones: no call asks by value.
func (c *Client) captureRecords(ctx context.Context, s *capture.Source) error {
	addresses := known(s)
	zones := route53.NewListHostedZonesPaginator(c.route53, &route53.ListHostedZonesInput{})
	for zones.HasMorePages() {
		z, err := zones.NextPage(ctx)
		if err != nil {
			return failed("ListHostedZones", err)
		}
		for _, zone := range z.HostedZones {
			sets := route53.NewListResourceRecordSetsPaginator(c.route53, &route53.ListResourceRecordSetsInput{HostedZoneId: zone.Id})
			for sets.HasMorePages() {
				p, err := sets.NextPage(ctx)
				if err != nil {
					return failed("ListResourceRecordSets", err)
				}
				for _, r := range p.ResourceRecordSets {
					if x, leads := record(r, addresses); leads {
						x.Zone = aws.ToString(zone.Id)
						s.Records = append(s.Records, x)
					}
				}
			}
		}
	}
	return nil
}

func record(r r53types.ResourceRecordSet, addresses []string) (capture.Record, bool) {
	x := capture.Record{Name: aws.ToString(r.Name), Type: string(r.Type), TTL: aws.ToInt64(r.TTL), Policy: aws.ToString(r.SetIdentifier)}
	leads := false
	for _, v := range r.ResourceRecords {
		x.Values = append(x.Values, aws.ToString(v.Value))
		leads = leads || slices.Contains(addresses, aws.ToString(v.Value))
	}
	return x, leads && (r.Type == r53types.RRTypeA || r.Type == r53types.RRTypeAaaa)
}
