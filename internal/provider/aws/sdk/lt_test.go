package sdk_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"relight/internal/api/client"
	"relight/internal/core/fleet"
	awsprovider "relight/internal/provider/aws"
	"relight/internal/provider/aws/capture"
	"relight/internal/provider/aws/fakeaws"
	"relight/internal/spec"
	"relight/internal/world"
)

// pet makes an instance as somebody made it by hand years ago, with everything that the
// sample generator of launch templates drops, and returns its id. With fresh its primary
// interface is made with it and would end with it.
func (r *rig) pet(name string, fresh bool) string {
	t := r.t
	t.Helper()
	ctx := context.Background()
	raw := ec2.NewFromConfig(r.cfg)
	r.fake.AddType(fakeaws.InstanceType{Name: "t3.large", CPUs: 4, MiB: 8192, AutoRecovery: true, Burstable: true})
	r.fake.AddVolume(fakeaws.VolumeSpec{ID: "vol-data", Server: name, Zone: zoneA})
	r.fake.AddVolume(fakeaws.VolumeSpec{ID: "vol-logs", Server: name, Zone: zoneA})
	r.fake.AddInterface("eni-main", name, "subnet-a", "0a:aa:00:00:00:01", "10.0.1.50", "10.0.1.51", "10.0.1.52", "2001:db8:1:1::50")
	r.fake.AddInterface("eni-back", name, "subnet-a", "0a:aa:00:00:00:02", "10.0.1.60", "10.0.1.61", "2001:db8:1:1::60")
	r.fake.AddAddress("eipalloc-a", "198.51.100.40", name)
	r.fake.AddCustomerAddress("eipalloc-b", "198.51.100.41", "ipv4pool-coip-1", name)
	in := &ec2.RunInstancesInput{
		MinCount: aws.Int32(1), MaxCount: aws.Int32(1), ImageId: aws.String("ami-1"), InstanceType: "t3.large", KeyName: aws.String("ops"),
		UserData:            aws.String(base64.StdEncoding.EncodeToString([]byte("#!/bin/sh\n/opt/licence/start\n"))),
		IamInstanceProfile:  &types.IamInstanceProfileSpecification{Arn: aws.String("arn:aws:iam::123456789012:instance-profile/licence")},
		CreditSpecification: &types.CreditSpecificationRequest{CpuCredits: aws.String("standard")},
		CpuOptions:          &types.CpuOptionsRequest{CoreCount: aws.Int32(2), ThreadsPerCore: aws.Int32(1)},
		EbsOptimized:        aws.Bool(true), Monitoring: &types.RunInstancesMonitoringEnabled{Enabled: aws.Bool(true)},
		EnclaveOptions: &types.EnclaveOptionsRequest{Enabled: aws.Bool(true)}, HibernationOptions: &types.HibernationOptionsRequest{Configured: aws.Bool(true)},
		InstanceInitiatedShutdownBehavior: types.ShutdownBehaviorTerminate,
		Placement:                         &types.Placement{Tenancy: types.TenancyDedicated, GroupName: aws.String("spread-1"), PartitionNumber: aws.Int32(3)},
		MetadataOptions:                   &types.InstanceMetadataOptionsRequest{HttpTokens: types.HttpTokensStateRequired, HttpPutResponseHopLimit: aws.Int32(3), InstanceMetadataTags: types.InstanceMetadataTagsStateEnabled},
		LicenseSpecifications:             []types.LicenseConfigurationRequest{{LicenseConfigurationArn: aws.String("arn:aws:license-manager:eu-west-1:123456789012:license-configuration:lic-1")}},
		PrivateDnsNameOptions:             &types.PrivateDnsNameOptionsRequest{HostnameType: types.HostnameTypeIpName, EnableResourceNameDnsARecord: aws.Bool(true)},
		CapacityReservationSpecification:  &types.CapacityReservationSpecification{CapacityReservationTarget: &types.CapacityReservationTarget{CapacityReservationId: aws.String("cr-1")}},
		NetworkPerformanceOptions:         &types.InstanceNetworkPerformanceOptionsRequest{BandwidthWeighting: types.InstanceBandwidthWeightingEbs1},
		BlockDeviceMappings: []types.BlockDeviceMapping{{DeviceName: aws.String("/dev/xvda"), Ebs: &types.EbsBlockDevice{
			VolumeSize: aws.Int32(40), VolumeType: types.VolumeTypeGp3, Iops: aws.Int32(4000), Throughput: aws.Int32(250), Encrypted: aws.Bool(true),
			KmsKeyId: aws.String("arn:aws:kms:eu-west-1:123456789012:key/k-1"), DeleteOnTermination: aws.Bool(false),
		}}},
		TagSpecifications: []types.TagSpecification{
			{ResourceType: types.ResourceTypeInstance, Tags: []types.Tag{
				{Key: aws.String("Name"), Value: aws.String("Licence server (do not touch!)")},
				{Key: aws.String("team"), Value: aws.String("billing")},
				{Key: aws.String("empty"), Value: aws.String("")},
				{Key: aws.String(awsprovider.TagServer), Value: aws.String(name)},
				{Key: aws.String(awsprovider.TagEpoch), Value: aws.String("1")},
			}},
			{ResourceType: types.ResourceTypeVolume, Tags: []types.Tag{{Key: aws.String("backup"), Value: aws.String("daily")}}},
		},
	}
	if fresh {
		in.SubnetId, in.SecurityGroupIds, in.PrivateIpAddress = aws.String("subnet-a"), []string{"sg-app", "sg-ops"}, aws.String("10.0.1.70")
	} else {
		in.NetworkInterfaces = []types.InstanceNetworkInterfaceSpecification{{DeviceIndex: aws.Int32(0), NetworkInterfaceId: aws.String("eni-main")}}
	}
	out, err := raw.RunInstances(ctx, in)
	if err != nil {
		t.Fatal(err)
	}
	id := aws.ToString(out.Instances[0].InstanceId)
	r.locked(func() { r.w.Advance(time.Minute) })
	primary := aws.ToString(out.Instances[0].NetworkInterfaces[0].NetworkInterfaceId)
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(raw.AttachVolume(ctx, &ec2.AttachVolumeInput{VolumeId: aws.String("vol-data"), InstanceId: aws.String(id), Device: aws.String("/dev/sdk")}))
	must(raw.AttachVolume(ctx, &ec2.AttachVolumeInput{VolumeId: aws.String("vol-logs"), InstanceId: aws.String(id), Device: aws.String("/dev/sdb")}))
	must(raw.AttachNetworkInterface(ctx, &ec2.AttachNetworkInterfaceInput{NetworkInterfaceId: aws.String("eni-back"), InstanceId: aws.String(id), DeviceIndex: aws.Int32(1)}))
	must(raw.ModifyNetworkInterfaceAttribute(ctx, &ec2.ModifyNetworkInterfaceAttributeInput{NetworkInterfaceId: aws.String("eni-back"), SourceDestCheck: &types.AttributeBooleanValue{Value: aws.Bool(false)}, Groups: []string{"sg-back"}}))
	must(raw.AssociateAddress(ctx, &ec2.AssociateAddressInput{AllocationId: aws.String("eipalloc-a"), NetworkInterfaceId: aws.String(primary)}))
	must(raw.AssociateAddress(ctx, &ec2.AssociateAddressInput{AllocationId: aws.String("eipalloc-b"), NetworkInterfaceId: aws.String("eni-back"), PrivateIpAddress: aws.String("10.0.1.61")}))
	must(nil, r.cloud.Register(ctx, r.group, []awsprovider.Target{{ID: id}}))
	must(nil, r.cloud.SetRecord(ctx, "Z1", "licence.example.com", "198.51.100.40", 30*time.Second))
	if !fresh {
		r.fake.AddAddress("eipalloc-c", "198.51.100.42", name)
		must(raw.AssociateAddress(ctx, &ec2.AssociateAddressInput{AllocationId: aws.String("eipalloc-c"), NetworkInterfaceId: aws.String(primary), PrivateIpAddress: aws.String("10.0.1.52")}))
		must(nil, r.cloud.SetRecord(ctx, "Z1", "licence.example.com", "2001:db8:1:1::50", 30*time.Second))
	}
	must(nil, r.cloud.SetRecord(ctx, "Z1", "back.example.com", "2001:db8:1:1::60", time.Minute))
	must(nil, r.cloud.SetRecord(ctx, "Z1", "inside.example.com", "10.0.1.60", time.Minute))
	must(nil, r.cloud.SetRecord(ctx, "Z1", "other.example.com", "203.0.113.9", time.Minute))
	r.locked(func() { r.w.Advance(time.Minute) })
	return id
}

// captured reads an instance and returns what a server would be, and its document.
func (r *rig) captured(id string, number int) (capture.Found, spec.Doc) {
	r.t.Helper()
	s, err := r.cloud.Capture(context.Background(), id)
	if err != nil {
		r.t.Fatal(err)
	}
	f := capture.Read(s, "")
	raw, err := f.Document(number)
	if err != nil {
		r.t.Fatal(err)
	}
	docs, err := spec.Parse(spec.File{Name: id, Data: raw})
	if err != nil {
		r.t.Fatalf("what was captured is no document: %v\n%s", err, raw)
	}
	return f, docs[0]
}

// A running instance is captured, relaunched through the whole controller, and captured
// again: nothing differs. The declared overrides are what a capture leaves out: our own
// tags, and that it can be ended.
func TestOP_LT(t *testing.T) {
	for _, fresh := range []bool{false, true} {
		t.Run(fmt.Sprintf("interface made with it: %v", fresh), func(t *testing.T) {
			r := newRig(t, slowly)
			id := r.pet("pet", fresh)
			before, doc := r.captured(id, 1)
			if len(before.Lacks) > 0 {
				t.Fatalf("it cannot be a server: %v", before.Lacks)
			}
			r.declare(auto(t, doc))
			r.until(5*time.Minute, "the one that runs is seen to work", r.healthy("pet", 1))
			if fresh {
				if _, err := r.solo.Backend.Heal(context.Background(), "eve", "pet", client.HealRequest{Rung: fleet.Relaunch, Reason: "a test"}); err != nil {
					t.Fatal(err)
				}
			} else {
				r.locked(func() { _ = r.w.Kill(r.machine("pet")) })
			}
			r.until(20*time.Minute, "another one works", r.healthy("pet", 2))
			again := r.machine("pet").ID
			if again == id {
				t.Fatal("it was not relaunched")
			}
			after, relaunched := r.captured(again, 1)
			changes, err := spec.Diff(doc, relaunched)
			if err != nil {
				t.Fatal(err)
			}
			if len(changes) > 0 {
				t.Logf("notes: %s\n%s", strings.Join(after.Notes, "\n"), r.calls())
			}
			for _, c := range changes {
				t.Errorf("the relaunched one differs: %s", c)
			}
			if drift, err := capture.Drift(doc, after); err != nil || len(drift) > 0 {
				t.Errorf("drift %v, %v", drift, err)
			}
			if len(after.Identity.Interfaces) != 2 || len(after.Identity.Volumes) != 2 || len(after.Identity.Names) != 1 || len(after.Identity.Groups) != 1 || len(after.Identity.Addresses) != len(before.Identity.Addresses) || after.Identity.Names[0].IPv6 == fresh {
				t.Errorf("identity %+v", after.Identity)
			}
			r.during(10*time.Second, "reads catch up", func() bool { return true })
			r.leadsWhereItLed(before, id, again)
			if v, _, _ := r.w.Resolve("licence.example.com"); v != "198.51.100.40" {
				t.Errorf("its name leads to %s", v)
			}
		})
	}
}

// leadsWhereItLed demands that each elastic address leads to the same private address of
// the same interface as before, and that this is the new instance's.
func (r *rig) leadsWhereItLed(before capture.Found, old, again string) {
	r.t.Helper()
	if len(before.Identity.Addresses) < 2 {
		r.t.Fatalf("captured addresses %+v", before.Identity.Addresses)
	}
	for _, a := range before.Identity.Addresses[1:] {
		got, err := r.cloud.Addresses(context.Background(), []string{a.Allocation})
		if err != nil || len(got) != 1 || got[0].Holder != again || got[0].Interface != a.Interface || got[0].Private != a.Private {
			r.t.Errorf("%s led to %s of %s at %s; now %+v, %v", a.IP, a.Private, a.Interface, old, got, err)
		}
	}
}

// auto is the document as a person declares it who lets Relight act.
func auto(t *testing.T, d spec.Doc) string {
	t.Helper()
	text, err := spec.Print(spec.YAML, d)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Replace(string(text), "mode: observe", "mode: auto", 1)
}

// Everything that the sample generator drops is in the document.
func TestOP_LT_Captured(t *testing.T) {
	r := newRig(t, func(*world.Config) {})
	f, doc := r.captured(r.pet("pet", false), 1)
	text, err := spec.Print(spec.YAML, doc)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"mode: observe", "capture: 1", "image: ami-1", "type: t3.large", "key: ops", "instance-profile/licence", "userData: IyEv", "id: vol-data", "device: /dev/sdk", "device: /dev/sdb",
		"size: 40", "iops: 4000", "throughput: 250", "encrypted: true", "key/k-1", "keep: true", "backup: daily", "tokens: required", "hopLimit: 3", "tenancy: dedicated", "group: spread-1", "partition: 3",
		"id: cr-1", "cores: 2", "threads: 1", "credits: standard", "onShutdown: terminate", "bandwidth: ebs-1", "ebsOptimized: true", "monitoring: true", "enclave: true", "hibernation: true",
		"license-configuration:lic-1", "team: billing", "Name: Licence server (do not touch!)", "id: eni-main", "10.0.1.51", "10.0.1.52", "noSourceCheck: true", "sg-back", "eipalloc-a", "eipalloc-b", "interface: eni-back", "private: 10.0.1.61", "eipalloc-c", "private: 10.0.1.52", "ipv6: true", "2001:db8:1:1::60", "targetgroup/lic",
		"name: licence.example.com", "ttl: 30s", "autoRecovery: platform", "ip-name",
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the document has no %q", want)
		}
	}
	for _, never := range []string{"relight:", "aws:", "other.example.com", "vol-root"} {
		if strings.Contains(strings.ReplaceAll(strings.ReplaceAll(string(text), "relight/v1", ""), "arn:aws:", ""), never) {
			t.Errorf("the document has %q", never)
		}
	}
	notes := strings.Join(f.Notes, "\n")
	for _, want := range []string{"inside.example.com leads to the private address", "back.example.com AAAA leads to", "look for secrets", "root disk"} {
		if !strings.Contains(notes, want) {
			t.Errorf("no note says %q:\n%s", want, notes)
		}
	}
	if t.Failed() {
		t.Logf("%s", text)
	}
}
