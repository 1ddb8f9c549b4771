package sim

import (
	"relight/internal/core/fleet"
	"relight/internal/provider"
)

// page is what one sweep is written upon: few long lists, of which each sight has
// parts, for a sweep of many short ones costs more than all that is told in it.
type page struct {
	servers   []provider.ServerSight
	hosts     []provider.HostSight
	signals   []fleet.Signal
	instances []fleet.Instance
	seen      []fleet.VolumeState
	names     []string
	reach     []map[string][]string
	// volumes are those of the sweep, by the place below which they can be used.
	volumes map[string][]placed
	near    []placed
	// watchers is the memory of seers.
	watchers [witnesses]string
}

// blank returns the page for the next sweep: the last one's, if that has passed.
func (p *Provider) blank() *page {
	if !p.opts.Fleeting || p.page == nil {
		last := p.page
		p.page = &page{volumes: map[string][]placed{}}
		if last != nil { // the next sweep is mostly as long as the last one
			p.page.servers, p.page.hosts = make([]provider.ServerSight, 0, len(last.servers)), make([]provider.HostSight, 0, len(last.hosts))
			p.page.signals, p.page.instances = make([]fleet.Signal, 0, len(last.signals)), make([]fleet.Instance, 0, len(last.instances))
			p.page.seen, p.page.names = make([]fleet.VolumeState, 0, len(last.seen)), make([]string, 0, len(last.names))
		}
		return p.page
	}
	g := p.page
	g.servers, g.hosts, g.signals, g.instances = g.servers[:0], g.hosts[:0], g.signals[:0], g.instances[:0]
	g.seen, g.names = g.seen[:0], g.names[:0]
	for place, list := range g.volumes { // each by itself: the order is all one
		g.volumes[place] = list[:0]
	}
	return g
}

// reaches returns the empty map of what the nth host reaches.
func (g *page) reaches(nth int) map[string][]string {
	if nth == len(g.reach) {
		g.reach = append(g.reach, map[string][]string{})
	}
	clear(g.reach[nth])
	return g.reach[nth]
}

// part returns what a list has got from the given place on. Who appends to it gets
// memory of their own.
func part[T any](list []T, from int) []T {
	if from == len(list) {
		return nil
	}
	return list[from:len(list):len(list)]
}
