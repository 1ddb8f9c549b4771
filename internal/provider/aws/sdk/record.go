package sdk

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/route53"
	r53types "github.com/aws/aws-sdk-go-v2/service/route53/types"

	provider "relight/internal/provider/aws"
)

// fewNames is up to how many names each is asked for by itself: Route 53 takes five
// calls a second of an account, and lists 300 records in one.
const fewNames = 1

// Records implements provider.Cloud. It lists the part of the zone between the first
// of the names and the last, in Route 53's order, so that one name costs one call and
// so do 300 that lie together.
func (c *Client) Records(ctx context.Context, zone string, names []string) (map[string]provider.Record, error) {
	out, wanted := map[string]provider.Record{}, map[string]bool{}
	order := make([]string, 0, len(names))
	for _, n := range names {
		wanted[undotted(n)] = true
		order = append(order, undotted(n))
	}
	slices.SortFunc(order, inZone)
	if len(order) == 0 {
		return out, nil
	}
	in := &route53.ListResourceRecordSetsInput{HostedZoneId: aws.String(zone), StartRecordName: aws.String(order[0]), StartRecordType: r53types.RRTypeA}
	if len(order) <= fewNames {
		in.MaxItems = aws.Int32(2) // A and AAAA
	}
	last := order[len(order)-1]
	for {
		reply, err := c.route53.ListResourceRecordSets(ctx, in)
		if err != nil {
			return nil, failed("ListResourceRecordSets", err)
		}
		for _, r := range reply.ResourceRecordSets {
			name := undotted(aws.ToString(r.Name))
			if !wanted[name] {
				continue
			}
			x := out[name]
			switch r.Type { // other types are no business of a server
			case r53types.RRTypeA:
				x.Value, x.Shared = recordOf(&r)
			case r53types.RRTypeAaaa:
				x.V6, x.SharedV6 = recordOf(&r)
			default:
				continue
			}
			out[name] = x
		}
		if !reply.IsTruncated || inZone(undotted(aws.ToString(reply.NextRecordName)), last) > 0 {
			return out, nil
		}
		in.StartRecordName, in.StartRecordType, in.StartRecordIdentifier = reply.NextRecordName, reply.NextRecordType, reply.NextRecordIdentifier
	}
}

// recordOf is the one value of a record set, or words why it has none of its own. What
// others have a part in is not ours to overwrite.
func recordOf(r *r53types.ResourceRecordSet) (value, shared string) {
	switch {
	case r.SetIdentifier != nil:
		return "", "it is one of several sets of that name (" + *r.SetIdentifier + ")"
	case r.AliasTarget != nil:
		return "", "it is an alias of " + aws.ToString(r.AliasTarget.DNSName)
	case len(r.ResourceRecords) != 1:
		return "", fmt.Sprintf("it has %d values", len(r.ResourceRecords))
	}
	return aws.ToString(r.ResourceRecords[0].Value), ""
}

func undotted(name string) string { return strings.TrimSuffix(name, ".") }

// inZone is Route 53's order: by labels, the last one first.
func inZone(a, b string) int {
	labels := func(name string) []string {
		out := strings.Split(name, ".")
		slices.Reverse(out)
		return out
	}
	return slices.Compare(labels(a), labels(b))
}
