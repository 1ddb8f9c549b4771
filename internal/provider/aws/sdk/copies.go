package sdk

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	provider "relight/internal/provider/aws"
)

// Snapshots implements provider.Cloud. Those of other accounts are left out: anybody
// can make one that names a volume of ours.
func (c *Client) Snapshots(ctx context.Context, volumes []string) ([]provider.Snapshot, error) {
	var out []provider.Snapshot
	pages := ec2.NewDescribeSnapshotsPaginator(c.ec2, &ec2.DescribeSnapshotsInput{
		OwnerIds: []string{"self"}, MaxResults: aws.Int32(perPage),
		Filters: append(named("volume-id", volumes), named("status", []string{string(types.SnapshotStateCompleted)})...),
	})
	for pages.HasMorePages() {
		p, err := pages.NextPage(ctx)
		if err != nil {
			return nil, failed("DescribeSnapshots", err)
		}
		for _, s := range p.Snapshots {
			if s.State == types.SnapshotStateCompleted {
				out = append(out, provider.Snapshot{ID: aws.ToString(s.SnapshotId), Volume: aws.ToString(s.VolumeId), At: aws.ToTime(s.StartTime)})
			}
		}
	}
	return out, nil
}

// VolumeByToken implements provider.Cloud.
func (c *Client) VolumeByToken(ctx context.Context, token string) (string, error) {
	pages := ec2.NewDescribeVolumesPaginator(c.ec2, &ec2.DescribeVolumesInput{Filters: named("tag:"+provider.TagToken, []string{token})})
	for pages.HasMorePages() {
		p, err := pages.NextPage(ctx)
		if err != nil {
			return "", failed("DescribeVolumes", err)
		}
		for _, v := range p.Volumes {
			if v.State != types.VolumeStateDeleting && v.State != types.VolumeStateDeleted {
				return aws.ToString(v.VolumeId), nil
			}
		}
	}
	return "", nil
}

// MakeVolume implements provider.Cloud. Encryption and its key are the snapshot's.
func (c *Client) MakeVolume(ctx context.Context, v provider.NewVolume) (string, error) {
	in := &ec2.CreateVolumeInput{
		ClientToken: aws.String(v.Token), SnapshotId: aws.String(v.Snapshot), AvailabilityZone: aws.String(v.Zone),
		VolumeType: types.VolumeType(v.Type), MultiAttachEnabled: flag(v.Multi),
		TagSpecifications: []types.TagSpecification{{ResourceType: types.ResourceTypeVolume, Tags: tags(v.Tags)}},
	}
	if v.Size > 0 {
		in.Size = aws.Int32(int32(v.Size))
	}
	switch kind := types.VolumeType(v.Type); {
	case v.IOPS > 0 && (kind == types.VolumeTypeGp3 || kind == types.VolumeTypeIo1 || kind == types.VolumeTypeIo2):
		in.Iops = aws.Int32(int32(v.IOPS)) // EC2 tells those of a gp2 too, and refuses to be told them
	}
	if v.Throughput > 0 && types.VolumeType(v.Type) == types.VolumeTypeGp3 {
		in.Throughput = aws.Int32(int32(v.Throughput))
	}
	out, err := c.ec2.CreateVolume(ctx, in)
	if err != nil {
		return "", failed("CreateVolume", err)
	}
	return aws.ToString(out.VolumeId), nil
}
