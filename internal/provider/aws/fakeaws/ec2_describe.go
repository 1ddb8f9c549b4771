package fakeaws

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"time"

	"relight/internal/core/fleet"
	"relight/internal/world"
)

// present is how an instance is now, without the lag of a describe call.
func (e *Endpoint) present(id string) world.InstanceSight {
	i := e.w.Instance(id)
	return world.InstanceSight{ID: id, Host: i.Host, State: i.PlatformState(), Epoch: i.Epoch}
}

// instance words an instance as it was seen.
func (e *Endpoint) instance(id string, sight world.InstanceSight) instanceXML {
	m, i := e.cat.machines[id], e.w.Instance(id)
	s := e.cat.subnets[m.Subnet]
	x := instanceXML{
		ID: id, Image: m.Image, State: stateXML{stateCodes[sight.State], sight.State}, Key: m.Key, Type: m.Type,
		Launched: m.Launched, Placement: placementXML{Zone: s.Zone, Tenancy: cmp.Or(m.Tenancy, "default")}, optionsXML: m.xml(e.cat.types[m.Type]),
		Monitoring: monitoringXML{"disabled"}, RootType: e.cat.images[m.Image].rootType(), RootDevice: e.cat.images[m.Image].RootDevice,
		Token: m.Token, Tags: tagSet(m.Tags), EBSOptimized: m.EBSOptimized, Outpost: s.OutpostARN,
		Metadata:    &metadataXML{"applied", cmp.Or(m.Metadata.Tokens, "optional"), max(m.Metadata.HopLimit, 1), cmp.Or(m.Metadata.Endpoint, "enabled"), cmp.Or(m.MetadataIPv6, "disabled"), cmp.Or(m.MetadataTags, "disabled")},
		Maintenance: &maintenanceXML{cmp.Or(m.AutoRecovery, "default")},
	}
	m.place(&x.Placement)
	if m.Monitoring {
		x.Monitoring.State = "enabled"
	}
	if m.Profile != "" {
		x.Profile = &profileXML{ARN: m.Profile, ID: "AIPA" + id}
	}
	if i.Detail != "" {
		x.StateReason = &reasonXML{i.Detail, i.Detail}
		x.Reason = i.Detail
	}
	if sight.State == "terminated" {
		return x // its disks and interfaces are gone with it
	}
	x.Subnet, x.VPC, x.PrivateIP, x.Groups = m.Subnet, s.VPC, m.PrivateIP, groupSet(m.Groups)
	for _, n := range e.interfacesOf(id) {
		x.Interfaces = append(x.Interfaces, n)
		if n.Association != nil && x.PublicIP == "" {
			x.PublicIP = n.Association.PublicIP
		}
	}
	x.Devices = e.devicesOf(id)
	return x
}

func (e *Endpoint) devicesOf(id string) []deviceXML {
	m := e.cat.machines[id]
	var out []deviceXML
	for _, v := range sorted(m.Devices) {
		d := m.Devices[v]
		status := "attached"
		if v != m.Root {
			truth := e.w.Volume(v)
			if truth == nil || truth.Holder != id {
				continue
			}
			if sight, err := e.w.SeeVolume(v); err == nil && sight.Holder == id {
				status = sight.Attachment
			}
		}
		out = append(out, deviceXML{d.Name, ebsXML{v, status, d.Attached, d.Delete}})
	}
	return out
}

var instanceFilters = []string{"instance-id", "instance-state-name", "availability-zone", "subnet-id", "private-ip-address", "client-token", "tag-key", "tag:*"}

func (e *Endpoint) describeInstances(f form) (any, error) {
	ids, filters := f.list("InstanceId"), f.filters()
	if err := known(filters, instanceFilters...); err != nil {
		return nil, err
	}
	type reservation struct {
		ID        string        `xml:"reservationId"`
		Owner     string        `xml:"ownerId"`
		Instances []instanceXML `xml:"instancesSet>item"`
	}
	var out struct {
		Items []reservation `xml:"reservationSet>item"`
		Next  string        `xml:"nextToken,omitempty"`
	}
	next, err := e.visit(f, ids, 1000, func(sight world.InstanceSight) bool {
		if !e.chosen(filters, sight) {
			return false
		}
		out.Items = append(out.Items, reservation{"r-" + sight.ID, e.opt.Account, []instanceXML{e.instance(sight.ID, sight)}})
		return true
	})
	out.Next = next
	return out, err
}

// visit shows the instances of a describe call to take, as they are seen, until that
// has taken a page of them. The token for the next page is the last one's id.
func (e *Endpoint) visit(f form, ids []string, most int, take func(world.InstanceSight) bool) (next string, err error) {
	from, size := f.get("NextToken"), f.int("MaxResults", most)
	if len(ids) > 0 && f.get("MaxResults") != "" {
		return "", refuse("InvalidParameterCombination", "The parameter instancesSet cannot be used with the parameter maxResults")
	}
	all := ids
	if len(ids) == 0 {
		all = e.cat.machineIDs()
		at, is := slices.BinarySearch(all, from)
		switch {
		case from != "" && !is:
			return "", refuse("InvalidNextToken", "the token is not one of ours")
		case is:
			all = all[at+1:]
		}
	}
	taken := 0
	for n, id := range all {
		sight, err := e.w.SeeInstance(id)
		if err != nil || e.cat.machines[id] == nil {
			if len(ids) > 0 {
				return "", refuse("InvalidInstanceID.NotFound", "The instance ID '%s' does not exist", id)
			}
			continue
		}
		if take(sight) {
			taken++
		}
		if taken == size && len(ids) == 0 && n < len(all)-1 {
			return id, nil
		}
	}
	return "", nil
}

// chosen reports whether an instance passes the filters.
func (e *Endpoint) chosen(filters map[string][]string, sight world.InstanceSight) bool {
	m := e.cat.machines[sight.ID]
	s := e.cat.subnets[m.Subnet]
	return keep(filters, "instance-id", sight.ID) && keep(filters, "instance-state-name", sight.State) && keep(filters, "availability-zone", s.Zone) &&
		keep(filters, "subnet-id", m.Subnet) && keep(filters, "private-ip-address", m.PrivateIP) && keep(filters, "client-token", m.Token) && keepTags(filters, m.Tags)
}

func (e *Endpoint) describeInstanceStatus(f form) (any, error) {
	ids, filters := f.list("InstanceId"), f.filters()
	if len(ids) > 100 {
		return nil, refuse("InvalidParameterValue", "at most 100 instance IDs")
	}
	if err := known(filters, "availability-zone", "instance-state-name", "system-status.status", "instance-status.status"); err != nil {
		return nil, err
	}
	included := f.bool("IncludeAllInstances")
	var out struct {
		Items []statusXML `xml:"instanceStatusSet>item"`
		Next  string      `xml:"nextToken,omitempty"`
	}
	next, err := e.visit(f, ids, 1000, func(sight world.InstanceSight) bool {
		zone := e.cat.subnets[e.cat.machines[sight.ID].Subnet].Zone
		if !included && sight.State != "running" || !keep(filters, "availability-zone", zone) {
			return false
		}
		x := e.status(sight)
		if !keep(filters, "instance-state-name", sight.State) || !keep(filters, "system-status.status", x.System.Status) || !keep(filters, "instance-status.status", x.Instance.Status) {
			return false
		}
		out.Items = append(out.Items, x)
		return true
	})
	out.Next = next
	return out, err
}

func (e *Endpoint) status(sight world.InstanceSight) statusXML {
	i := e.w.Instance(sight.ID)
	s := e.cat.subnets[e.cat.machines[sight.ID].Subnet]
	st := e.w.StatusOf(i)
	x := statusXML{ID: sight.ID, Zone: s.Zone, Outpost: s.OutpostARN, State: stateXML{stateCodes[sight.State], sight.State}}
	x.System, x.Instance, x.EBS = checked(st.System, st.At), checked(st.Guest, st.At), checked(st.Disks, st.At)
	for n, p := range i.Planned() {
		x.Events = append(x.Events, eventXML{ID: fmt.Sprintf("instance-event-%s-%d", i.ID, n), Code: p.Code, Text: "scheduled " + p.Code, NotBefore: p.NotBefore})
	}
	return x
}

// checked words a status check: the summary and the one detail that there is.
func checked(s world.CheckState, at time.Time) checkXML {
	switch s {
	case world.CheckOK:
		return checkXML{"ok", []checkedDetail{{Name: "reachability", Status: "passed"}}}
	case world.CheckImpaired:
		return checkXML{"impaired", []checkedDetail{{Name: "reachability", Status: "failed", Since: &at}}}
	case world.CheckNotApplicable:
		return checkXML{Status: "not-applicable"}
	default:
		return checkXML{string(s), []checkedDetail{{Name: "reachability", Status: string(s)}}}
	}
}

func (e *Endpoint) describeInstanceAttribute(f form) (any, error) {
	id := f.get("InstanceId")
	if _, err := e.find(id); err != nil {
		return nil, err
	}
	m := e.cat.machines[id]
	type value struct {
		V string `xml:"value"`
	}
	switch a := f.get("Attribute"); a {
	case "userData":
		return struct {
			ID string `xml:"instanceId"`
			V  value  `xml:"userData"`
		}{id, value{m.UserData}}, nil
	case "instanceInitiatedShutdownBehavior":
		return struct {
			ID string `xml:"instanceId"`
			V  value  `xml:"instanceInitiatedShutdownBehavior"`
		}{id, value{cmp.Or(m.OnShutdown, "stop")}}, nil
	case "disableApiStop":
		return struct {
			ID string `xml:"instanceId"`
			V  value  `xml:"disableApiStop"`
		}{id, value{"false"}}, nil
	case "disableApiTermination":
		return struct {
			ID string `xml:"instanceId"`
			V  value  `xml:"disableApiTermination"`
		}{id, value{strconv.FormatBool(m.Protected)}}, nil
	default:
		return nil, refuse("InvalidParameterValue", "attribute %q", a)
	}
}

func (e *Endpoint) getConsoleOutput(f form) (any, error) {
	id := f.get("InstanceId")
	i, err := e.find(id)
	if err != nil {
		return nil, err
	}
	return struct {
		ID     string    `xml:"instanceId"`
		At     time.Time `xml:"timestamp"`
		Output string    `xml:"output"`
	}{id, e.w.Now(), base64.StdEncoding.EncodeToString([]byte("console of " + id + ": application " + string(i.App) + "\n"))}, nil
}

// interfacesOf are the interfaces that an instance holds, the primary one first.
func (e *Endpoint) interfacesOf(id string) []interfaceXML {
	var out []interfaceXML
	for _, n := range e.w.Instance(id).Interfaces() {
		if e.cat.interfaces[n] != nil {
			x := e.iface(n)
			if x.Attachment == nil { // reads lag, and what a launch answers does not
				x.Status, x.Attachment = "in-use", &interfaceAttachmentXML{"eni-attach-" + n, id, e.cat.interfaces[n].Index, "attaching", e.cat.interfaces[n].DeleteOnEnd}
			}
			out = append(out, x)
		}
	}
	primary := e.cat.machines[id].Primary
	slices.SortStableFunc(out, func(a, b interfaceXML) int {
		switch {
		case a.ID == primary && b.ID != primary:
			return -1
		case b.ID == primary && a.ID != primary:
			return 1
		default:
			return 0
		}
	})
	return out
}

// gone reports whether an instance has ended for ever.
func gone(i *world.Instance) bool { return i == nil || i.State == fleet.InstanceTerminated }
