package fakeaws

import (
	"slices"
	"strings"
)

// The parameters that each action of the query protocols knows, with N for the number
// of a list's member. A request with any other is
// refused before anything is done: a fake that ignores what it does not know would
// call something right that AWS reads in another way.
const (
	pageParams   = "MaxResults NextToken "
	filterParams = "Filter.N.Name Filter.N.Value.N "
	tagParams    = "TagSpecification.N.ResourceType TagSpecification.N.Tag.N.Key TagSpecification.N.Tag.N.Value "
)

var launchParams = strings.Fields(tagParams + optionParams + `
	ImageId InstanceType SubnetId KeyName UserData PrivateIpAddress SecurityGroupId.N
	IamInstanceProfile.Arn IamInstanceProfile.Name MaintenanceOptions.AutoRecovery
	Placement.Tenancy Placement.AvailabilityZone
	MetadataOptions.HttpTokens MetadataOptions.HttpEndpoint MetadataOptions.HttpPutResponseHopLimit
	EbsOptimized Monitoring.Enabled DisableApiTermination
	NetworkInterface.N.DeviceIndex NetworkInterface.N.NetworkInterfaceId NetworkInterface.N.SubnetId
	NetworkInterface.N.PrivateIpAddress NetworkInterface.N.SecurityGroupId.N NetworkInterface.N.DeleteOnTermination
	BlockDeviceMapping.N.DeviceName BlockDeviceMapping.N.Ebs.VolumeSize BlockDeviceMapping.N.Ebs.VolumeType
	BlockDeviceMapping.N.Ebs.Encrypted BlockDeviceMapping.N.Ebs.KmsKeyId BlockDeviceMapping.N.Ebs.DeleteOnTermination`)

// paramsOf returns what an action knows.
func paramsOf(action string) []string {
	switch action {
	case "RunInstances":
		return append(strings.Fields("MinCount MaxCount ClientToken LaunchTemplate.LaunchTemplateId LaunchTemplate.LaunchTemplateName LaunchTemplate.Version"), launchParams...)
	case "CreateLaunchTemplate", "CreateLaunchTemplateVersion":
		out := strings.Fields("LaunchTemplateName ClientToken VersionDescription " + tagParams)
		if action == "CreateLaunchTemplateVersion" {
			out = strings.Fields("LaunchTemplateId LaunchTemplateName ClientToken VersionDescription")
		}
		for _, p := range launchParams {
			out = append(out, "LaunchTemplateData."+p)
		}
		return out
	default:
		return strings.Fields(simpleParams[action])
	}
}

var simpleParams = map[string]string{
	"StartInstances":                       "InstanceId.N",
	"StopInstances":                        "InstanceId.N SkipOsShutdown Force",
	"TerminateInstances":                   "InstanceId.N SkipOsShutdown Force",
	"RebootInstances":                      "InstanceId.N",
	"DescribeInstances":                    "InstanceId.N " + filterParams + pageParams,
	"DescribeInstanceStatus":               "InstanceId.N IncludeAllInstances " + filterParams + pageParams,
	"DescribeInstanceAttribute":            "InstanceId Attribute",
	"ModifyInstanceAttribute":              "InstanceId BlockDeviceMapping.N.DeviceName BlockDeviceMapping.N.Ebs.DeleteOnTermination UserData.Value",
	"ModifyInstanceMaintenanceOptions":     "InstanceId AutoRecovery",
	"ModifyNetworkInterfaceAttribute":      "NetworkInterfaceId Attachment.AttachmentId Attachment.DeleteOnTermination SourceDestCheck.Value Description.Value SecurityGroupId.N",
	"DescribeInstanceCreditSpecifications": "InstanceId.N",
	"GetConsoleOutput":                     "InstanceId Latest",
	"DescribeVolumes":                      "VolumeId.N " + filterParams + pageParams,
	"AttachVolume":                         "VolumeId InstanceId Device",
	"DetachVolume":                         "VolumeId InstanceId Device Force",
	"CreateVolume":                         "SnapshotId AvailabilityZone ClientToken VolumeType Encrypted KmsKeyId Size Iops Throughput MultiAttachEnabled " + tagParams,
	"CreateSnapshot":                       "VolumeId Description " + tagParams,
	"DescribeSnapshots":                    "SnapshotId.N Owner.N " + filterParams + pageParams,
	"DescribeAddresses":                    "AllocationId.N PublicIp.N " + filterParams,
	"AssociateAddress":                     "AllocationId InstanceId NetworkInterfaceId PrivateIpAddress AllowReassociation",
	"DisassociateAddress":                  "AssociationId",
	"DescribeNetworkInterfaces":            "NetworkInterfaceId.N " + filterParams + pageParams,
	"AttachNetworkInterface":               "NetworkInterfaceId InstanceId DeviceIndex",
	"DetachNetworkInterface":               "AttachmentId Force",
	"CreateNetworkInterface":               "SubnetId ClientToken Description SecurityGroupId.N SecondaryPrivateIpAddressCount Ipv6AddressCount " + tagParams,
	"DescribeAvailabilityZones":            "",
	"CreateTags":                           "ResourceId.N Tag.N.Key Tag.N.Value",
	"DescribeCapacityReservations":         filterParams + pageParams,
	"DecodeAuthorizationMessage":           "EncodedMessage",
	"DescribeAlarms":                       "ActionPrefix MaxRecords NextToken",
	"DescribeSubnets":                      "SubnetId.N " + filterParams + pageParams,
	"DescribeInstanceTypes":                "InstanceType.N " + filterParams + pageParams,
	"DescribeInstanceTypeOfferings":        "LocationType " + filterParams + pageParams,
	"DescribeImages":                       "ImageId.N",
	"DescribeLaunchTemplates":              "LaunchTemplateId.N LaunchTemplateName.N " + filterParams + pageParams,
	"DescribeLaunchTemplateVersions":       "LaunchTemplateId LaunchTemplateName LaunchTemplateVersion.N " + pageParams,
	"DescribeTargetGroups":                 "TargetGroupArns.member.N Names.member.N PageSize Marker",
	"DescribeTargetHealth":                 "TargetGroupArn",
	"RegisterTargets":                      "TargetGroupArn Targets.member.N.Id Targets.member.N.Port",
	"DeregisterTargets":                    "TargetGroupArn Targets.member.N.Id Targets.member.N.Port",
	"SimulatePrincipalPolicy":              "PolicySourceArn ActionNames.member.N ResourceArns.member.N Marker",
	"DescribeAutoScalingInstances":         "InstanceIds.member.N MaxRecords",
}

// unknown refuses parameters that the action does not know.
func (f form) unknown(action string) error {
	if len(f.values) == 0 {
		return nil
	}
	names := paramsOf(action)
	var left []string
	for k := range f.values {
		if k != "Action" && k != "Version" && k != "DryRun" && !slices.Contains(names, numbered(k)) {
			left = append(left, k)
		}
	}
	if len(left) == 0 {
		return nil
	}
	slices.Sort(left)
	return &Fault{Code: "UnknownParameter", Message: "this endpoint does not know the parameters " + strings.Join(left, ", ")}
}

// numbered writes N for each number in a parameter's name.
func numbered(key string) string {
	parts := strings.Split(key, ".")
	for n, p := range parts {
		if p != "" && strings.Trim(p, "0123456789") == "" {
			parts[n] = "N"
		}
	}
	return strings.Join(parts, ".")
}
