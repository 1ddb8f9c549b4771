package fakeaws

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"relight/internal/world"
)

func (e *Endpoint) iface(id string) interfaceXML {
	n, c := e.w.Interface(id), e.cat.interfaces[id]
	s := e.cat.subnets[c.Subnet]
	x := interfaceXML{ID: id, Subnet: c.Subnet, VPC: s.VPC, Zone: s.Zone, Description: c.Description, Status: "available", MAC: n.MAC, Groups: groupSet(c.Groups), Tags: tagSet(c.Tags), Check: !c.NoCheck}
	for _, ip := range n.IPs {
		if six(ip) {
			x.IPv6s = append(x.IPv6s, ipv6XML{ip})
			continue
		}
		x.IPs = append(x.IPs, privateIPXML{ip, len(x.IPs) == 0})
	}
	if len(x.IPs) > 0 {
		x.PrivateIP = x.IPs[0].IP
	}
	if sight, err := e.w.SeeInterface(id); err == nil {
		x.Status = sight.State
		if sight.Holder != "" {
			x.Attachment = &interfaceAttachmentXML{"eni-attach-" + id, sight.Holder, c.Index, sight.Attachment, c.DeleteOnEnd}
		}
	}
	for _, a := range sorted(e.cat.addresses) {
		addr := e.cat.addresses[a]
		truth := e.w.Address(addr.IP)
		if truth.Interface == id || n.Holder != "" && e.primaryOf(n.Holder) == id && slices.Contains(truth.Holders, n.Holder) {
			x.Association = &associationXML{Allocation: a, Association: addr.Association}
			x.Association.PublicIP, x.Association.Customers = addr.told()
		}
	}
	return x
}

func (e *Endpoint) primaryOf(instance string) string {
	if m := e.cat.machines[instance]; m != nil {
		return m.Primary
	}
	return ""
}

func (e *Endpoint) describeInterfaces(f form) (any, error) {
	ids, filters := f.list("NetworkInterfaceId"), f.filters()
	if err := known(filters, "network-interface-id", "attachment.instance-id", "subnet-id", "availability-zone", "status", "private-ip-address", "tag:*", "tag-key"); err != nil {
		return nil, err
	}
	var out struct {
		Items []interfaceXML `xml:"networkInterfaceSet>item"`
		Next  string         `xml:"nextToken,omitempty"`
	}
	for _, id := range pick(ids, e.cat.interfaces) {
		c, n := e.cat.interfaces[id], e.w.Interface(id)
		if c == nil || n == nil || c.DeleteOnEnd && n.Holder == "" {
			if len(ids) > 0 {
				return nil, refuse("InvalidNetworkInterfaceID.NotFound", "The networkInterface ID '%s' does not exist", id)
			}
			continue
		}
		x := e.iface(id)
		holder := ""
		if x.Attachment != nil {
			holder = x.Attachment.Instance
		}
		if keep(filters, "network-interface-id", id) && keep(filters, "attachment.instance-id", holder) && keep(filters, "subnet-id", c.Subnet) &&
			keep(filters, "availability-zone", x.Zone) && keep(filters, "status", x.Status) && keep(filters, "private-ip-address", n.IPs...) && keepTags(filters, c.Tags) {
			out.Items = append(out.Items, x)
		}
	}
	var err error
	out.Items, out.Next, err = page(f, out.Items, 1000)
	return out, err
}

func (e *Endpoint) attachInterface(f form) (any, error) {
	id, index := f.get("NetworkInterfaceId"), f.int("DeviceIndex", 1)
	i, err := e.find(f.get("InstanceId"))
	if err != nil {
		return nil, err
	}
	if e.cat.interfaces[id] == nil {
		return nil, refuse("InvalidNetworkInterfaceID.NotFound", "The networkInterface ID '%s' does not exist", id)
	}
	for _, n := range e.interfacesOf(i.ID) {
		if n.ID != id && n.Attachment != nil && n.Attachment.Index == index {
			return nil, refuse("InvalidParameterValue", "Instance '%s' already has an interface attached at device index '%d'.", i.ID, index)
		}
	}
	if err := e.takesMore(i); err != nil && e.w.Interface(id).Holder == "" {
		return nil, err
	}
	if err := e.w.AttachInterface(id, i); err != nil {
		return nil, err
	}
	e.cat.interfaces[id].Index = index
	return struct {
		ID string `xml:"attachmentId"`
	}{"eni-attach-" + id}, nil
}

// createInterface makes an interface in a subnet, free, once for its token.
func (e *Endpoint) createInterface(f form) (any, error) {
	token, more, groups, tags := f.get("ClientToken"), f.int("SecondaryPrivateIpAddressCount", 0), f.list("SecurityGroupId"), specTags(f, "network-interface")
	about, subnet := f.get("Description"), f.get("SubnetId")
	s, sixes := e.cat.subnets[subnet], f.int("Ipv6AddressCount", 0)
	switch {
	case s == nil:
		return nil, refuse("InvalidSubnetID.NotFound", "The subnet ID '%s' does not exist", subnet)
	case sixes > 0 && s.Prefix6 == "":
		return nil, refuse("InvalidParameterValue", "The subnet '%s' has no IPv6 CIDR block", subnet)
	}
	id, err := e.once(token, f, func() (string, error) {
		id := fmt.Sprintf("eni-new-%05d", e.next())
		var ips []string
		for range 1 + more {
			ips = append(ips, e.freeIP(s))
		}
		for n := range sixes {
			ips = append(ips, fmt.Sprintf("%s%x:%x", s.Prefix6, e.seq, n+1))
		}
		server, _ := identityOf(tags, id)
		e.w.AddInterface(world.Interface{ID: id, Server: server, Place: s.Site, MAC: fmt.Sprintf("0a:00:01:%02x:%02x:%02x", e.seq>>16&255, e.seq>>8&255, e.seq&255), IPs: ips})
		if len(groups) == 0 {
			groups = []string{"sg-default"}
		}
		e.cat.addInterface(id, &iface{Subnet: subnet, Groups: groups, Tags: tags, Description: about}, ips)
		return id, nil
	})
	if err != nil {
		return nil, err
	}
	x := e.iface(id)
	x.Status = "available"
	return struct {
		Interface interfaceXML `xml:"networkInterface"`
	}{x}, nil
}

func (e *Endpoint) detachInterface(f form) (any, error) {
	attachment, force := f.get("AttachmentId"), f.bool("Force")
	for id, c := range e.cat.interfaces { // order: one at most matches
		if "eni-attach-"+id != attachment {
			continue
		}
		n := e.w.Interface(id)
		i := e.w.Instance(n.Holder)
		switch {
		case i == nil:
			return nil, refuse("InvalidAttachmentID.NotFound", "The attachment '%s' does not exist", attachment)
		case c.Index == 0:
			return nil, refuse("OperationNotPermitted", "The network interface at device index 0 cannot be detached.")
		}
		if err := e.w.DetachInterface(id, i, force); err != nil {
			return nil, notAttached(err)
		}
		return done{true}, nil
	}
	return nil, refuse("InvalidAttachmentID.NotFound", "The attachment '%s' does not exist", attachment)
}

type addressXML struct {
	IP          string   `xml:"publicIp,omitempty"`
	Customers   string   `xml:"customerOwnedIp,omitempty"`
	Pool        string   `xml:"customerOwnedIpv4Pool,omitempty"`
	Allocation  string   `xml:"allocationId"`
	Association string   `xml:"associationId,omitempty"`
	Instance    string   `xml:"instanceId,omitempty"`
	Interface   string   `xml:"networkInterfaceId,omitempty"`
	PrivateIP   string   `xml:"privateIpAddress,omitempty"`
	Domain      string   `xml:"domain"`
	Tags        []tagXML `xml:"tagSet>item"`
}

func (e *Endpoint) describeAddresses(f form) (any, error) {
	ids, filters := f.list("AllocationId"), f.filters()
	ips := f.list("PublicIp")
	if err := known(filters, "allocation-id", "public-ip", "instance-id", "network-interface-id", "tag:*", "tag-key"); err != nil {
		return nil, err
	}
	var out struct {
		Items []addressXML `xml:"addressesSet>item"`
	}
	for _, id := range pick(ids, e.cat.addresses) {
		a := e.cat.addresses[id]
		if a == nil {
			return nil, refuse("InvalidAllocationID.NotFound", "The allocation ID '%s' does not exist", id)
		}
		x := addressXML{Allocation: id, Domain: "vpc", Pool: a.Pool, Tags: tagSet(a.Tags)}
		x.IP, x.Customers = a.told()
		if len(ips) > 0 && !slices.Contains(ips, x.IP) {
			continue
		}
		if sight, err := e.w.SeeAddress(a.IP); err == nil && (sight.Holder != "" || sight.Interface != "") {
			x.Association, x.Instance, x.Interface = a.Association, sight.Holder, cmp.Or(sight.Interface, e.primaryOf(sight.Holder))
			x.PrivateIP = e.privateOf(a, x.Interface)
		}
		if keep(filters, "allocation-id", id) && keep(filters, "public-ip", x.IP) && keep(filters, "instance-id", x.Instance) && keep(filters, "network-interface-id", x.Interface) && keepTags(filters, a.Tags) {
			out.Items = append(out.Items, x)
		}
	}
	return out, nil
}

// told is the address in the field in which EC2 tells it: one of the customer's own pool is
// no public one.
func (a *address) told() (public, customers string) {
	if a.Pool != "" {
		return "", a.IP
	}
	return a.IP, ""
}

// privateOf is the private address of an interface that an elastic one leads to.
func (e *Endpoint) privateOf(a *address, iface string) string {
	if n := e.w.Interface(iface); n != nil && len(n.IPs) > 0 && a.PrivateIP == "" {
		return n.IPs[0]
	}
	return a.PrivateIP
}

// leadsTo refuses to lead an elastic address to a private one that its interface does not
// have, or that another one leads to; with again that one leads nowhere any more.
func (e *Endpoint) leadsTo(a *address, iface, private string, again bool) error {
	ips := e.w.Interface(iface).IPs
	if private != "" && !slices.Contains(ips, private) {
		return refuse("InvalidParameterValue", "The private IP address %s is not assigned to network interface '%s'", private, iface)
	}
	if private == "" && len(ips) > 0 {
		private = ips[0]
	}
	for _, id := range sorted(e.cat.addresses) {
		other := e.cat.addresses[id]
		if other == a || e.w.Address(other.IP).Interface != iface || e.privateOf(other, iface) != private {
			continue
		}
		if !again {
			return refuse("Resource.AlreadyAssociated", "resource %s is already associated with address %s", private, other.IP)
		}
		e.w.Disassociate(other.IP)
		other.Association, other.PrivateIP = "", ""
	}
	return nil
}

// associateAddress leads an elastic address to an instance or an interface.
// AllowReassociation is true unless it is said to be false.
func (e *Endpoint) associateAddress(f form) (any, error) {
	id, instance, n, private := f.get("AllocationId"), f.get("InstanceId"), f.get("NetworkInterfaceId"), f.get("PrivateIpAddress")
	again := f.get("AllowReassociation") != "false"
	a := e.cat.addresses[id]
	if a == nil {
		return nil, refuse("InvalidAllocationID.NotFound", "The allocation ID '%s' does not exist", id)
	}
	to := world.Destination{Interface: n}
	if instance != "" {
		i, err := e.find(instance)
		if err != nil {
			return nil, err
		}
		if len(e.interfacesOf(instance)) > 1 {
			return nil, refuse("InvalidInstanceID", "There are multiple interfaces attached to instance '%s'. Please specify an interface ID for the operation instead.", instance)
		}
		to = world.Destination{Instance: i}
	} else if e.cat.interfaces[n] == nil {
		return nil, refuse("InvalidNetworkInterfaceID.NotFound", "The networkInterface ID '%s' does not exist", n)
	} else if err := e.leadsTo(a, n, private, again); err != nil {
		return nil, err
	}
	if n != "" && !again && e.w.Address(a.IP).Interface == n && e.privateOf(a, n) != cmp.Or(private, e.privateOf(&address{}, n)) {
		return nil, refuse("Resource.AlreadyAssociated", "resource %s is already associated with %s", id, e.privateOf(a, n))
	}
	if err := e.w.Associate(a.IP, to, again); err != nil {
		return nil, err
	}
	a.Association, a.PrivateIP = fmt.Sprintf("eipassoc-%05d", e.next()), private
	return struct {
		Return bool   `xml:"return"`
		ID     string `xml:"associationId"`
	}{true, a.Association}, nil
}

func (e *Endpoint) disassociateAddress(f form) (any, error) {
	id := f.get("AssociationId")
	for _, k := range sorted(e.cat.addresses) {
		if a := e.cat.addresses[k]; a.Association == id && id != "" {
			e.w.Disassociate(a.IP)
			a.Association = ""
			return done{true}, nil
		}
	}
	return nil, refuse("InvalidAssociationID.NotFound", "The association ID '%s' does not exist", id)
}

func six(ip string) bool { return strings.Contains(ip, ":") }
