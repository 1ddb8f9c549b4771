package spec

import (
	"fmt"

	"relight/internal/core/fleet"
)

// ec2Rules checks what only a server on EC2 can have, and what it cannot.
func ec2Rules(s fleet.ServerSpec, at reporter) {
	id := s.Identity
	if s.Template.EC2 == nil {
		for _, other := range []struct {
			what string
			n    int
		}{{"interfaces", len(id.Interfaces)}, {"groups", len(id.Groups)}, {"names", len(id.Names)}} {
			if other.n > 0 && s.Template != (fleet.Template{}) { // a missing one is told elsewhere
				at("spec.identity."+other.what, "only a server on EC2 has "+other.what, "no other provider moves them", "remove them, or use template.ec2")
			}
		}
		return
	}
	for i, v := range id.Volumes {
		if v.ID == "" {
			at(fmt.Sprintf("spec.identity.volumes[%d]", i), fmt.Sprintf("volume %q is no volume of EC2", v.Name), "an instance of EC2 attaches volumes by their id", "give it the id of the volume (vol-…)")
		}
	}
	for i, a := range id.Addresses {
		if a.Allocation == "" {
			at(fmt.Sprintf("spec.identity.addresses[%d]", i), fmt.Sprintf("address %s has no allocation", a.IP), "EC2 moves elastic addresses by their allocation; private ones move with their interface", "add allocation: eipalloc-…, or put the interface that has it into spec.identity.interfaces")
		}
	}
	indexes := map[int]string{}
	for i, n := range id.Interfaces {
		if first, twice := indexes[n.Index]; twice {
			at(fmt.Sprintf("spec.identity.interfaces[%d].index", i), fmt.Sprintf("interface %s has index %d, as %s has", n.ID, n.Index, first), "an instance has one interface at each index; without a line it is 0", "give each its own index")
		}
		indexes[n.Index] = n.ID
	}
	if len(id.Names) > 0 && len(id.Addresses) == 0 {
		at("spec.identity.names", "the names lead nowhere", "a name leads to the first of spec.identity.addresses, and there is none", "add the address")
	}
}
