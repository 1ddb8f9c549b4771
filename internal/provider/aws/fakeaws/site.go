package fakeaws

import (
	"slices"
	"strings"
)

// global are the services that have their control plane in one region, whichever asks
// (docs.aws.amazon.com/whitepapers/latest/aws-fault-isolation-boundaries/global-services.html).
var global = map[string]string{"route53": "us-east-1", "iam": "us-east-1"}

// sitesOf are the zones that a call is about, or its region; with their API the call fails.
// The outage of one zone takes along EC2's calls about what is there and those that list
// such things everywhere. What is of the region outlives it: load balancers' and queues'
// APIs, and EC2's calls about templates, subnets, snapshots and elastic addresses.
func (e *Endpoint) sitesOf(req request) []string {
	switch {
	case global[req.service] != "":
		return []string{global[req.service]}
	case req.service != "ec2" || slices.Contains(regional, req.action):
		return []string{e.opt.Region}
	}
	zones := e.zonesOf(req.form)
	if len(zones) == 0 && slices.Contains(everywhere, req.action) {
		for _, s := range e.cat.subnets { // order: outages have none
			zones = append(zones, s.Zone)
		}
	}
	if len(zones) == 0 {
		return []string{e.opt.Region}
	}
	return zones
}

var (
	// everywhere are the calls that list what lies in zones.
	everywhere = []string{"DescribeInstances", "DescribeInstanceStatus", "DescribeVolumes", "DescribeNetworkInterfaces", "DescribeInstanceCreditSpecifications"}
	// regional are those about what lies in none, whatever else they name.
	regional = []string{"DescribeSubnets", "DescribeSnapshots", "DescribeAddresses", "DescribeAvailabilityZones", "DescribeInstanceTypes", "DescribeInstanceTypeOfferings", "DescribeImages", "DescribeCapacityReservations"}
	// zonal are the parameters that name a zone or what lies in one.
	zonal = []string{"InstanceId", "VolumeId", "NetworkInterfaceId", "SubnetId", "ResourceId", "AttachmentId", "AssociationId", "AvailabilityZone"}
)

// zonesOf are the zones that a form's parameters name, each once. A filter counts only if
// it is by zone: EC2 looks for the others' values everywhere.
func (e *Endpoint) zonesOf(f form) []string {
	zones := f.filters()["availability-zone"]
	for k := range f.values { // order: sorted below
		name := strings.TrimRight(k, ".0123456789")
		if name = name[strings.LastIndex(name, ".")+1:]; slices.Contains(zonal, name) {
			zones = append(zones, e.zoneOfObject(f.values.Get(k)))
		}
	}
	if v, err := e.templateVersion(f.values.Get("LaunchTemplate.LaunchTemplateId"), "", f.values.Get("LaunchTemplate.Version")); err == nil && len(zones) == 0 {
		zones = append(zones, e.zoneOfObject(v.order.Subnet)) // a launch that names no other
	}
	slices.Sort(zones)
	return slices.DeleteFunc(slices.Compact(zones), func(z string) bool { return z == "" })
}

// zoneOfObject is where an object lies, by its id; empty if in no zone, or if it is unknown.
func (e *Endpoint) zoneOfObject(id string) string {
	c := e.cat
	switch {
	case e.w.Instance(id) != nil:
		return e.zoneOf(e.w.Instance(id).Host)
	case c.volumes[id] != nil:
		return c.volumes[id].Zone
	case c.interfaces[strings.TrimPrefix(id, "eni-attach-")] != nil:
		return e.zoneOfObject(c.interfaces[strings.TrimPrefix(id, "eni-attach-")].Subnet)
	case c.subnets[id] != nil:
		return c.subnets[id].Zone
	case strings.HasPrefix(id, e.opt.Region) && id != e.opt.Region:
		return id // a zone's own name
	}
	for _, a := range c.addresses { // order: at most one has it
		if a.Association == id && id != "" {
			return e.zoneOfObject(e.w.Address(a.IP).Interface)
		}
	}
	return ""
}
