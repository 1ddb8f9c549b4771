package aws

import "relight/internal/core/fleet"

// holders tells who has what of one server's identity.
type holders struct {
	s      *swept
	server string
	o      *fleet.Observed
	// newest tells of a volume's snapshots.
	newest func(fleet.Volume) *fleet.Snapshot
}

func (s *swept) identity(server fleet.Server, o *fleet.Observed, newest func(fleet.Volume) *fleet.Snapshot) {
	h := holders{s: s, server: server.Name, o: o, newest: newest}
	id := server.Spec.Identity
	for _, v := range id.Volumes {
		h.volume(v)
	}
	for _, a := range id.Addresses {
		h.address(a)
	}
	for _, n := range id.Interfaces {
		h.other("interfaces", fleet.Object{Interface: n.ID}, s.ifaces[n.ID].Holder)
	}
	for _, g := range id.Groups {
		h.group(g)
	}
	for _, n := range id.Names {
		h.name(n, id.Addresses)
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
		if h.s.ids[seen.Holder] != h.server {
			state.Holder = 0 // somebody else's instance has it
		}
		state.Epoch = max(state.Epoch, state.Holder)
	}
	h.o.Volumes = append(h.o.Volumes, state)
}

func (h holders) address(a fleet.Address) {
	seen, there := h.s.addresses[a.Allocation]
	if !h.blind("addresses") && there && h.s.ids[seen.Holder] == h.server {
		h.o.Addresses = append(h.o.Addresses, fleet.AddressState{IP: a.IP, Holder: h.s.epochs[seen.Holder], At: h.s.at})
	}
}

func (h holders) group(g fleet.Group) {
	part := "target group " + g.ID
	if h.blind(part) {
		return
	}
	for _, t := range h.s.targets[g.ID] {
		if t.Health != "draining" {
			h.other(part, fleet.Object{Group: g.ID}, t.ID)
		}
	}
}

func (h holders) name(n fleet.DNSName, addresses []fleet.Address) {
	part := "names in " + n.Zone
	if h.blind(part) {
		return
	}
	for _, a := range addresses {
		if h.s.records[undotted(n.Name)] == a.IP {
			h.other(part, fleet.Object{Name: n.Name}, h.s.addresses[a.Allocation].Holder)
		}
	}
}

// other notes what an instance of the server has.
func (h holders) other(part string, object fleet.Object, holder string) {
	if !h.blind(part) && holder != "" && h.s.ids[holder] == h.server {
		h.o.Others = append(h.o.Others, fleet.ObjectState{Object: object, Holder: h.s.epochs[holder], At: h.s.at})
	}
}
