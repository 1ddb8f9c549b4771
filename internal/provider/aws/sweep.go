package aws

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"relight/internal/core/fleet"
	"relight/internal/provider"
)

// swept is what one sweep read of the account, by what it is asked for with.
type swept struct {
	// at is when the sweep began: nothing that it tells is older.
	at        time.Time
	machines  map[string][]Machine // by server
	ids       map[string]whereabouts
	epochs    map[string]fleet.Epoch
	checks    map[string]Check
	volumes   map[string]Volume
	ifaces    map[string]Interface
	addresses map[string]Address
	targets   map[string][]Target
	records   map[string]Record
	// zones are those of which something is known.
	zones map[string]fleet.ZoneState
	// blind are the parts that could not be read, in words; a sight that needs one
	// of them is incomplete.
	blind map[string]string
	// dark are the zones whose instances could not be read, and why, read the others, and
	// hidden the servers that were last seen in a dark one.
	dark   map[string]string
	read   []string
	hidden map[string]bool
	// few is true if some servers were asked for by name.
	few bool
}

// Observe implements provider.Provider. One sweep costs a call per thousand
// instances of a zone, and as many for their checks, however many servers there are. If
// no zone's instances can be read, nothing was seen; of a zone that cannot be read the
// servers are left out, and what else fails makes sights incomplete.
func (p *Provider) Observe(ctx context.Context, servers []fleet.Server) (provider.Sweep, error) {
	servers = located(servers)
	s := &swept{
		at: p.opt.Now(), machines: map[string][]Machine{}, ids: map[string]whereabouts{}, epochs: map[string]fleet.Epoch{},
		checks: map[string]Check{}, volumes: map[string]Volume{}, ifaces: map[string]Interface{}, addresses: map[string]Address{},
		targets: map[string][]Target{}, records: map[string]Record{}, blind: map[string]string{},
		dark: map[string]string{}, hidden: map[string]bool{}, few: p.few(len(servers)),
	}
	all, err := p.readMachines(ctx, s, servers)
	if err != nil {
		return provider.Sweep{}, fmt.Errorf("sweep of EC2 in %s: %w", p.opt.Region, err)
	}
	p.hide(s)
	asked := servers
	servers = p.visible(s, servers)
	p.readChecks(ctx, s, all)
	p.readIdentity(ctx, s, servers)
	p.readSnapshots(ctx, s, servers)
	p.readZones(ctx, s, all)
	p.opt.Arrays.Look(ctx, servers, arrayWait)
	out := provider.Sweep{At: s.at, Blind: s.darkness(), Servers: make([]provider.ServerSight, 0, len(servers))}
	p.mu.Lock()
	defer p.mu.Unlock()
	lag := p.opt.Now().Sub(s.at)
	for _, server := range servers {
		sight := p.sight(s, server)
		sight.Observed.Complete = sight.Observed.Complete && p.shadeOf(s, server) == clearSight
		if lag >= longSweep {
			sight.Observed.Lag = fleet.Duration(lag)
		}
		out.Servers = append(out.Servers, sight)
	}
	p.forget(s, asked)
	p.remember(s, asked)
	if !s.few {
		p.size = len(p.seen)
	}
	return out, nil
}

// longSweep is from when on the length of a sweep is told with it.
const longSweep = time.Second

// few reports whether it takes fewer calls to ask for so many servers by name than to
// read all: one call names 200 of them, and lists a thousand.
func (p *Provider) few(servers int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return servers <= atOnce || servers*5 < p.size
}

// readChecks reads the status checks zone by zone, so that a zone whose API fails
// hides no other.
func (p *Provider) readChecks(ctx context.Context, s *swept, all []Machine) {
	running := map[string][]string{}
	for _, m := range all {
		if m.state() == fleet.InstanceRunning {
			running[m.Zone] = append(running[m.Zone], m.ID)
		}
	}
	zones := slices.Sorted(maps.Keys(running))
	for n, got := range together(len(zones), func(n int) ([]Check, error) {
		ids := running[zones[n]]
		if !s.few {
			ids = nil
		}
		list, err := p.opt.Cloud.Checks(ctx, zones[n], ids)
		if isCode(err, "InvalidInstanceID.NotFound") {
			// One of them has ended meanwhile, which fails the whole call.
			list, err = p.opt.Cloud.Checks(ctx, zones[n], nil)
		}
		return list, err
	}) {
		if got.err != nil {
			s.blind["checks in "+zones[n]] = got.err.Error()
			continue
		}
		for _, c := range got.value {
			s.checks[c.ID] = c
		}
	}
}

// asked are the parts of identities that a sweep must read.
type asked struct {
	volumes, ifaces, addresses, groups []string
	names                              map[string][]string // by zone
}

// readIdentity reads what the servers' identities are made of, many at once. In a
// sweep of everything, what an instance has is known from itself, so that only what
// none has is asked for: a fleet in order costs no call here.
func (p *Provider) readIdentity(ctx context.Context, s *swept, servers []fleet.Server) {
	ask := asked{names: map[string][]string{}}
	public := map[string]string{}
	if !s.few || len(s.dark) > 0 { // a zone that is dark may have calls about all fail
		public = s.held()
	}
	for _, server := range servers {
		ask.add(s, server.Spec.Identity, public)
	}
	read(s, "volumes", ask.volumes, s.volumes, func(v Volume) string { return v.ID }, func(ids []string) ([]Volume, error) { return p.opt.Cloud.Volumes(ctx, ids) })
	read(s, "interfaces", ask.ifaces, s.ifaces, func(n Interface) string { return n.ID }, func(ids []string) ([]Interface, error) { return p.opt.Cloud.Interfaces(ctx, ids) })
	read(s, "addresses", ask.addresses, s.addresses, func(a Address) string { return a.Allocation }, func(ids []string) ([]Address, error) { return p.opt.Cloud.Addresses(ctx, ids) })
	slices.Sort(ask.groups)
	groups := slices.Compact(ask.groups)
	for n, got := range together(len(groups), func(n int) ([]Target, error) { return p.opt.Cloud.Targets(ctx, groups[n]) }) {
		if got.err != nil {
			s.blind["target group "+groups[n]] = got.err.Error()
			continue
		}
		s.targets[groups[n]] = got.value
	}
	zones := slices.Sorted(maps.Keys(ask.names))
	for n, got := range together(len(zones), func(n int) (map[string]Record, error) { return p.opt.Cloud.Records(ctx, zones[n], ask.names[zones[n]]) }) {
		if got.err != nil {
			s.blind["names in "+zones[n]] = got.err.Error()
			continue
		}
		maps.Copy(s.records, got.value)
	}
}

// held notes what the instances say that they have, and returns who has which
// elastic address.
func (s *swept) held() map[string]string {
	public := map[string]string{}
	for _, machines := range s.machines { // order: each object is with one of them
		for _, m := range machines {
			for _, d := range m.Devices {
				s.volumes[d.Volume] = Volume{ID: d.Volume, Zone: m.Zone, Holder: m.ID}
			}
			for _, n := range m.Interfaces {
				s.ifaces[n] = Interface{ID: n, Holder: m.ID, Addresses: m.Private[n]}
			}
			for _, ip := range m.Public {
				public[ip] = m.ID
			}
		}
	}
	return public
}

func (a *asked) add(s *swept, id fleet.Identity, public map[string]string) {
	for _, v := range id.Volumes {
		if v.LUN != nil {
			continue
		}
		if _, known := s.volumes[v.ID]; !known {
			a.volumes = append(a.volumes, v.ID)
		}
	}
	for _, n := range id.Interfaces {
		if _, known := s.ifaces[n.ID]; !known {
			a.ifaces = append(a.ifaces, n.ID)
		}
	}
	for _, e := range id.Addresses {
		if holder, known := public[e.IP]; known {
			s.addresses[e.Allocation] = Address{Allocation: e.Allocation, IP: e.IP, Holder: holder}
			continue
		}
		a.addresses = append(a.addresses, e.Allocation)
	}
	for _, g := range id.Groups {
		a.groups = append(a.groups, g.ID)
	}
	for _, n := range id.Names {
		a.names[n.Zone] = append(a.names[n.Zone], n.Name)
	}
}

// read asks for many objects, some at a time.
func read[T any](s *swept, what string, ids []string, into map[string]T, key func(T) string, ask func([]string) ([]T, error)) {
	slices.Sort(ids)
	ids = slices.DeleteFunc(slices.Compact(ids), func(id string) bool { return id == "" })
	parts := slices.Collect(slices.Chunk(ids, atOnce))
	for _, got := range together(len(parts), func(n int) ([]T, error) { return ask(parts[n]) }) {
		if got.err != nil {
			s.blind[what] = got.err.Error()
			continue
		}
		for _, o := range got.value {
			into[key(o)] = o
		}
	}
}

// undotted is a DNS name as records are kept by.
func undotted(name string) string { return strings.TrimSuffix(name, ".") }
