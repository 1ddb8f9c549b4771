package simulate

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"relight/internal/core/fleet"
	"relight/internal/spec"
)

// mirror is a world made of a user's documents.
type mirror struct {
	opt   WhatIfOptions
	set   spec.Set
	world Scenario
	// placing are the documents without anything that holds, so that all servers
	// can be placed; declared are the user's; approved are the user's in mode auto.
	placing, declared, approved string
	units                       int
	// homes are the hosts of the volumes that never leave one, by server; bound
	// tells of them.
	homes map[string]string
	bound []string
}

// zoneHosts is how many pieces of hardware each zone of a cloud has.
const zoneHosts = 3

var (
	errNoServers = errors.New("the documents declare no Server: there is nothing to lose")
	errNoHosts   = errors.New("the documents declare no Site of kind host: add one for each of your hosts, such as {kind: host, parent: rack-1}, so that they can be lost")
	errTwoWorlds = errors.New("some servers have volumes with a path and some with an id: a simulated world is either of hosts or of a cloud, so ask for them apart")
)

func newMirror(files []spec.File, opt WhatIfOptions) (*mirror, error) {
	docs, err := spec.Parse(files...)
	if err != nil {
		return nil, err
	}
	set, err := spec.Resolve(docs, nil)
	if err != nil {
		return nil, err
	}
	if len(set.Servers) == 0 {
		return nil, errNoServers
	}
	m := &mirror{opt: opt, set: set, homes: map[string]string{}}
	m.world = Scenario{Seed: max(opt.Seed, 1), Style: Hosts, Controllers: 1, Delays: DefaultDelays()}
	if err := m.style(); err != nil {
		return nil, err
	}
	for _, s := range set.Servers {
		m.units += max(s.Spec.Placement.Units, 1)
	}
	if err := m.places(); err != nil {
		return nil, err
	}
	if m.placing, err = rewrite(docs, placing); err != nil {
		return nil, err
	}
	if m.declared, err = rewrite(docs, simulated); err != nil {
		return nil, err
	}
	m.approved, err = rewrite(docs, approved)
	return m, err
}

// style is hosts, unless the volumes are a cloud's.
func (m *mirror) style() error {
	paths, ids := 0, 0
	for _, s := range m.set.Servers {
		for _, v := range s.Spec.Identity.Volumes {
			if v.Reach == fleet.ReachZone {
				ids++
			} else {
				paths++
			}
		}
	}
	if paths > 0 && ids > 0 {
		return errTwoWorlds
	}
	if ids > 0 {
		m.world.Style = Cloud
	}
	return nil
}

// places makes sites and hosts.
func (m *mirror) places() error {
	units := m.units
	if m.opt.Units > 0 {
		units = m.opt.Units
	}
	for _, s := range m.set.Sites {
		switch {
		case s.Spec.Kind == fleet.SiteHost && m.world.Style == Hosts:
			m.world.Hosts = append(m.world.Hosts, Host{Name: s.Name, Parent: s.Spec.Parent, Units: units, Power: s.Spec.Power != nil})
			continue
		case s.Spec.Kind == fleet.SiteZone && m.world.Style == Cloud:
			for n := range zoneHosts {
				m.world.Hosts = append(m.world.Hosts, Host{Name: fmt.Sprintf("%s-hardware-%d", s.Name, n+1), Parent: s.Name, Units: units})
			}
		default: // it only holds others
		}
		m.world.Sites = append(m.world.Sites, Site{Name: s.Name, Kind: s.Spec.Kind, Parent: s.Spec.Parent})
	}
	if len(m.world.Hosts) == 0 && m.world.Style == Cloud {
		return errors.New("the documents declare no Site of kind zone for the volumes with an id")
	}
	if len(m.world.Hosts) == 0 {
		return errNoHosts
	}
	m.bind()
	return nil
}

// bind chooses a host for the volumes that exist on one only: in turn, among the
// hosts where their server may run.
func (m *mirror) bind() {
	turn := 0
	for _, s := range m.set.Servers {
		if !slices.ContainsFunc(s.Spec.Identity.Volumes, func(v fleet.Volume) bool { return v.Reach == fleet.ReachHost }) {
			continue
		}
		var may []string
		for _, h := range m.world.Hosts {
			if len(s.Spec.Placement.Sites) == 0 || slices.ContainsFunc(s.Spec.Placement.Sites, func(site string) bool { return m.within(h.Name, site) }) {
				may = append(may, h.Name)
			}
		}
		if len(may) == 0 {
			continue
		}
		m.homes[s.Name] = may[turn%len(may)]
		m.bound = append(m.bound, s.Name+" on "+m.homes[s.Name])
		turn++
	}
}

// within reports whether a host is the site, or lies in it.
func (m *mirror) within(host, site string) bool {
	parents := map[string]string{}
	for _, s := range m.world.Sites {
		parents[s.Name] = s.Parent
	}
	for _, h := range m.world.Hosts {
		parents[h.Name] = h.Parent
	}
	for at := host; at != ""; at = parents[at] {
		if at == site {
			return true
		}
	}
	return false
}

// hostsOf returns the hosts of the named hosts and sites, each once.
func (m *mirror) hostsOf(names []string) ([]string, error) {
	if len(names) == 0 {
		return nil, errors.New("nothing is lost: name a host or a site")
	}
	var known []string
	for _, s := range m.world.Sites {
		if slices.ContainsFunc(m.world.Hosts, func(h Host) bool { return m.within(h.Name, s.Name) }) {
			known = append(known, s.Name)
		}
	}
	for _, h := range m.world.Hosts {
		known = append(known, h.Name)
	}
	var out []string
	for _, name := range names {
		found := false
		for _, h := range m.world.Hosts {
			if m.within(h.Name, name) {
				found = true
				if !slices.Contains(out, h.Name) {
					out = append(out, h.Name)
				}
			}
		}
		if !found {
			return nil, &Unknown{Name: name, Near: spec.Nearest(name, known)}
		}
	}
	slices.Sort(out)
	return out, nil
}

// rewrite turns documents into those of the simulated world, and prints them.
func rewrite(docs []spec.Doc, change func(kind spec.Kind, name string, doc map[string]any)) (string, error) {
	var out strings.Builder
	policy := false
	for _, d := range docs {
		var tree map[string]any
		if err := json.Unmarshal(d.Raw, &tree); err != nil {
			return "", fmt.Errorf("%s: %w", d, err)
		}
		change(d.Kind, d.Name, inner(tree, "spec"))
		policy = policy || d.Kind == spec.KindPolicy && d.Name == spec.DefaultPolicy
		if err := printDoc(&out, tree); err != nil {
			return "", fmt.Errorf("%s: %w", d, err)
		}
	}
	if !policy {
		tree := map[string]any{
			"apiVersion": spec.APIVersion, "kind": spec.KindPolicy, "metadata": map[string]any{"name": spec.DefaultPolicy}, "spec": map[string]any{},
		}
		change(spec.KindPolicy, spec.DefaultPolicy, inner(tree, "spec"))
		if err := printDoc(&out, tree); err != nil {
			return "", err
		}
	}
	return out.String(), nil
}

// printDoc writes a document in JSON, which is YAML too.
func printDoc(out *strings.Builder, tree map[string]any) error {
	text, err := json.Marshal(tree)
	if err != nil {
		return err
	}
	out.WriteString(docBreak)
	out.Write(text)
	out.WriteString("\n")
	return nil
}

func inner(tree map[string]any, key string) map[string]any {
	if m, ok := tree[key].(map[string]any); ok {
		return m
	}
	m := map[string]any{}
	tree[key] = m
	return m
}

// simulated lets the simulated provider run the server, and changes nothing else.
func simulated(kind spec.Kind, _ string, s map[string]any) {
	if kind == spec.KindServer {
		s["provider"], s["template"] = "sim", map[string]any{"sim": map[string]any{}}
	}
}

// approved is what the documents are once people approve of everything.
func approved(kind spec.Kind, name string, s map[string]any) {
	simulated(kind, name, s)
	delete(s, "mode")
	if kind == spec.KindPolicy {
		s["mode"] = fleet.Auto
	}
}

// placing takes away all that could hold a first start, so that none of it is used
// up before the loss.
func placing(kind spec.Kind, name string, s map[string]any) {
	approved(kind, name, s)
	delete(s, "budget")
	if kind == spec.KindPolicy && name == spec.DefaultPolicy {
		s["budget"] = map[string]any{"steps": 0}
	}
}
