package aws

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"relight/internal/core/fleet"
	"relight/internal/provider"
)

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
	}
	for n, in := range sight.Observed.Instances {
		if !sight.Observed.Outlived(in) {
			sight.Signals = withBest(sight.Signals, p.signals(s, server, machines[n], in))
			if in.State == fleet.InstanceRunning { // EC2 announces nothing else of interest
				sight.Observed.Scheduled = append(sight.Observed.Scheduled, s.checks[machines[n].ID].Scheduled...)
			}
		}
	}
	s.identity(server, &sight.Observed, p.snapshot)
	p.opt.Arrays.Show(&server, &sight.Observed)
	sight.Observed.Zone = s.zoneOf(server, machines)
	return sight
}

// withBest adds what is said of one more instance. Where another carries the same epoch,
// that what speaks for life stays: nothing is ended for what ails one of them, for nobody
// knows which is the server.
func withBest(said, more []fleet.Signal) []fleet.Signal {
	better := func(a, than fleet.Answer) bool {
		return a == fleet.Yes && than != fleet.Yes || a == fleet.CannotTell && than == fleet.No
	}
	for _, s := range more {
		n := slices.IndexFunc(said, func(o fleet.Signal) bool {
			return o.Epoch == s.Epoch && o.Source == s.Source && o.Question == s.Question
		})
		switch {
		case n < 0:
			said = append(said, s)
		case better(s.Answer, said[n].Answer):
			said[n] = s
		}
	}
	return said
}

func (p *Provider) instance(s *swept, server string, m Machine) fleet.Instance {
	e := epochOf(m)
	in := fleet.Instance{Server: server, Epoch: e, Host: m.Zone, State: m.state(), At: s.at, Detail: strings.TrimSpace(m.ID + " " + m.Reason)}
	in.Since = p.sinceOf(m, "state", m.State, s.at)
	return in
}

// sinceOf returns since when something is said of an instance, as far as this provider
// has seen.
func (p *Provider) sinceOf(m Machine, what, said string, now time.Time) time.Time {
	key := m.ID + "/" + what
	old, known := p.since[key]
	if known && old.said == said {
		return old.at
	}
	p.since[key] = sighting{m.Tags[TagServer], said, now}
	return now
}

// forget drops what was remembered of instances that EC2 tells of no more. A look at
// some servers says nothing of the instances of others, and where everything is swept
// as well it leaves the search to that.
func (p *Provider) forget(s *swept, servers []fleet.Server) {
	if s.few && p.size > 0 {
		return
	}
	looked := map[string]bool{}
	for _, server := range servers {
		looked[server.Name] = true
	}
	for what, old := range p.since { // order: each is looked at alone
		id, _, _ := strings.Cut(what, "/")
		if _, told := s.ids[id]; !told && (looked[old.server] || !s.few) && !p.inDark(s, id) {
			delete(p.since, what)
		}
	}
}

// inDark reports whether an instance was last seen in a zone that could not be read now.
func (p *Provider) inDark(s *swept, id string) bool {
	_, dark := s.dark[p.seen[id].zone]
	return dark
}

// remember keeps whose instances were seen and where: for events that name them, and for
// what to think of a zone that cannot be read.
func (p *Provider) remember(s *swept, servers []fleet.Server) {
	if !s.few {
		for id, w := range p.seen { // order: each is kept by itself
			if _, told := s.ids[id]; !told && p.inDark(s, id) {
				s.ids[id] = w
			}
		}
		p.seen = s.ids
		return
	}
	looked := map[string]bool{}
	for _, server := range servers {
		looked[server.Name] = true
	}
	if p.size == 0 {
		maps.DeleteFunc(p.seen, func(id string, w whereabouts) bool {
			_, told := s.ids[id]
			return !told && looked[w.server] && !p.inDark(s, id)
		})
	}
	maps.Copy(p.seen, s.ids)
}
