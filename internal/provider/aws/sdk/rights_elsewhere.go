package sdk

import (
	"context"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"relight/internal/core/fleet"
	provider "relight/internal/provider/aws"
	"relight/internal/provider/aws/examine"
)

// examineSnapshots reads the newest complete snapshot of each volume that may be made
// anew in another zone. That the read is denied is told with the rights.
func (c *Client) examineSnapshots(ctx context.Context, f *examine.Facts) error {
	var ids []string
	for _, s := range f.Servers {
		for _, v := range s.Spec.Identity.Volumes {
			if v.FromSnapshot != nil {
				ids = append(ids, v.ID)
			}
		}
	}
	slices.Sort(ids)
	newest := map[string]provider.Snapshot{}
	for part := range slices.Chunk(slices.Compact(ids), 200) {
		list, err := c.Snapshots(ctx, part)
		switch {
		case codeOf(err) == "UnauthorizedOperation":
			return nil
		case err != nil:
			return err
		}
		for _, s := range list {
			if s.At.After(newest[s.Volume].At) {
				newest[s.Volume] = s
			}
		}
	}
	f.Snapshots = newest
	return nil
}

// elsewhereTrials are the actions of a start in another zone, tried for the zones and
// snapshots of each server that may be started there.
func (c *Client) elsewhereTrials(f *examine.Facts) []trial {
	dry := aws.Bool(true)
	var out []trial
	for _, s := range f.Servers {
		e := s.Spec.Template.EC2.Elsewhere
		if e == nil {
			continue
		}
		for _, z := range e.Zones {
			why := fmt.Sprintf("%s could not be started in %s when its own zone has no room for it or is lost", s.Name, z.Zone)
			out = append(out, trial{action: "ec2:DescribeSnapshots", why: why, try: func(ctx context.Context) error {
				_, err := c.ec2.DescribeSnapshots(ctx, &ec2.DescribeSnapshotsInput{DryRun: dry, OwnerIds: []string{"self"}, MaxResults: aws.Int32(5)})
				return failed("DescribeSnapshots", err)
			}})
			for _, v := range s.Spec.Identity.Volumes {
				out = append(out, trial{action: "ec2:CreateVolume", why: why, try: c.copyTrial(f, s, v, z)})
			}
			there := s
			t := *s.Spec.Template.EC2
			t.Subnet = z.Subnet
			there.Spec.Template.EC2 = &t
			launch := c.launchTrial(there)
			launch.why = why
			out = append(out, launch)
		}
	}
	return out
}

// copyTrial is the making of a volume out of its snapshot, in all but its effect. One
// without a snapshot is tried as an empty one, which asks for no less.
func (c *Client) copyTrial(f *examine.Facts, s fleet.Server, v fleet.Volume, z fleet.EC2Zone) func(context.Context) error {
	return func(ctx context.Context) error {
		in := &ec2.CreateVolumeInput{
			DryRun: aws.Bool(true), AvailabilityZone: aws.String(z.Zone), VolumeType: types.VolumeTypeGp3,
			TagSpecifications: []types.TagSpecification{{ResourceType: types.ResourceTypeVolume, Tags: tags(map[string]string{
				provider.TagServer: s.Name, provider.TagEpoch: "1", provider.TagCopyOf: v.ID,
			})}},
		}
		if n := f.Snapshots[v.ID]; n.ID != "" {
			in.SnapshotId = aws.String(n.ID)
		} else {
			in.Size = aws.Int32(1)
		}
		_, err := c.ec2.CreateVolume(ctx, in)
		return failed("CreateVolume", err)
	}
}
