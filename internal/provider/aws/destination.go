package aws

import (
	"net/netip"
	"slices"

	"relight/internal/core/fleet"
)

// destination is where an elastic address is to lead: an interface, empty for the primary
// one of the instance, and one of its private addresses, empty for its primary one.
type destination struct{ iface, private string }

// destinationOf says where an elastic address of a server leads, where the server is now:
// away an interface has another one in its place, with as many private addresses, and the
// address leads to the one at the same place. It is not known if nothing tells that place.
func destinationOf(s fleet.Server, a fleet.Address) (destination, bool) {
	n := slices.IndexFunc(s.Spec.Identity.Interfaces, func(n fleet.Interface) bool { return n.Named() == a.Interface })
	if a.Interface == "" || n < 0 {
		return destination{}, true
	}
	own := s.Spec.Identity.Interfaces[n]
	if own.Instead == "" || a.Private == "" {
		return destination{own.ID, a.Private}, true
	}
	for _, swap := range s.Away.Interfaces {
		if swap.Declared != own.Instead {
			continue
		}
		for _, list := range [][]string{own.Addresses, swap.Was} {
			now := family(swap.Now, false)
			if at := slices.Index(family(list, false), a.Private); at >= 0 && at < len(now) {
				return destination{own.ID, now[at]}, true
			}
		}
	}
	return destination{}, false
}

// is reports whether an address is seen to lead there. One that the spec leads to the
// primary interface may lead to any of the instance that has it, as it was left.
func (d destination) is(a fleet.Address, seen Address) bool {
	return a.Interface == "" || seen.Interface == d.iface && (d.private == "" || seen.Private == d.private)
}

// family are the addresses of a list that are of IPv6, or those that are not.
func family(list []string, six bool) []string {
	return slices.DeleteFunc(slices.Clone(list), func(text string) bool {
		ip, err := netip.ParseAddr(text)
		return (err == nil && ip.Is6()) != six
	})
}
