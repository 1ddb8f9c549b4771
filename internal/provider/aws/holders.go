package aws

import (
	"maps"
	"slices"

	"relight/internal/core/fleet"
)

// holders tells who has what of one server's identity.
type holders struct {
	s      *swept
	server string
	spec   fleet.Server
	o      *fleet.Observed
	// newest tells of a volume's snapshots.
	newest func(fleet.Volume) *fleet.Snapshot
}

func (s *swept) identity(server fleet.Server, o *fleet.Observed, newest func(fleet.Volume) *fleet.Snapshot) {
	h := holders{s: s, server: server.Name, spec: server, o: o, newest: newest}
	id := server.Spec.Identity
	for _, v := range id.Volumes {
		if v.LUN == nil {
			h.volume(v)
		}
	}
	for _, a := range id.Addresses {
		h.address(a)
	}
	for _, n := range id.Interfaces {
		h.iface(n)
	}
	for _, g := range id.Groups {
		h.group(g)
	}
	for _, n := range id.Names {
		h.name(n, id)
	}
}

// blind notes that a part could not be read, which makes the sight incomplete.
func (h holders) blind(part string) bool {
	_, blind := h.s.blind[part]
	h.o.Complete = h.o.Complete && !blind
	return blind
}

func (h holders) volume(v fleet.Volume) {
	seen, there := h.s.volumes[v.ID]
	if h.blind("volumes") || !there {
		return
	}
	state := fleet.VolumeState{Volume: v.Name, Epoch: seen.Epoch, Held: fleet.No, At: h.s.at, Snapshot: h.newest(v)}
	if seen.Holder != "" {
		state.Held, state.Holder, state.Host = fleet.Yes, h.s.epochs[seen.Holder], seen.Zone
		if h.s.checks[seen.Holder].Disk == "impaired" {
			state.Dead = fleet.Yes
		}
		if h.s.ids[seen.Holder].server != h.server {
			state.Holder = 0 // somebody else's instance has it
		}
		state.Epoch = max(state.Epoch, state.Holder)
	}
	h.o.Volumes = append(h.o.Volumes, state)
}

func (h holders) address(a fleet.Address) {
	seen, there := h.s.addresses[a.Allocation]
	to, known := destinationOf(h.spec, a)
	if !h.blind("addresses") && there && known && to.is(a, seen) && h.s.ids[seen.Holder].server == h.server {
		h.o.Addresses = append(h.o.Addresses, fleet.AddressState{IP: a.IP, Holder: h.s.epochs[seen.Holder], At: h.s.at})
	}
}

func (h holders) group(g fleet.Group) {
	part := "target group " + g.ID
	if h.blind(part) {
		return
	}
	places := map[string][]Target{} // of the server's instances; a group may have hundreds of others
	for _, t := range h.s.targets[g.ID] {
		if !t.Drains() && h.s.ids[t.ID].server == h.server {
			places[t.ID] = append(places[t.ID], t)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(places)) {
		// The newest has its place once it serves on each port; an older one on any is there.
		if h.s.epochs[id] < h.last() || len(lacking(h.spec, g.ID, id, places[id])) == 0 {
			h.other(part, fleet.Object{Group: g.ID}, id)
		}
	}
}

// last is the newest epoch of which the server has an instance.
func (h holders) last() (e fleet.Epoch) {
	for _, m := range h.s.machines[h.server] {
		e = max(e, epochOf(m))
	}
	return e
}

func (h holders) name(n fleet.DNSName, id fleet.Identity) {
	part := "names in " + n.Zone
	if h.blind(part) {
		return
	}
	leads := h.s.records[undotted(n.Name)].Value
	if n.IPv6 && !h.leads6(n, id) {
		return
	}
	for _, a := range id.Addresses {
		if leads == a.IP {
			h.other(part, fleet.Object{Name: n.Name}, h.s.addresses[a.Allocation].Holder)
		}
	}
	if first := named(id); len(id.Addresses) == 0 && first != nil {
		if seen := h.s.ifaces[first.ID]; len(seen.Addresses) > 0 && leads == seen.Addresses[0] {
			h.other(part, fleet.Object{Name: n.Name}, seen.Holder)
		}
	}
}

// leads6 reports whether the AAAA record of a name leads to the server's first interface.
func (h holders) leads6(n fleet.DNSName, id fleet.Identity) bool {
	first := named(id)
	if first == nil {
		return false
	}
	six := family(h.s.ifaces[first.ID].Addresses, true)
	return len(six) > 0 && h.s.records[undotted(n.Name)].V6 == six[0]
}

// iface notes who has an interface. Where the server may have to do without its private
// addresses these are told as well, also if nobody has the interface: they are what a
// start in another zone gives up.
func (h holders) iface(n fleet.Interface) {
	seen, there := h.s.ifaces[n.ID]
	if h.blind("interfaces") || !there {
		return
	}
	o := fleet.ObjectState{Object: fleet.Object{Interface: n.Named()}, At: h.s.at}
	if seen.Holder != "" && h.s.ids[seen.Holder].server == h.server {
		o.Holder = h.s.epochs[seen.Holder]
	}
	if n.NewAddress && !h.well() {
		o.Addresses = seen.Addresses
	}
	if o.Holder != 0 || len(o.Addresses) > 0 {
		h.o.Others = append(h.o.Others, o)
	}
}

// well reports whether an instance of the server runs on hardware that passes its check.
func (h holders) well() bool {
	return slices.ContainsFunc(h.s.machines[h.server], func(m Machine) bool {
		return m.state() == fleet.InstanceRunning && h.s.checks[m.ID].System == "ok"
	})
}

// other notes what an instance of the server has.
func (h holders) other(part string, object fleet.Object, holder string) {
	if !h.blind(part) && holder != "" && h.s.ids[holder].server == h.server {
		h.o.Others = append(h.o.Others, fleet.ObjectState{Object: object, Holder: h.s.epochs[holder], At: h.s.at})
	}
}
