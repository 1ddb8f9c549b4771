package fakeaws

import (
	"slices"
	"time"
)

// The shapes of EC2's answers, as far as callers of ours read them.

type tagXML struct {
	Key   string `xml:"key"`
	Value string `xml:"value"`
}

func tagSet(tags map[string]string) []tagXML {
	var out []tagXML
	for _, k := range sorted(tags) {
		out = append(out, tagXML{k, tags[k]})
	}
	return out
}

type stateXML struct {
	Code int    `xml:"code"`
	Name string `xml:"name"`
}

// stateCodes are EC2's numbers of instance states.
var stateCodes = map[string]int{"pending": 0, "running": 16, "shutting-down": 32, "terminated": 48, "stopping": 64, "stopped": 80}

type reasonXML struct {
	Code    string `xml:"code"`
	Message string `xml:"message"`
}

type placementXML struct {
	Zone    string `xml:"availabilityZone"`
	Tenancy string `xml:"tenancy"`

	Affinity  string `xml:"affinity,omitempty"`
	Host      string `xml:"hostId,omitempty"`
	HostGroup string `xml:"hostResourceGroupArn,omitempty"`
	Group     string `xml:"groupName,omitempty"`
	Partition int    `xml:"partitionNumber,omitempty"`
}

type groupXML struct {
	ID string `xml:"groupId"`
}

type ebsXML struct {
	Volume   string    `xml:"volumeId"`
	Status   string    `xml:"status"`
	Attached time.Time `xml:"attachTime"`
	Delete   bool      `xml:"deleteOnTermination"`
}

type deviceXML struct {
	Name string `xml:"deviceName"`
	EBS  ebsXML `xml:"ebs"`
}

type profileXML struct {
	ARN string `xml:"arn"`
	ID  string `xml:"id"`
}

type metadataXML struct {
	State    string `xml:"state"`
	Tokens   string `xml:"httpTokens"`
	HopLimit int    `xml:"httpPutResponseHopLimit"`
	Endpoint string `xml:"httpEndpoint"`
	IPv6     string `xml:"httpProtocolIpv6,omitempty"`
	Tags     string `xml:"instanceMetadataTags,omitempty"`
}

type maintenanceXML struct {
	AutoRecovery string `xml:"autoRecovery"`
}

type monitoringXML struct {
	State string `xml:"state"`
}

type instanceXML struct {
	ID           string          `xml:"instanceId"`
	Image        string          `xml:"imageId"`
	State        stateXML        `xml:"instanceState"`
	Reason       string          `xml:"reason"`
	Key          string          `xml:"keyName,omitempty"`
	Type         string          `xml:"instanceType"`
	Launched     time.Time       `xml:"launchTime"`
	Placement    placementXML    `xml:"placement"`
	Monitoring   monitoringXML   `xml:"monitoring"`
	Subnet       string          `xml:"subnetId,omitempty"`
	VPC          string          `xml:"vpcId,omitempty"`
	PrivateIP    string          `xml:"privateIpAddress,omitempty"`
	PublicIP     string          `xml:"ipAddress,omitempty"`
	Groups       []groupXML      `xml:"groupSet>item"`
	StateReason  *reasonXML      `xml:"stateReason,omitempty"`
	RootType     string          `xml:"rootDeviceType"`
	RootDevice   string          `xml:"rootDeviceName"`
	Devices      []deviceXML     `xml:"blockDeviceMapping>item"`
	Token        string          `xml:"clientToken,omitempty"`
	Tags         []tagXML        `xml:"tagSet>item"`
	Interfaces   []interfaceXML  `xml:"networkInterfaceSet>item"`
	Profile      *profileXML     `xml:"iamInstanceProfile,omitempty"`
	EBSOptimized bool            `xml:"ebsOptimized"`
	Outpost      string          `xml:"outpostArn,omitempty"`
	Metadata     *metadataXML    `xml:"metadataOptions,omitempty"`
	Maintenance  *maintenanceXML `xml:"maintenanceOptions,omitempty"`
	*optionsXML
}

type privateIPXML struct {
	IP      string `xml:"privateIpAddress"`
	Primary bool   `xml:"primary"`
}

type interfaceAttachmentXML struct {
	ID       string `xml:"attachmentId"`
	Instance string `xml:"instanceId,omitempty"`
	Index    int    `xml:"deviceIndex"`
	Status   string `xml:"status"`
	Delete   bool   `xml:"deleteOnTermination"`
}

type associationXML struct {
	PublicIP    string `xml:"publicIp,omitempty"`
	Customers   string `xml:"customerOwnedIp,omitempty"`
	Allocation  string `xml:"allocationId"`
	Association string `xml:"associationId"`
}

type interfaceXML struct {
	ID          string                  `xml:"networkInterfaceId"`
	Subnet      string                  `xml:"subnetId"`
	VPC         string                  `xml:"vpcId"`
	Zone        string                  `xml:"availabilityZone,omitempty"`
	Description string                  `xml:"description"`
	Status      string                  `xml:"status"`
	MAC         string                  `xml:"macAddress"`
	PrivateIP   string                  `xml:"privateIpAddress"`
	IPs         []privateIPXML          `xml:"privateIpAddressesSet>item"`
	IPv6s       []ipv6XML               `xml:"ipv6AddressesSet>item"`
	Groups      []groupXML              `xml:"groupSet>item"`
	Attachment  *interfaceAttachmentXML `xml:"attachment,omitempty"`
	Association *associationXML         `xml:"association,omitempty"`
	Tags        []tagXML                `xml:"tagSet>item"`
	Check       bool                    `xml:"sourceDestCheck"`
}

type ipv6XML struct {
	IP string `xml:"ipv6Address"`
}

type attachmentXML struct {
	Volume   string    `xml:"volumeId"`
	Instance string    `xml:"instanceId"`
	Device   string    `xml:"device"`
	Status   string    `xml:"status"`
	Attached time.Time `xml:"attachTime"`
	Delete   bool      `xml:"deleteOnTermination"`
}

type volumeXML struct {
	ID          string          `xml:"volumeId"`
	GiB         int             `xml:"size"`
	Snapshot    string          `xml:"snapshotId"`
	Zone        string          `xml:"availabilityZone"`
	Status      string          `xml:"status"`
	Created     time.Time       `xml:"createTime"`
	Attachments []attachmentXML `xml:"attachmentSet>item"`
	Tags        []tagXML        `xml:"tagSet>item"`
	Type        string          `xml:"volumeType"`
	Encrypted   bool            `xml:"encrypted"`
	KMSKey      string          `xml:"kmsKeyId,omitempty"`
	Multi       bool            `xml:"multiAttachEnabled"`
	IOPS        int             `xml:"iops,omitempty"`
	Throughput  int             `xml:"throughput,omitempty"`
}

type checkXML struct {
	Status  string          `xml:"status"`
	Details []checkedDetail `xml:"details>item"`
}

type checkedDetail struct {
	Name   string     `xml:"name"`
	Status string     `xml:"status"`
	Since  *time.Time `xml:"impairedSince,omitempty"`
}

type eventXML struct {
	ID        string    `xml:"instanceEventId"`
	Code      string    `xml:"code"`
	Text      string    `xml:"description"`
	NotBefore time.Time `xml:"notBefore"`
}

type statusXML struct {
	ID       string     `xml:"instanceId"`
	Zone     string     `xml:"availabilityZone"`
	Outpost  string     `xml:"outpostArn,omitempty"`
	Events   []eventXML `xml:"eventsSet>item"`
	State    stateXML   `xml:"instanceState"`
	System   checkXML   `xml:"systemStatus"`
	Instance checkXML   `xml:"instanceStatus"`
	EBS      checkXML   `xml:"attachedEbsStatus"`
}

func groupSet(ids []string) []groupXML {
	var out []groupXML
	for _, id := range slices.Sorted(slices.Values(ids)) {
		out = append(out, groupXML{id})
	}
	return out
}
