package aws

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"relight/internal/core/fleet"
	"relight/internal/provider"
)

// swept is what one sweep read of the account, by what it is asked for with.
type swept struct {
	at        time.Time
	machines  map[string][]Machine // by server
	ids       map[string]string    // instance to server
	epochs    map[string]fleet.Epoch
	checks    map[string]Check
	volumes   map[string]Volume
	ifaces    map[string]Interface
	addresses map[string]Address
	targets   map[string][]Target
	records   map[string]string
	// blind are the parts that could not be read, in words; a sight that needs one
	// of them is incomplete.
	blind map[string]string
}

// Observe implements provider.Provider. One sweep costs a call per thousand
// instances, and as many for their checks, however many servers there are. If the
// instances cannot be read, nothing was seen; what else fails makes sights incomplete.
func (p *Provider) Observe(ctx context.Context, servers []fleet.Server) (provider.Sweep, error) {
	var names []string
	if len(servers) <= fewServers {
		for _, s := range servers {
			names = append(names, s.Name)
		}
	}
	all, err := p.opt.Cloud.Instances(ctx, names)
	if err != nil {
		return provider.Sweep{}, fmt.Errorf("sweep of EC2 in %s: %w", p.opt.Region, err)
	}
	s := &swept{
		at: p.opt.Now(), machines: map[string][]Machine{}, ids: map[string]string{}, epochs: map[string]fleet.Epoch{},
		checks: map[string]Check{}, volumes: map[string]Volume{}, ifaces: map[string]Interface{}, addresses: map[string]Address{},
		targets: map[string][]Target{}, records: map[string]string{}, blind: map[string]string{},
	}
	for _, m := range all {
		name := m.Tags[TagServer]
		s.machines[name] = append(s.machines[name], m)
		s.ids[m.ID], s.epochs[m.ID] = name, epochOf(m)
	}
	p.readChecks(ctx, s, all)
	p.readIdentity(ctx, s, servers)
	out := provider.Sweep{At: s.at}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, server := range servers {
		out.Servers = append(out.Servers, p.sight(s, server))
	}
	p.forget(s)
	return out, nil
}

// fewServers is up to how many servers a sweep asks for by name; EC2 takes 200
// values in a filter.
const fewServers = 100

// readChecks reads the status checks zone by zone, so that a zone whose API fails
// hides no other.
func (p *Provider) readChecks(ctx context.Context, s *swept, all []Machine) {
	var zones []string
	for _, m := range all {
		if m.state() != fleet.InstanceTerminated && !slices.Contains(zones, m.Zone) {
			zones = append(zones, m.Zone)
		}
	}
	slices.Sort(zones)
	for _, zone := range zones {
		list, err := p.opt.Cloud.Checks(ctx, zone)
		if err != nil {
			s.blind["checks in "+zone] = err.Error()
			continue
		}
		for _, c := range list {
			s.checks[c.ID] = c
		}
	}
}

// readIdentity reads what the servers' identities are made of, many at once.
func (p *Provider) readIdentity(ctx context.Context, s *swept, servers []fleet.Server) {
	var volumes, ifaces, addresses, groups []string
	for _, server := range servers {
		id := server.Spec.Identity
		for _, v := range id.Volumes {
			volumes = append(volumes, v.ID)
		}
		for _, n := range id.Interfaces {
			ifaces = append(ifaces, n.ID)
		}
		for _, a := range id.Addresses {
			addresses = append(addresses, a.Allocation)
		}
		for _, g := range id.Groups {
			if !slices.Contains(groups, g.ID) {
				groups = append(groups, g.ID)
			}
		}
	}
	read(s, "volumes", volumes, s.volumes, func(v Volume) string { return v.ID }, func(ids []string) ([]Volume, error) { return p.opt.Cloud.Volumes(ctx, ids) })
	read(s, "interfaces", ifaces, s.ifaces, func(n Interface) string { return n.ID }, func(ids []string) ([]Interface, error) { return p.opt.Cloud.Interfaces(ctx, ids) })
	read(s, "addresses", addresses, s.addresses, func(a Address) string { return a.Allocation }, func(ids []string) ([]Address, error) { return p.opt.Cloud.Addresses(ctx, ids) })
	for _, g := range groups {
		targets, err := p.opt.Cloud.Targets(ctx, g)
		if err != nil {
			s.blind["target group "+g] = err.Error()
			continue
		}
		s.targets[g] = targets
	}
	for _, server := range servers {
		for _, n := range server.Spec.Identity.Names {
			value, err := p.opt.Cloud.Record(ctx, n.Zone, n.Name)
			if err != nil {
				s.blind["name "+n.Name] = err.Error()
				continue
			}
			s.records[n.Name] = value
		}
	}
}

// atOnce is how many objects one describe call names.
const atOnce = 200

// read asks for many objects, some at a time.
func read[T any](s *swept, what string, ids []string, into map[string]T, key func(T) string, ask func([]string) ([]T, error)) {
	slices.Sort(ids)
	ids = slices.DeleteFunc(slices.Compact(ids), func(id string) bool { return id == "" })
	for part := range slices.Chunk(ids, atOnce) {
		list, err := ask(part)
		if err != nil {
			s.blind[what] = err.Error()
			continue
		}
		for _, o := range list {
			into[key(o)] = o
		}
	}
}

// sight is what the sweep tells of one server.
func (p *Provider) sight(s *swept, server fleet.Server) provider.ServerSight {
	sight := provider.ServerSight{Observed: fleet.Observed{Server: server.Name, At: s.at, Complete: true}}
	machines := s.machines[server.Name]
	slices.SortFunc(machines, func(a, b Machine) int { return cmp.Or(cmp.Compare(epochOf(a), epochOf(b)), cmp.Compare(a.ID, b.ID)) })
	for _, m := range machines {
		in := p.instance(s, server.Name, m)
		if why, blind := s.blind["checks in "+m.Zone]; blind && in.State == fleet.InstanceRunning {
			sight.Observed.Complete = false
			in.Detail += "; its status checks could not be read: " + why
		}
		sight.Observed.Instances = append(sight.Observed.Instances, in)
		sight.Signals = append(sight.Signals, p.signals(s, server, m, in)...)
	}
	p.identity(s, server, &sight.Observed)
	return sight
}

func (p *Provider) instance(s *swept, server string, m Machine) fleet.Instance {
	e := epochOf(m)
	in := fleet.Instance{Server: server, Epoch: e, Host: m.Zone, State: m.state(), At: s.at, Detail: strings.TrimSpace(m.ID + " " + m.Reason)}
	in.Since = p.sinceOf(m.ID+"/state", m.State, s.at)
	return in
}

// sinceOf returns since when something is said, as far as this provider has seen.
func (p *Provider) sinceOf(what, said string, now time.Time) time.Time {
	old, known := p.since[what]
	if known && old.said == said {
		return old.at
	}
	p.since[what] = sighting{said, now}
	return now
}

// forget drops what was remembered of instances that EC2 tells of no more.
func (p *Provider) forget(s *swept) {
	for what := range p.since {
		id, _, _ := strings.Cut(what, "/")
		if _, told := s.ids[id]; !told {
			delete(p.since, what)
		}
	}
}

// identity tells who has what.
func (p *Provider) identity(s *swept, server fleet.Server, o *fleet.Observed) {
	incomplete := func(part string) bool {
		_, blind := s.blind[part]
		o.Complete = o.Complete && !blind
		return blind
	}
	for _, v := range server.Spec.Identity.Volumes {
		seen, there := s.volumes[v.ID]
		if incomplete("volumes") || !there {
			continue
		}
		state := fleet.VolumeState{Volume: v.Name, Epoch: seen.Epoch, Held: fleet.No, At: s.at}
		if seen.Holder != "" {
			state.Held, state.Holder, state.Host = fleet.Yes, s.epochs[seen.Holder], seen.Zone
			if s.checks[seen.Holder].Disk == "impaired" {
				state.Dead = fleet.Yes
			}
			if s.ids[seen.Holder] != server.Name {
				state.Holder = 0 // somebody else's instance has it
			}
			state.Epoch = max(state.Epoch, state.Holder)
		}
		o.Volumes = append(o.Volumes, state)
	}
	for _, a := range server.Spec.Identity.Addresses {
		if seen, there := s.addresses[a.Allocation]; !incomplete("addresses") && there && s.ids[seen.Holder] == server.Name {
			o.Addresses = append(o.Addresses, fleet.AddressState{IP: a.IP, Holder: s.epochs[seen.Holder], At: s.at})
		}
	}
	other := func(part string, object fleet.Object, holder string) {
		if !incomplete(part) && holder != "" && s.ids[holder] == server.Name {
			o.Others = append(o.Others, fleet.ObjectState{Object: object, Holder: s.epochs[holder], At: s.at})
		}
	}
	for _, n := range server.Spec.Identity.Interfaces {
		other("interfaces", fleet.Object{Interface: n.ID}, s.ifaces[n.ID].Holder)
	}
	for _, g := range server.Spec.Identity.Groups {
		for _, t := range s.targets[g.ID] {
			if t.Health != "draining" {
				other("target group "+g.ID, fleet.Object{Group: g.ID}, t.ID)
			}
		}
	}
	for _, n := range server.Spec.Identity.Names {
		for _, a := range server.Spec.Identity.Addresses {
			if s.records[n.Name] == a.IP {
				other("name "+n.Name, fleet.Object{Name: n.Name}, s.addresses[a.Allocation].Holder)
			}
		}
	}
}
