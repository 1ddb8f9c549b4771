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
	var out []trial
	for _, s := range f.Servers {
		e := s.Spec.Template.EC2.Elsewhere
		if e == nil || len(e.Zones) == 0 {
			continue
		}
		out = append(out, c.zonesTrial("EC2's own word that the zone of "+s.Name+" is lost would not be heard, so that it would wait there to be refused room"))
		for _, z := range e.Zones {
			out = append(out, c.elsewhereTrial(f, s, z)...)
		}
	}
	return out
}

// zonesTrial asks whether EC2 may be asked about its zones.
func (c *Client) zonesTrial(why string) trial {
	return trial{action: "ec2:DescribeAvailabilityZones", why: why, try: func(ctx context.Context) error {
		_, err := c.ec2.DescribeAvailabilityZones(ctx, &ec2.DescribeAvailabilityZonesInput{DryRun: aws.Bool(true)})
		return failed("DescribeAvailabilityZones", err)
	}}
}

// elsewhereTrial are the actions of a server's start in one other zone.
func (c *Client) elsewhereTrial(f *examine.Facts, s fleet.Server, z fleet.EC2Zone) []trial {
	dry := aws.Bool(true)
	why := fmt.Sprintf("%s could not be started in %s when its own zone has no room for it or is lost", s.Name, z.Place())
	out := []trial{{action: "ec2:DescribeSnapshots", why: why, try: func(ctx context.Context) error {
		_, err := c.ec2.DescribeSnapshots(ctx, &ec2.DescribeSnapshotsInput{DryRun: dry, OwnerIds: []string{"self"}, MaxResults: aws.Int32(5)})
		return failed("DescribeSnapshots", err)
	}}}
	if z.Outpost != "" {
		out = append(out, trial{action: "ec2:DescribeSubnets", why: why + ": before the launch it is read whether " + z.Subnet + " lies on that Outpost", try: func(ctx context.Context) error {
			_, err := c.ec2.DescribeSubnets(ctx, &ec2.DescribeSubnetsInput{DryRun: dry, Filters: named("subnet-id", []string{z.Subnet})})
			return failed("DescribeSubnets", err)
		}})
	}
	for _, v := range s.Spec.Identity.Volumes {
		out = append(out, trial{action: "ec2:CreateVolume", why: why, try: c.copyTrial(f, s, v, z)})
	}
	for _, n := range s.Spec.Identity.Interfaces {
		if !slices.ContainsFunc(z.Interfaces, func(there fleet.EC2ZoneInterface) bool { return there.Instead == n.ID }) {
			out = append(out, trial{action: "ec2:CreateNetworkInterface", why: why, try: c.swapTrial(s, n, z)})
		}
	}
	there := s
	there.Spec.Identity.Interfaces = swapsOf(s, z)
	t := *s.Spec.Template.EC2
	t.Subnet = z.Subnet
	there.Spec.Template.EC2 = &t
	launch := c.launchTrial(there)
	launch.why = why
	return append(out, launch)
}

// swapsOf are the interfaces that wait for the server in another zone. Those that are
// made there are not yet: the launch is tried in their subnet.
func swapsOf(s fleet.Server, z fleet.EC2Zone) []fleet.Interface {
	var out []fleet.Interface
	for _, n := range s.Spec.Identity.Interfaces {
		for _, there := range z.Interfaces {
			if there.Instead == n.ID {
				n.ID = there.ID
				out = append(out, n)
			}
		}
	}
	return out
}

// swapTrial is the making of an interface in place of another, in all but its effect. Its
// groups are those of the old one: a policy may allow some only.
func (c *Client) swapTrial(s fleet.Server, n fleet.Interface, z fleet.EC2Zone) func(context.Context) error {
	return func(ctx context.Context) error {
		groups := n.Groups
		if seen, err := c.Interfaces(ctx, []string{n.ID}); err == nil && len(seen) > 0 { // that the read is denied is told by its own trial
			groups = seen[0].Groups
		}
		_, err := c.ec2.CreateNetworkInterface(ctx, &ec2.CreateNetworkInterfaceInput{
			DryRun: aws.Bool(true), SubnetId: aws.String(z.Subnet), Groups: groups,
			TagSpecifications: []types.TagSpecification{{ResourceType: types.ResourceTypeNetworkInterface, Tags: tags(map[string]string{
				provider.TagServer: s.Name, provider.TagEpoch: "1", provider.TagInstead: n.ID,
			})}},
		})
		return failed("CreateNetworkInterface", err)
	}
}

// forceTrials are the detaches by force that servers allow, each tried on its own volume.
func (c *Client) forceTrials(f *examine.Facts) []trial {
	var out []trial
	for _, s := range f.Servers {
		for _, v := range s.Spec.Identity.Volumes {
			if v.ForceDetach == nil {
				continue
			}
			in := &ec2.DetachVolumeInput{DryRun: aws.Bool(true), VolumeId: aws.String(v.ID), Force: aws.Bool(true)}
			for _, m := range f.Machines {
				if m.Tags[provider.TagServer] == s.Name {
					in.InstanceId = aws.String(m.ID)
				}
			}
			why := fmt.Sprintf("volume %s of %s could not be taken by force (forceDetach) from an instance that is dead: the server would wait for a person", v.Name, s.Name)
			out = append(out, trial{action: "ec2:DetachVolume", why: why, try: func(ctx context.Context) error {
				_, err := c.ec2.DetachVolume(ctx, in)
				return failed("DetachVolume", err)
			}})
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
