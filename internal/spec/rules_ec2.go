package spec

import (
	"fmt"
	"slices"
	"strings"

	"relight/internal/core/fleet"
)

// ec2Rules checks what only a server on EC2 can have, and what it cannot.
func ec2Rules(s fleet.ServerSpec, at reporter) {
	id := s.Identity
	elsewhereRules(s, at)
	forceDetachRules(s, at)
	if s.Template.EC2 == nil {
		for _, other := range []struct {
			what string
			n    int
		}{{"interfaces", len(id.Interfaces)}, {"groups", len(id.Groups)}, {"names", len(id.Names)}} {
			if other.n > 0 && s.Template != (fleet.Template{}) { // a missing one is told elsewhere
				at("spec.identity."+other.what, "only a server on EC2 has "+other.what, "no other provider moves them", "remove them, or use template.ec2")
			}
		}
		for i, a := range id.Addresses {
			if a.Interface+a.Private != "" && s.Template != (fleet.Template{}) {
				at(fmt.Sprintf("spec.identity.addresses[%d]", i), fmt.Sprintf("address %s leads to an interface", a.IP), "only EC2 leads addresses to interfaces", "remove interface and private, or use template.ec2")
			}
		}
		for i, v := range id.Volumes {
			if v.Device != "" && s.Template != (fleet.Template{}) {
				at(fmt.Sprintf("spec.identity.volumes[%d].device", i), fmt.Sprintf("volume %q has a device", v.Name), "only EC2 attaches volumes under a name", "remove the line, or use template.ec2")
			}
			if v.Mount != nil && s.Template != (fleet.Template{}) {
				at(fmt.Sprintf("spec.identity.volumes[%d].mount", i), fmt.Sprintf("nobody would mount volume %q", v.Name), "only the guest agent of an instance of EC2 mounts volumes", "remove mount, or use template.ec2")
			}
		}
		return
	}
	launchRules(*s.Template.EC2, at)
	for i, v := range id.Volumes {
		path := fmt.Sprintf("spec.identity.volumes[%d]", i)
		switch {
		case v.LUN != nil:
			ec2LUNRules(v, path, at)
		case v.ID == "":
			at(path, fmt.Sprintf("volume %q is no volume of EC2", v.Name), "an instance of EC2 attaches volumes by their id, or logs in to LUNs", "give it the id of the volume (vol-…), or a lun")
		}
	}
	mountRules(id.Volumes, at)
	for i, a := range id.Addresses {
		if a.Allocation == "" {
			at(fmt.Sprintf("spec.identity.addresses[%d]", i), fmt.Sprintf("address %s has no allocation", a.IP), "EC2 moves elastic addresses by their allocation; private ones move with their interface", "add allocation: eipalloc-…, or put the interface that has it into spec.identity.interfaces")
		}
	}
	destinationRules(id, at)
	indexes := map[int]string{}
	for i, n := range id.Interfaces {
		if first, twice := indexes[n.Index]; twice {
			at(fmt.Sprintf("spec.identity.interfaces[%d].index", i), fmt.Sprintf("interface %s has index %d, as %s has", n.ID, n.Index, first), "an instance has one interface at each index; without a line it is 0", "give each its own index")
		}
		indexes[n.Index] = n.ID
	}
	if len(id.Names) > 0 && len(id.Addresses)+len(id.Interfaces) == 0 {
		at("spec.identity.names", "the names lead nowhere", "a name leads to the first of spec.identity.addresses, or else to the private address of the first of spec.identity.interfaces, and there is neither", "add the address or the interface")
	}
}

// destinationRules checks where elastic addresses and names lead.
func destinationRules(id fleet.Identity, at reporter) {
	led := map[string]string{}
	for i, a := range id.Addresses {
		path := fmt.Sprintf("spec.identity.addresses[%d]", i)
		n := slices.IndexFunc(id.Interfaces, func(n fleet.Interface) bool { return n.ID == a.Interface })
		switch {
		case a.Interface == "" && a.Private != "":
			at(path+".private", fmt.Sprintf("address %s names a private address of no interface", a.IP), "that of an interface which is made with the instance is another each time", "add interface: eni-…, one of spec.identity.interfaces")
		case a.Interface != "" && n < 0:
			at(path+".interface", fmt.Sprintf("address %s leads to %s, which is no interface of the server", a.IP, a.Interface), "what moves with the server is listed", "add it to spec.identity.interfaces")
		case a.Private != "" && len(id.Interfaces[n].Addresses) > 0 && !slices.Contains(id.Interfaces[n].Addresses, a.Private):
			at(path+".private", fmt.Sprintf("interface %s has no address %s", a.Interface, a.Private), "EC2 refuses to lead an elastic address there", "write one of its addresses: "+strings.Join(id.Interfaces[n].Addresses, ", "))
		}
		if to := a.Interface + " " + a.Private; a.Interface != "" && led[to] != "" {
			at(path, fmt.Sprintf("%s and %s lead to the same private address", led[to], a.IP), "EC2 leads one elastic address to each", "name another private address")
		} else {
			led[to] = a.IP
		}
	}
	for i, n := range id.Names {
		if n.IPv6 && len(id.Interfaces) == 0 {
			at(fmt.Sprintf("spec.identity.names[%d].ipv6", i), fmt.Sprintf("the record AAAA of %s leads nowhere", n.Name), "an IPv6 address is one of an interface, and there is none", "add the interface to spec.identity.interfaces")
		}
	}
}

// ec2LUNRules checks a LUN of an instance of EC2, which its guest logs in to by itself.
func ec2LUNRules(v fleet.Volume, path string, at reporter) {
	if v.Mount == nil {
		at(path, fmt.Sprintf("nobody would log in to the LUN of volume %q", v.Name), "on EC2 the guest agent does, for the volumes that it mounts", "add mount: {path: …, type: …}")
	}
	if v.Device != "" {
		at(path+".device", fmt.Sprintf("volume %q has a device", v.Name), "EC2 attaches no LUN; the guest finds it by its login", "remove the line")
	}
	if v.ForceDetach != nil {
		at(path+".forceDetach", fmt.Sprintf("the LUN of volume %q is never taken by force", v.Name), "its array shuts the old epoch out, and shows that it has", "remove forceDetach")
	}
}

// launchRules checks that an instance can be made at all.
func launchRules(t fleet.EC2Template, at reporter) {
	l := t.Launch
	if l == nil {
		l = &fleet.EC2Launch{}
	}
	switch {
	case t.LaunchTemplate != "" && t.Version == 0:
		at("spec.template.ec2.version", "the launch template has no version", "one that moves would make another server in the middle of a recovery", "write its number")
	case t.LaunchTemplate == "" && t.Version != 0:
		at("spec.template.ec2.version", "there is a version of no launch template", "it would mean nothing", "add launchTemplate, or remove the line")
	case t.LaunchTemplate == "" && (l.Image == "" || l.Type == ""):
		at("spec.template.ec2", "nothing says what to launch", "EC2 needs an image and a type, of a launch template or of `launch`", "add launchTemplate and version, or launch.image and launch.type; try: relight import aws i-…")
	}
	if p := l.Place; p != nil && p.Tenancy != fleet.TenancyHost && (p.Host != "" || p.HostGroup != "" || p.Pinned) {
		at("spec.template.ec2.launch.place.tenancy", "a dedicated host needs tenancy host", "EC2 refuses the launch otherwise", "write tenancy: host")
	}
	if l.Root != nil && l.Root.Key != "" && !l.Root.Encrypted {
		at("spec.template.ec2.launch.root.encrypted", "the root disk has a key and is not encrypted", "EC2 refuses the launch", "write encrypted: true")
	}
}
