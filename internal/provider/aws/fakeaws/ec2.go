package fakeaws

import (
	"cmp"
	"strconv"
)

// ec2 dispatches the calls of EC2.
func (e *Endpoint) ec2(req request) (answer, error) {
	act, known := map[string]func(form) (any, error){
		"RunInstances":                         e.runInstances,
		"StartInstances":                       e.startInstances,
		"StopInstances":                        e.stopInstances,
		"TerminateInstances":                   e.terminateInstances,
		"RebootInstances":                      e.rebootInstances,
		"DescribeInstances":                    e.describeInstances,
		"DescribeInstanceStatus":               e.describeInstanceStatus,
		"DescribeInstanceAttribute":            e.describeInstanceAttribute,
		"ModifyInstanceAttribute":              e.modifyAttribute,
		"ModifyInstanceMaintenanceOptions":     e.modifyMaintenance,
		"GetConsoleOutput":                     e.getConsoleOutput,
		"DescribeVolumes":                      e.describeVolumes,
		"AttachVolume":                         e.attachVolume,
		"DetachVolume":                         e.detachVolume,
		"CreateVolume":                         e.createVolume,
		"CreateSnapshot":                       e.createSnapshot,
		"DescribeSnapshots":                    e.describeSnapshots,
		"DescribeAddresses":                    e.describeAddresses,
		"AssociateAddress":                     e.associateAddress,
		"DisassociateAddress":                  e.disassociateAddress,
		"DescribeNetworkInterfaces":            e.describeInterfaces,
		"AttachNetworkInterface":               e.attachInterface,
		"DetachNetworkInterface":               e.detachInterface,
		"CreateNetworkInterface":               e.createInterface,
		"DescribeInstanceCreditSpecifications": e.describeCredits,
		"ModifyNetworkInterfaceAttribute":      e.modifyInterface,
		"DescribeCapacityReservations":         e.describeReserved,
		"CreateTags":                           e.createTags,
		"DescribeSubnets":                      e.describeSubnets,
		"DescribeAvailabilityZones":            e.describeZones,
		"DescribeInstanceTypes":                e.describeTypes,
		"DescribeInstanceTypeOfferings":        e.describeOfferings,
		"DescribeImages":                       e.describeImages,
		"CreateLaunchTemplate":                 e.createTemplate,
		"CreateLaunchTemplateVersion":          e.createTemplateVersion,
		"DescribeLaunchTemplates":              e.describeTemplates,
		"DescribeLaunchTemplateVersions":       e.describeTemplateVersions,
	}[req.action]
	if !known {
		return answer{}, refuse("InvalidAction", "The action %s is not valid for this web service.", req.action)
	}
	if req.form.bool("DryRun") {
		return answer{}, e.dryRun(req)
	}
	result, err := act(req.form)
	if err != nil {
		return answer{}, err
	}
	return ec2Reply(req.action, result)
}

type done struct {
	Return bool `xml:"return"`
}

func (e *Endpoint) createTags(f form) (any, error) {
	ids := f.list("ResourceId")
	for _, id := range ids {
		if _, err := e.tagsOf(id); err != nil {
			return nil, err
		}
	}
	for _, id := range ids {
		tags, _ := e.tagsOf(id)
		if *tags == nil {
			*tags = map[string]string{}
		}
		for _, t := range f.subs("Tag") {
			(*tags)[t.get("Key")] = t.get("Value")
		}
	}
	return done{true}, nil
}

type subnetXML struct {
	ID      string `xml:"subnetId"`
	VPC     string `xml:"vpcId"`
	Zone    string `xml:"availabilityZone"`
	CIDR    string `xml:"cidrBlock"`
	State   string `xml:"state"`
	Free    int    `xml:"availableIpAddressCount"`
	Outpost string `xml:"outpostArn,omitempty"`
}

func (e *Endpoint) describeSubnets(f form) (any, error) {
	ids, filters := f.list("SubnetId"), f.filters()
	if err := known(filters, "subnet-id", "availability-zone", "vpc-id"); err != nil {
		return nil, err
	}
	var out struct {
		Items []subnetXML `xml:"subnetSet>item"`
		Next  string      `xml:"nextToken,omitempty"`
	}
	for _, id := range pick(ids, e.cat.subnets) {
		s := e.cat.subnets[id]
		if s == nil {
			return nil, refuse("InvalidSubnetID.NotFound", "The subnet ID '%s' does not exist", id)
		}
		if keep(filters, "subnet-id", id) && keep(filters, "availability-zone", s.Zone) && keep(filters, "vpc-id", s.VPC) {
			out.Items = append(out.Items, subnetXML{ID: id, VPC: s.VPC, Zone: s.Zone, CIDR: s.CIDR, State: "available", Free: 200 - e.cat.nextIP[id], Outpost: s.OutpostARN})
		}
	}
	var err error
	out.Items, out.Next, err = page(f, out.Items, 1000)
	return out, err
}

type zoneXML struct {
	Name   string `xml:"zoneName"`
	State  string `xml:"zoneState"`
	Region string `xml:"regionName"`
}

func (e *Endpoint) describeZones(form) (any, error) {
	var out struct {
		Items []zoneXML `xml:"availabilityZoneInfo>item"`
	}
	seen := map[string]bool{}
	for _, id := range sorted(e.cat.subnets) {
		if z := e.cat.subnets[id].Zone; !seen[z] {
			seen[z] = true
			out.Items = append(out.Items, zoneXML{z, cmp.Or(e.cat.zoneStates[z], "available"), e.opt.Region})
		}
	}
	return out, nil
}

type typeXML struct {
	Name         string `xml:"instanceType"`
	AutoRecovery bool   `xml:"autoRecoverySupported"`
	Burstable    bool   `xml:"burstablePerformanceSupported"`
	CPU          struct {
		Default int `xml:"defaultVCpus"`
		Cores   int `xml:"defaultCores"`
		Threads int `xml:"defaultThreadsPerCore"`
	} `xml:"vCpuInfo"`
	Memory struct {
		MiB int `xml:"sizeInMiB"`
	} `xml:"memoryInfo"`
}

func (e *Endpoint) describeTypes(f form) (any, error) {
	filters := f.filters()
	if err := known(filters, "instance-type", "auto-recovery-supported"); err != nil {
		return nil, err
	}
	var out struct {
		Items []typeXML `xml:"instanceTypeSet>item"`
		Next  string    `xml:"nextToken,omitempty"`
	}
	for _, name := range pick(f.list("InstanceType"), e.cat.types) {
		t, is := e.cat.types[name]
		if !is {
			return nil, refuse("InvalidInstanceType", "The following supplied instance types do not exist: [%s]", name)
		}
		x := typeXML{Name: name, AutoRecovery: t.AutoRecovery, Burstable: t.Burstable}
		x.CPU.Default, x.Memory.MiB = t.CPUs, t.MiB
		x.CPU.Cores, x.CPU.Threads = t.cores()
		if keep(filters, "instance-type", name) && keep(filters, "auto-recovery-supported", strconv.FormatBool(t.AutoRecovery)) {
			out.Items = append(out.Items, x)
		}
	}
	var err error
	out.Items, out.Next, err = page(f, out.Items, 100)
	return out, err
}

type offeringXML struct {
	Type     string `xml:"instanceType"`
	Kind     string `xml:"locationType"`
	Location string `xml:"location"`
}

// describeOfferings tells what a zone offers, which says nothing of what is free.
func (e *Endpoint) describeOfferings(f form) (any, error) {
	filters := f.filters()
	if err := known(filters, "instance-type", "location"); err != nil {
		return nil, err
	}
	kind := cmp.Or(f.get("LocationType"), "availability-zone")
	var out struct {
		Items []offeringXML `xml:"instanceTypeOfferingSet>item"`
		Next  string        `xml:"nextToken,omitempty"`
	}
	seen := map[string]bool{}
	for _, id := range sorted(e.cat.subnets) {
		zone := e.cat.subnets[id].Zone
		if seen[zone] || !keep(filters, "location", zone) {
			continue
		}
		seen[zone] = true
		for _, name := range sorted(e.cat.types) {
			if keep(filters, "instance-type", name) {
				out.Items = append(out.Items, offeringXML{name, kind, zone})
			}
		}
	}
	var err error
	out.Items, out.Next, err = page(f, out.Items, 1000)
	return out, err
}

type imageXML struct {
	ID         string `xml:"imageId"`
	State      string `xml:"imageState"`
	RootDevice string `xml:"rootDeviceName"`
	RootType   string `xml:"rootDeviceType"`
}

func (e *Endpoint) describeImages(f form) (any, error) {
	var out struct {
		Items []imageXML `xml:"imagesSet>item"`
	}
	for _, id := range pick(f.list("ImageId"), e.cat.images) {
		i := e.cat.images[id]
		if i == nil {
			return nil, refuse("InvalidAMIID.NotFound", "The image id '[%s]' does not exist", id)
		}
		out.Items = append(out.Items, imageXML{id, "available", i.RootDevice, i.rootType()})
	}
	return out, nil
}

// pick returns the named identifiers, or all there are.
func pick[V any](ids []string, all map[string]V) []string {
	if len(ids) > 0 {
		return ids
	}
	return sorted(all)
}
