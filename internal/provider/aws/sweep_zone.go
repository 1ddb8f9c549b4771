package aws

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"relight/internal/core/fleet"
)

// zonesListedFor is how long the list of the region's zones counts. A zone that is opened
// in between is asked as soon as an instance is seen there, or a document names it.
const zonesListedFor = 10 * time.Minute

// zonesAskedAgain is when a list that could not be had is asked for again.
const zonesAskedAgain = time.Minute

// whereabouts are what was seen last of an instance: whose it is, where it is, and whether
// it has ended.
type whereabouts struct {
	server, zone string
	over         bool
}

// readMachines reads the instances, those of few servers by name and all others zone by
// zone: a zone whose calls fail, or one page of them, hides no other.
func (p *Provider) readMachines(ctx context.Context, s *swept, servers []fleet.Server) ([]Machine, error) {
	zones := p.listZones(ctx, s.at, servers)
	var (
		all []Machine
		err error
	)
	switch {
	case s.few:
		names := make([]string, 0, len(servers))
		for _, server := range servers {
			names = append(names, server.Name)
		}
		if all, err = p.readNamed(ctx, "", names); err != nil && len(zones) > 1 && ctx.Err() == nil && !Limited(err) {
			all, err = p.readZoned(ctx, s, zones, names)
		}
	case len(zones) > 0:
		all, err = p.readZoned(ctx, s, zones, nil)
	default:
		all, err = p.opt.Cloud.Instances(ctx, "", nil)
	}
	if err != nil {
		return nil, err
	}
	for _, m := range all {
		name := m.Tags[TagServer]
		s.machines[name] = append(s.machines[name], m)
		s.ids[m.ID] = whereabouts{name, m.Zone, m.state() == fleet.InstanceTerminated}
		s.epochs[m.ID] = epochOf(m)
	}
	return all, nil
}

// readNamed reads the instances of servers by their names, in one zone or in all.
func (p *Provider) readNamed(ctx context.Context, zone string, names []string) ([]Machine, error) {
	var all []Machine
	parts := slices.Collect(slices.Chunk(names, atOnce))
	for _, got := range together(len(parts), func(n int) ([]Machine, error) { return p.opt.Cloud.Instances(ctx, zone, parts[n]) }) {
		if got.err != nil {
			return nil, got.err
		}
		all = append(all, got.value...)
	}
	return all, nil
}

// readZoned reads the instances of each zone, all or those of the named servers, and notes
// the zones that could not be read. It is an error if none could.
func (p *Provider) readZoned(ctx context.Context, s *swept, zones, names []string) ([]Machine, error) {
	var (
		parts [][]Machine
		last  error
	)
	for n, got := range together(len(zones), func(n int) ([]Machine, error) {
		if names == nil {
			return p.opt.Cloud.Instances(ctx, zones[n], nil)
		}
		return p.readNamed(ctx, zones[n], names)
	}) {
		if got.err != nil {
			s.dark[zones[n]], last = got.err.Error(), got.err
			continue
		}
		s.read = append(s.read, zones[n])
		parts = append(parts, got.value)
	}
	if len(s.dark) == len(zones) {
		return nil, last
	}
	return slices.Concat(parts...), nil
}

// listZones are the zones that instances of ours may be in: those of the region, those
// that one was seen in, and those that the servers' documents name. None if EC2 has not
// told yet: then there may be one that nobody has heard of.
func (p *Provider) listZones(ctx context.Context, now time.Time, servers []fleet.Server) []string {
	p.mu.Lock()
	listed, due := p.zones.listed, !now.Before(p.zones.listNext)
	p.mu.Unlock()
	if due {
		said, err := p.opt.Cloud.Zones(ctx)
		next := now.Add(zonesAskedAgain)
		if err == nil && len(said) > 0 {
			listed, next = slices.Collect(maps.Keys(said)), now.Add(zonesListedFor)
		}
		p.mu.Lock()
		p.zones.listed, p.zones.listNext = listed, next
		p.mu.Unlock()
	}
	if listed == nil {
		return nil
	}
	zones := map[string]bool{}
	add := func(all ...string) {
		for _, zone := range all {
			zones[zone] = true
		}
	}
	add(listed...)
	for _, server := range servers {
		add(placesOf(server)...)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, w := range p.seen { // order: they are sorted below
		add(w.zone)
	}
	delete(zones, "")
	return slices.Sorted(maps.Keys(zones))
}

// placesOf are the zones that a server's document or its status names.
func placesOf(s fleet.Server) []string {
	var out []string
	if s.Away != nil && s.Away.Outpost == "" {
		out = append(out, s.Away.Zone)
	}
	if t := s.Spec.Template.EC2; t != nil && t.Elsewhere != nil {
		for _, z := range t.Elsewhere.Zones {
			out = append(out, z.Zone)
		}
	}
	return out
}

// shade is how much of a server could be seen where some zones are dark.
type shade int

const (
	// clearSight: nothing of it is in a dark zone.
	clearSight shade = iota
	// partialSight: something of it may be in one, beside what was seen.
	partialSight
	// unseenSight: what matters of it may be in one. It keeps its older facts.
	unseenSight
)

// shadeOf says how much of a server's sight the dark zones take. What was last seen in
// one is still there, and where a zone was never read anything may be: that nothing is
// seen of a server never means that it is gone (S4). The caller holds the lock.
func (p *Provider) shadeOf(s *swept, server fleet.Server) shade {
	if len(s.dark) == 0 {
		return clearSight
	}
	seen := s.machines[server.Name]
	if s.hidden[server.Name] {
		return unseenSight
	}
	for zone := range s.dark { // order: one is enough
		if len(seen) == 0 && !p.zones.read[zone] {
			return unseenSight
		}
	}
	live := slices.ContainsFunc(seen, func(m Machine) bool { return m.state() != fleet.InstanceTerminated })
	goes := slices.ContainsFunc(placesOf(server), func(zone string) bool { _, dark := s.dark[zone]; return dark })
	if !live || goes || server.Away != nil {
		return partialSight
	}
	return clearSight
}

// hide notes the servers that have something in a dark zone, as far as was seen before.
func (p *Provider) hide(s *swept) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, zone := range s.read {
		p.zones.read[zone] = true
	}
	if len(s.dark) == 0 {
		return
	}
	for _, w := range p.seen { // order: each is noted by itself
		if _, dark := s.dark[w.zone]; dark && !w.over {
			s.hidden[w.server] = true
		}
	}
}

// visible are the servers that the sweep can say anything of.
func (p *Provider) visible(s *swept, servers []fleet.Server) []fleet.Server {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(s.dark) == 0 {
		return servers
	}
	return slices.DeleteFunc(slices.Clone(servers), func(server fleet.Server) bool { return p.shadeOf(s, server) == unseenSight })
}

// darkness says which zones could not be read, and why.
func (s *swept) darkness() string {
	var out []string
	for _, zone := range slices.Sorted(maps.Keys(s.dark)) {
		out = append(out, fmt.Sprintf("the instances in %s: %s", zone, s.dark[zone]))
	}
	return strings.Join(out, "; ")
}
