package sdk

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/servicequotas"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"relight/internal/core/fleet"
	provider "relight/internal/provider/aws"
	"relight/internal/provider/aws/examine"
)

// standardCPUs is the quota of running on-demand instances of the families A, C, D, H,
// I, M, R, T and Z, in vCPUs.
const standardCPUs = "L-1216C47A"

// Examine reads what the doctor must know of an account and changes nothing. share is
// the part of the API quotas that is ours, rto how soon every server must be back. An
// error means that not even the caller is known.
func (c *Client) Examine(ctx context.Context, servers []fleet.Server, share float64, rto time.Duration) (examine.Facts, error) {
	f := examine.Facts{
		Region: c.Region(), Share: share, RTO: rto, Servers: servers, Facets: map[string]examine.Facet{}, Launches: map[string]examine.Launch{},
		Subnets: map[string]examine.Subnet{}, Offered: map[string][]string{}, CPUs: map[string]int{}, Volumes: map[string]examine.Volume{}, Keys: map[string]examine.Key{},
	}
	f.Quotas = provider.DefaultQuotas()
	who, err := c.sts.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return f, failed("GetCallerIdentity", err)
	}
	f.Caller = aws.ToString(who.Arn)
	blind := func(what string, err error) {
		if err != nil {
			f.Blind = append(f.Blind, fmt.Sprintf("%s: %v", what, err))
		}
	}
	if len(servers) > 0 {
		f.Machines, err = c.Instances(ctx, "", nil)
		blind("the instances", err)
	}
	mine := func(m string) bool {
		return slices.ContainsFunc(servers, func(s fleet.Server) bool { return s.Name == m })
	}
	f.Machines = slices.DeleteFunc(f.Machines, func(m provider.Machine) bool { return !mine(m.Tags[provider.TagServer]) || m.State == "terminated" })
	blind("what launches need", c.examineLaunches(ctx, &f))
	blind("machine types and the vCPUs in use", c.examineCPUs(ctx, &f))
	rates, err := c.Rates(ctx)
	blind("the request quotas", err)
	f.Quotas, f.Told = f.Quotas.With(rates), len(rates)
	blind("the vCPU quota", c.examineQuota(ctx, &f))
	blind("capacity reservations", c.examineReserved(ctx, &f))
	blind("the volumes", c.examineVolumes(ctx, &f))
	blind("the snapshots", c.examineSnapshots(ctx, &f))
	blind("Auto Scaling groups", c.examineHealers(ctx, &f))
	blind("alarms", c.examineAlarms(ctx, &f))
	c.examineKeys(ctx, &f)
	c.examineRooms(ctx, &f)
	c.rights(ctx, &f)
	return f, nil
}

// examineLaunches reads what each server would be launched with, and whether it is there.
func (c *Client) examineLaunches(ctx context.Context, f *examine.Facts) error {
	images := map[string]bool{}
	for _, s := range f.Servers {
		t := s.Spec.Template.EC2
		l := examine.Launch{Template: t.LaunchTemplate, Version: t.Version, Subnet: t.Subnet}
		if t.LaunchTemplate != "" {
			if err := c.readTemplate(ctx, &l); err != nil {
				return err
			}
		}
		if o := t.Launch; o != nil {
			if o.Image != "" {
				l.Image = o.Image
			}
			if o.Type != "" {
				l.Type = o.Type
			}
			if o.Root != nil {
				l.Key = o.Root.Key
			}
		}
		if err := c.readSubnet(ctx, s, &l, f); err != nil {
			return err
		}
		if _, asked := images[l.Image]; !asked && l.Image != "" {
			there, err := c.imageThere(ctx, l.Image)
			if err != nil {
				return err
			}
			images[l.Image] = there
		}
		if l.Image != "" && !images[l.Image] && l.Missing == "" {
			l.Missing = "its image " + l.Image + " is not there"
		}
		f.Launches[s.Name] = l
	}
	return nil
}

func (c *Client) readTemplate(ctx context.Context, l *examine.Launch) error {
	out, err := c.ec2.DescribeLaunchTemplateVersions(ctx, &ec2.DescribeLaunchTemplateVersionsInput{LaunchTemplateId: aws.String(l.Template), Versions: []string{strconv.Itoa(l.Version)}})
	if err = failed("DescribeLaunchTemplateVersions", err); isMissing(err) || err == nil && len(out.LaunchTemplateVersions) == 0 {
		l.Missing = fmt.Sprintf("its launch template %s has no version %d", l.Template, l.Version)
		return nil
	} else if err != nil {
		return err
	}
	d := out.LaunchTemplateVersions[0].LaunchTemplateData
	l.Image, l.Type = aws.ToString(d.ImageId), string(d.InstanceType)
	for _, n := range d.NetworkInterfaces {
		if l.Subnet == "" {
			l.Subnet = aws.ToString(n.SubnetId)
		}
	}
	return nil
}

// readSubnet finds out where a server is launched: its primary interface says so, or
// its spec or template.
func (c *Client) readSubnet(ctx context.Context, s fleet.Server, l *examine.Launch, f *examine.Facts) error {
	for _, n := range s.Spec.Identity.Interfaces {
		if n.Index != 0 {
			continue
		}
		out, err := c.ec2.DescribeNetworkInterfaces(ctx, &ec2.DescribeNetworkInterfacesInput{Filters: named("network-interface-id", []string{n.ID})})
		if err != nil {
			return failed("DescribeNetworkInterfaces", err)
		}
		if len(out.NetworkInterfaces) == 0 {
			l.Missing = "its primary interface " + n.ID + " is not there"
			return nil
		}
		l.Subnet = aws.ToString(out.NetworkInterfaces[0].SubnetId)
	}
	if _, read := f.Subnets[l.Subnet]; read || l.Subnet == "" {
		return nil
	}
	out, err := c.ec2.DescribeSubnets(ctx, &ec2.DescribeSubnetsInput{SubnetIds: []string{l.Subnet}})
	if err = failed("DescribeSubnets", err); isMissing(err) || err == nil && len(out.Subnets) == 0 {
		l.Missing = "its subnet " + l.Subnet + " is not there"
		return nil
	} else if err != nil {
		return err
	}
	n := out.Subnets[0]
	f.Subnets[l.Subnet] = examine.Subnet{Zone: aws.ToString(n.AvailabilityZone), Outpost: aws.ToString(n.OutpostArn), Free: int(aws.ToInt32(n.AvailableIpAddressCount))}
	return nil
}

func (c *Client) imageThere(ctx context.Context, id string) (bool, error) {
	out, err := c.ec2.DescribeImages(ctx, &ec2.DescribeImagesInput{ImageIds: []string{id}})
	if err = failed("DescribeImages", err); isMissing(err) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	return len(out.Images) > 0 && out.Images[0].State == types.ImageStateAvailable, nil
}

// examineCPUs reads the machine types that matter, where they are offered, and how many
// vCPUs run in the account.
func (c *Client) examineCPUs(ctx context.Context, f *examine.Facts) error {
	want := map[string]bool{}
	for _, s := range f.Servers {
		if k := f.Launches[s.Name].Type; k != "" {
			want[k] = true
		}
		for _, k := range s.Spec.Template.EC2.Types {
			want[k] = true
		}
	}
	running := map[string]int{}
	pages := ec2.NewDescribeInstancesPaginator(c.ec2, &ec2.DescribeInstancesInput{Filters: named("instance-state-name", []string{"pending", "running", "stopping", "shutting-down"}), MaxResults: aws.Int32(perPage)})
	for pages.HasMorePages() {
		p, err := pages.NextPage(ctx)
		if err != nil {
			return failed("DescribeInstances", err)
		}
		for _, r := range p.Reservations {
			for _, i := range r.Instances {
				running[string(i.InstanceType)]++
				want[string(i.InstanceType)] = true
			}
		}
	}
	names := sortedNames(want)
	for part := range slices.Chunk(names, 100) {
		out, err := c.ec2.DescribeInstanceTypes(ctx, &ec2.DescribeInstanceTypesInput{Filters: named("instance-type", part)})
		if err != nil {
			return failed("DescribeInstanceTypes", err)
		}
		for _, t := range out.InstanceTypes {
			if t.VCpuInfo != nil {
				f.CPUs[string(t.InstanceType)] = int(aws.ToInt32(t.VCpuInfo.DefaultVCpus))
			}
		}
	}
	for kind, n := range running { // order: a sum
		if strings.ContainsAny(kind[:1], "acdhimrtz") {
			f.UsedCPUs += n * f.CPUs[kind]
		}
	}
	return c.examineOffers(ctx, f, names)
}

// examineOffers reads in which of the zones that matter the machine types are offered.
func (c *Client) examineOffers(ctx context.Context, f *examine.Facts, names []string) error {
	for _, n := range f.Subnets { // order: by zone
		if _, read := f.Offered[n.Zone]; read || n.Zone == "" || n.Outpost != "" || len(names) == 0 {
			continue
		}
		out, err := c.ec2.DescribeInstanceTypeOfferings(ctx, &ec2.DescribeInstanceTypeOfferingsInput{
			LocationType: types.LocationTypeAvailabilityZone,
			Filters:      append(named("location", []string{n.Zone}), named("instance-type", names)...),
		})
		if err != nil {
			return failed("DescribeInstanceTypeOfferings", err)
		}
		f.Offered[n.Zone] = []string{}
		for _, o := range out.InstanceTypeOfferings {
			f.Offered[n.Zone] = append(f.Offered[n.Zone], string(o.InstanceType))
		}
	}
	return nil
}

func (c *Client) examineQuota(ctx context.Context, f *examine.Facts) error {
	out, err := servicequotas.NewFromConfig(c.cfg).GetServiceQuota(ctx, &servicequotas.GetServiceQuotaInput{ServiceCode: aws.String("ec2"), QuotaCode: aws.String(standardCPUs)})
	if err != nil {
		return failed("GetServiceQuota", err)
	}
	if out.Quota != nil {
		f.QuotaCPUs = int(aws.ToFloat64(out.Quota.Value))
	}
	return nil
}

func (c *Client) examineReserved(ctx context.Context, f *examine.Facts) error {
	pages := ec2.NewDescribeCapacityReservationsPaginator(c.ec2, &ec2.DescribeCapacityReservationsInput{Filters: named("state", []string{"active"})})
	for pages.HasMorePages() {
		p, err := pages.NextPage(ctx)
		if err != nil {
			return failed("DescribeCapacityReservations", err)
		}
		for _, r := range p.CapacityReservations {
			f.Reserved = append(f.Reserved, examine.Reserved{ID: aws.ToString(r.CapacityReservationId), Type: aws.ToString(r.InstanceType), Zone: aws.ToString(r.AvailabilityZone), Free: int(aws.ToInt32(r.AvailableInstanceCount))})
		}
	}
	return nil
}

func (c *Client) examineVolumes(ctx context.Context, f *examine.Facts) error {
	var ids []string
	for _, s := range f.Servers {
		for _, v := range s.Spec.Identity.Volumes {
			ids = append(ids, v.ID)
		}
	}
	slices.Sort(ids)
	for part := range slices.Chunk(slices.Compact(ids), 200) {
		out, err := c.ec2.DescribeVolumes(ctx, &ec2.DescribeVolumesInput{Filters: named("volume-id", part)})
		if err != nil {
			return failed("DescribeVolumes", err)
		}
		for _, v := range out.Volumes {
			x := examine.Volume{Zone: aws.ToString(v.AvailabilityZone), Type: string(v.VolumeType), Multi: aws.ToBool(v.MultiAttachEnabled), Created: aws.ToTime(v.CreateTime), Key: aws.ToString(v.KmsKeyId)}
			for _, a := range v.Attachments {
				x.Holders = append(x.Holders, aws.ToString(a.InstanceId))
				x.Ends = x.Ends || aws.ToBool(a.DeleteOnTermination)
			}
			f.Volumes[aws.ToString(v.VolumeId)] = x
		}
	}
	return nil
}

func (c *Client) examineHealers(ctx context.Context, f *examine.Facts) error {
	var ids []string
	for _, m := range f.Machines {
		ids = append(ids, m.ID)
	}
	for part := range slices.Chunk(ids, 50) {
		out, err := c.scaling.DescribeAutoScalingInstances(ctx, &autoscaling.DescribeAutoScalingInstancesInput{InstanceIds: part})
		if err != nil {
			return failed("DescribeAutoScalingInstances", err)
		}
		for _, x := range out.AutoScalingInstances {
			f.Facets[aws.ToString(x.InstanceId)] = examine.Facet{ScalingGroup: aws.ToString(x.AutoScalingGroupName)}
		}
	}
	for _, id := range ids {
		out, err := c.ec2.DescribeInstanceAttribute(ctx, &ec2.DescribeInstanceAttributeInput{InstanceId: aws.String(id), Attribute: types.InstanceAttributeNameDisableApiTermination})
		if err != nil {
			return failed("DescribeInstanceAttribute", err)
		}
		facet := f.Facets[id]
		facet.Protected = out.DisableApiTermination != nil && aws.ToBool(out.DisableApiTermination.Value)
		f.Facets[id] = facet
	}
	return nil
}

// examineAlarms reads the alarms that act on instances by themselves.
func (c *Client) examineAlarms(ctx context.Context, f *examine.Facts) error {
	next := ""
	for {
		var out struct {
			Alarms []struct {
				Name       string   `xml:"AlarmName"`
				Enabled    bool     `xml:"ActionsEnabled"`
				Actions    []string `xml:"AlarmActions>member"`
				Dimensions []struct {
					Name  string `xml:"Name"`
					Value string `xml:"Value"`
				} `xml:"Dimensions>member"`
			} `xml:"DescribeAlarmsResult>MetricAlarms>member"`
			Next string `xml:"DescribeAlarmsResult>NextToken"`
		}
		in := url.Values{"ActionPrefix": {"arn:aws:automate"}, "MaxRecords": {"100"}}
		if next != "" {
			in.Set("NextToken", next)
		}
		if err := c.query(ctx, "monitoring", "2010-08-01", "DescribeAlarms", in, &out); err != nil {
			return err
		}
		for _, a := range out.Alarms {
			for _, d := range a.Dimensions {
				for _, action := range a.Actions {
					if a.Enabled && d.Name == "InstanceId" && strings.Contains(action, ":ec2:") {
						f.Alarms = append(f.Alarms, examine.Alarm{Name: a.Name, Instance: d.Value, Action: action[strings.LastIndexByte(action, ':')+1:]})
					}
				}
			}
		}
		if next = out.Next; next == "" {
			return nil
		}
	}
}

// examineKeys asks for each key whether it is in order, and in a dry run whether we may
// make a grant on it. What cannot be read is left out.
func (c *Client) examineKeys(ctx context.Context, f *examine.Facts) {
	keys := map[string]bool{}
	for _, l := range f.Launches { // order: a set
		keys[l.Key] = true
	}
	for _, v := range f.Volumes { // order: a set
		keys[v.Key] = true
	}
	delete(keys, "")
	for _, arn := range sortedNames(keys) {
		var out struct {
			KeyMetadata struct{ KeyState, KeyManager string }
		}
		if err := c.json11(ctx, "kms", "TrentService", "DescribeKey", map[string]any{"KeyId": arn}, &out); err != nil {
			continue
		}
		k := examine.Key{State: out.KeyMetadata.KeyState, Managed: out.KeyMetadata.KeyManager == "AWS", Grant: examine.Unknown}
		if !k.Managed {
			err := c.json11(ctx, "kms", "TrentService", "CreateGrant", map[string]any{"KeyId": arn, "GranteePrincipal": f.Caller, "Operations": []string{"Decrypt", "CreateGrant"}, "DryRun": true}, &struct{}{})
			switch code := codeOf(err); {
			case code == "DryRunOperationException":
				k.Grant = examine.Allowed
			case strings.HasPrefix(code, "AccessDenied"):
				k.Grant = examine.Denied
			}
		}
		f.Keys[arn] = k
	}
}

// codeOf is AWS's code of an error, or "".
func codeOf(err error) string {
	var e *provider.APIError
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// isMissing reports whether AWS said that there is no such thing.
func isMissing(err error) bool {
	code := codeOf(err)
	return strings.HasSuffix(code, "NotFound") || strings.HasSuffix(code, "VersionNotFound") || strings.HasSuffix(code, "Unavailable") && strings.HasPrefix(code, "InvalidAMI")
}

func sortedNames(set map[string]bool) []string { return slices.Sorted(maps.Keys(set)) }
