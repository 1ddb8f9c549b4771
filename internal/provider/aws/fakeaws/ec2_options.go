package fakeaws

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
)

// options are what a launch may say of an instance beside its core.
type options struct {
	Credits, OnShutdown, Bandwidth                       string
	Host, HostGroup, Affinity, PlacementGroup, Partition string
	Preference, ReservationID, ReservationGroup          string
	HostnameType, HostnameA, HostnameAAAA                string
	MetadataIPv6, MetadataTags                           string
	Cores, Threads                                       int
	Enclave, Hibernation                                 bool
	Licenses                                             []string
	disks                                                map[string]disk // by device name
	volumeTags                                           map[string]string
}

// disk is what a block device mapping says.
type disk struct {
	GiB, IOPS, Throughput int
	Type, KMSKey          string
	Encrypted             bool
}

// readOptions reads them of a request or a template.
func (o *options) read(f form) {
	for key, into := range map[string]*string{ // order: each goes into a field of its own
		"CreditSpecification.CpuCredits": &o.Credits, "InstanceInitiatedShutdownBehavior": &o.OnShutdown,
		"NetworkPerformanceOptions.BandwidthWeighting": &o.Bandwidth,
		"Placement.HostId": &o.Host, "Placement.HostResourceGroupArn": &o.HostGroup, "Placement.Affinity": &o.Affinity,
		"Placement.GroupName": &o.PlacementGroup, "Placement.PartitionNumber": &o.Partition,
		"CapacityReservationSpecification.CapacityReservationPreference":                                 &o.Preference,
		"CapacityReservationSpecification.CapacityReservationTarget.CapacityReservationId":               &o.ReservationID,
		"CapacityReservationSpecification.CapacityReservationTarget.CapacityReservationResourceGroupArn": &o.ReservationGroup,
		"PrivateDnsNameOptions.HostnameType":                                                             &o.HostnameType,
		"PrivateDnsNameOptions.EnableResourceNameDnsARecord":                                             &o.HostnameA,
		"PrivateDnsNameOptions.EnableResourceNameDnsAAAARecord":                                          &o.HostnameAAAA,
		"MetadataOptions.HttpProtocolIpv6":                                                               &o.MetadataIPv6, "MetadataOptions.InstanceMetadataTags": &o.MetadataTags,
	} {
		if v := f.get(key); v != "" {
			*into = v
		}
	}
	o.Cores, o.Threads = f.int("CpuOptions.CoreCount", o.Cores), f.int("CpuOptions.ThreadsPerCore", o.Threads)
	o.Enclave = o.Enclave || f.bool("EnclaveOptions.Enabled")
	o.Hibernation = o.Hibernation || f.bool("HibernationOptions.Configured")
	for _, l := range f.subs("LicenseSpecification") {
		o.Licenses = append(slices.Clone(o.Licenses), l.get("LicenseConfigurationArn"))
	}
	if tags := specTags(f, "volume"); len(tags) > 0 {
		o.volumeTags = maps.Clone(o.volumeTags)
		if o.volumeTags == nil {
			o.volumeTags = map[string]string{}
		}
		maps.Copy(o.volumeTags, tags)
	}
	o.disks = maps.Clone(o.disks) // a template's own stay as they are
	for _, b := range f.subs("BlockDeviceMapping") {
		if o.disks == nil {
			o.disks = map[string]disk{}
		}
		o.disks[b.get("DeviceName")] = disk{
			GiB: b.int("Ebs.VolumeSize", 0), IOPS: b.int("Ebs.Iops", 0), Throughput: b.int("Ebs.Throughput", 0),
			Type: b.get("Ebs.VolumeType"), KMSKey: b.get("Ebs.KmsKeyId"), Encrypted: b.bool("Ebs.Encrypted"),
		}
	}
}

// rootVolume is the disk that an instance starts from.
func (o *options) root(image *Image) *volume {
	d := o.disks[image.RootDevice]
	v := &volume{Type: cmp.Or(d.Type, "gp3"), GiB: max(image.RootGiB, 8, d.GiB), IOPS: d.IOPS, Throughput: d.Throughput, KMSKey: d.KMSKey, Encrypted: d.Encrypted, Root: true}
	if v.Type == "gp3" {
		v.IOPS, v.Throughput = max(v.IOPS, 3000), max(v.Throughput, 125)
	}
	return v
}

type reservationXML struct {
	Preference string `xml:"capacityReservationPreference,omitempty"`
	Target     *struct {
		ID    string `xml:"capacityReservationId,omitempty"`
		Group string `xml:"capacityReservationResourceGroupArn,omitempty"`
	} `xml:"capacityReservationTarget,omitempty"`
}

type licenseXML struct {
	ARN string `xml:"licenseConfigurationArn"`
}

// optionsXML are the options as DescribeInstances tells them.
type optionsXML struct {
	CPU struct {
		Cores   int `xml:"coreCount"`
		Threads int `xml:"threadsPerCore"`
	} `xml:"cpuOptions"`
	Reservation reservationXML `xml:"capacityReservationSpecification"`
	Hibernation struct {
		On bool `xml:"configured"`
	} `xml:"hibernationOptions"`
	Enclave struct {
		On bool `xml:"enabled"`
	} `xml:"enclaveOptions"`
	Licenses []licenseXML `xml:"licenseSet>item"`
	Hostname struct {
		Type string `xml:"hostnameType"`
		A    bool   `xml:"enableResourceNameDnsARecord"`
		AAAA bool   `xml:"enableResourceNameDnsAAAARecord"`
	} `xml:"privateDnsNameOptions"`
	Network struct {
		Bandwidth string `xml:"bandwidthWeighting"`
	} `xml:"networkPerformanceOptions"`
}

func (o *options) xml(t InstanceType) *optionsXML {
	x := &optionsXML{}
	x.CPU.Cores, x.CPU.Threads = t.cores()
	x.CPU.Cores, x.CPU.Threads = cmp.Or(o.Cores, x.CPU.Cores), cmp.Or(o.Threads, x.CPU.Threads)
	x.Reservation.Preference = cmp.Or(o.Preference, "open")
	if o.ReservationID != "" || o.ReservationGroup != "" {
		x.Reservation.Preference = o.Preference
		x.Reservation.Target = &struct {
			ID    string `xml:"capacityReservationId,omitempty"`
			Group string `xml:"capacityReservationResourceGroupArn,omitempty"`
		}{o.ReservationID, o.ReservationGroup}
	}
	x.Hibernation.On, x.Enclave.On = o.Hibernation, o.Enclave
	for _, arn := range o.Licenses {
		x.Licenses = append(x.Licenses, licenseXML{arn})
	}
	x.Hostname.Type, x.Hostname.A, x.Hostname.AAAA = cmp.Or(o.HostnameType, "ip-name"), o.HostnameA == "true", o.HostnameAAAA == "true"
	x.Network.Bandwidth = cmp.Or(o.Bandwidth, "default")
	return x
}

// cores and threads of a type: two threads each, as on most.
func (t InstanceType) cores() (cores, threads int) {
	if t.CPUs < 2 {
		return 1, 1
	}
	return t.CPUs / 2, 2
}

func (o *options) place(x *placementXML) {
	x.Affinity, x.Host, x.HostGroup, x.Group = o.Affinity, o.Host, o.HostGroup, o.PlacementGroup
	x.Partition, _ = strconv.Atoi(o.Partition) // "" is none
}

// describeCredits says standard of types that earn none, as EC2 does.
func (e *Endpoint) describeCredits(f form) (any, error) {
	type item struct {
		ID      string `xml:"instanceId"`
		Credits string `xml:"cpuCredits"`
	}
	var out struct {
		Items []item `xml:"instanceCreditSpecificationSet>item"`
	}
	for _, id := range f.list("InstanceId") {
		if _, err := e.find(id); err != nil {
			return nil, err
		}
		m := e.cat.machines[id]
		credits := "standard"
		if e.cat.types[m.Type].Burstable {
			credits = cmp.Or(m.Credits, "unlimited")
		}
		out.Items = append(out.Items, item{id, credits})
	}
	return out, nil
}

// modifyInterface changes whether an interface ends with its instance, and what it
// lets through.
func (e *Endpoint) modifyInterface(f form) (any, error) {
	id := f.get("NetworkInterfaceId")
	c := e.cat.interfaces[id]
	if c == nil {
		return nil, refuse("InvalidNetworkInterfaceID.NotFound", "The networkInterface ID '%s' does not exist", id)
	}
	if a, named := f.sub("Attachment"); named {
		if got := a.get("AttachmentId"); got != "eni-attach-"+id || e.w.Interface(id).Holder == "" {
			return nil, refuse("InvalidAttachmentID.NotFound", "The attachment '%s' does not exist", got)
		}
		c.DeleteOnEnd = a.bool("DeleteOnTermination")
	}
	if v := f.get("Description.Value"); v != "" {
		c.Description = v
	}
	if v := f.get("SourceDestCheck.Value"); v != "" {
		c.NoCheck = v == "false"
	}
	if g := f.list("SecurityGroupId"); len(g) > 0 {
		c.Groups = g
	}
	return done{true}, nil
}

// optionParams are the parameters that read knows.
const optionParams = ` CreditSpecification.CpuCredits InstanceInitiatedShutdownBehavior NetworkPerformanceOptions.BandwidthWeighting
	Placement.HostId Placement.HostResourceGroupArn Placement.Affinity Placement.GroupName Placement.PartitionNumber
	CapacityReservationSpecification.CapacityReservationPreference CapacityReservationSpecification.CapacityReservationTarget.CapacityReservationId
	CapacityReservationSpecification.CapacityReservationTarget.CapacityReservationResourceGroupArn
	PrivateDnsNameOptions.HostnameType PrivateDnsNameOptions.EnableResourceNameDnsARecord PrivateDnsNameOptions.EnableResourceNameDnsAAAARecord
	MetadataOptions.HttpProtocolIpv6 MetadataOptions.InstanceMetadataTags CpuOptions.CoreCount CpuOptions.ThreadsPerCore
	EnclaveOptions.Enabled HibernationOptions.Configured LicenseSpecification.N.LicenseConfigurationArn
	BlockDeviceMapping.N.Ebs.Iops BlockDeviceMapping.N.Ebs.Throughput `
