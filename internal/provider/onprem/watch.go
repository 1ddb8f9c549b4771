package onprem

import (
	"hash/fnv"
	"maps"
	"reflect"
	"slices"
	"time"

	"relight/internal/core/fleet"
	"relight/internal/provider/onprem/link"
)

const (
	// witnesses is how many hosts probe a server: one of them may be the one that
	// runs it and then probes nothing, so that two are left.
	witnesses = 3
	// pingers is how many hosts ask whether another one is there.
	pingers = 2
	// standbys is on how many hosts a server's standby guest waits: on one of them the
	// server may run, where none is needed.
	standbys = 2
	// settled is how many times Contact a host must be in contact again before it is
	// chosen as a seer again: one that comes and goes must not move others' work.
	settled = 10
)

// choice holds who looks at what; it is made once for all watches of a plan.
type choice struct {
	plan    uint64
	witness map[string][]string // by server
	pinger  map[string][]string // by host
	warm    map[string][]string // by server: where its standby guests wait
}

// noteContact takes the hosts out of contact at now; mu is held. If others are
// absent than before, who looks at whom is chosen anew: two seers that died, or two
// that are cut off, would leave no second source for whatever they look at.
func (h *Hub) noteContact(silent []string, now time.Time) {
	if len(silent) == len(h.hosts) {
		return // nobody is left to look, and the fault is more likely our own
	}
	changed := false
	for _, name := range silent {
		_, known := h.absent[name]
		h.absent[name] = now
		changed = changed || !known
	}
	for name, last := range h.absent { // deletes: the order is all one
		if h.hosts[name] == nil || now.Sub(last) > settled*h.opt.Contact {
			delete(h.absent, name)
			changed = true
		}
	}
	if changed {
		h.planChanged()
	}
}

// seers picks n hosts that look at the subject; absent hosts only where there are
// too few others. mu is held.
func (h *Hub) seers(subject string, hosts []string, n int) []string {
	var present, absent []string
	for _, name := range hosts {
		if _, gone := h.absent[name]; gone {
			absent = append(absent, name)
		} else {
			present = append(present, name)
		}
	}
	out := chosen(subject, present, n)
	return append(out, chosen(subject, absent, n-len(out))...)
}

// chosenNow returns who looks at what by the present plan; mu is held.
func (h *Hub) chosenNow(hosts []string) *choice {
	if h.choice.plan == h.plan {
		return &h.choice
	}
	h.choice = choice{
		plan: h.plan, witness: make(map[string][]string, len(h.names)), pinger: make(map[string][]string, len(hosts)), warm: map[string][]string{},
	}
	for _, name := range h.names {
		h.choice.witness[name] = h.seers(name, hosts, witnesses)
		if vm := h.servers[name].Spec.Template.VM; vm != nil && vm.Boot == fleet.BootWarm {
			fit := slices.DeleteFunc(slices.Clone(hosts), func(n string) bool { return !h.mayRun(n, h.servers[name]) })
			h.choice.warm[name] = h.seers(name, fit, standbys)
		}
	}
	for _, name := range hosts {
		others := slices.DeleteFunc(slices.Clone(hosts), func(n string) bool { return n == name })
		h.choice.pinger[name] = h.seers(name, others, pingers)
	}
	return &h.choice
}

func sortedNames[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// watchOf returns what the host is to look at, made anew if the plan has changed;
// mu is held.
func (h *Hub) watchOf(x *host) *link.Watch {
	if x.watch != nil && x.plan == h.plan {
		return x.watch
	}
	hosts := sortedNames(h.hosts)
	w := &link.Watch{Version: h.plan, Controller: h.run}
	for _, name := range h.names {
		if s, ok := h.watched(x.record.Name, h.servers[name], hosts); ok {
			w.Servers = append(w.Servers, s)
		}
	}
	var volumes []fleet.Volume
	for _, s := range w.Servers {
		volumes = append(volumes, s.Volumes...)
	}
	for _, p := range h.opt.Arrays.Portals(volumes) {
		w.Portals = append(w.Portals, link.Portal(p))
	}
	for _, name := range hosts {
		if name != x.record.Name {
			w.Peers = append(w.Peers, h.peer(x, h.hosts[name], hosts))
		}
	}
	x.plan = h.plan
	if x.watch != nil {
		// A plan that changes nothing here keeps its number, so that it is not sent again.
		if w.Version = x.watch.Version; reflect.DeepEqual(w, x.watch) {
			return x.watch
		}
		w.Version = h.plan
	}
	x.watch = w
	return w
}

func (h *Hub) watched(host string, s fleet.Server, hosts []string) (link.WatchedServer, bool) {
	spec := s.Spec
	witness := slices.Contains(h.chosenNow(hosts).witness[s.Name], host)
	if !witness && !h.mayRun(host, s) {
		return link.WatchedServer{}, false
	}
	w := link.WatchedServer{
		Server: s.Name, Check: expandCheck(spec.Health.Check, spec.Identity), Look: witness,
		Volumes: spec.Identity.Volumes, OnIsolation: spec.OnIsolation,
	}
	if vm := spec.Template.VM; vm != nil && vm.Boot == fleet.BootWarm && slices.Contains(h.chosenNow(hosts).warm[s.Name], host) {
		w.Warm, w.Units = vm, max(spec.Placement.Units, 1)
	}
	if c := w.Check; witness && (c.HTTP != "" || c.TCP != "") {
		w.Probe = &fleet.Check{HTTP: c.HTTP, TCP: c.TCP, Interval: c.Interval, Timeout: c.Timeout}
	}
	if spec.OnIsolation == fleet.IsolationStop {
		for _, other := range hosts {
			if other != host && h.mayRun(other, s) {
				w.Heirs = append(w.Heirs, other)
			}
		}
	}
	return w, true
}

func (h *Hub) peer(x, other *host, hosts []string) link.Peer {
	to, _ := h.site.PeerKey(x.record.Agent, other.record.Agent)
	from, _ := h.site.PeerKey(other.record.Agent, x.record.Agent)
	return link.Peer{
		Host: other.record.Name, Agent: other.record.Agent, Addr: other.peerAddr,
		Ping: slices.Contains(h.chosenNow(hosts).pinger[other.record.Name], x.record.Name),
		To:   to[:], From: from[:],
	}
}

// mayRun reports whether the server's placement allows the host; mu is held.
func (h *Hub) mayRun(host string, s fleet.Server) bool {
	if len(s.Spec.Placement.Sites) == 0 {
		return true
	}
	return slices.Contains(s.Spec.Placement.Sites, host) ||
		slices.ContainsFunc(h.path(host), func(site string) bool { return slices.Contains(s.Spec.Placement.Sites, site) })
}

// path lists the sites that hold the host, from its parent upwards; mu is held.
func (h *Hub) path(host string) []string {
	var out []string
	// A loop in the tree must not hang the controller.
	for at := h.sites[host].Spec.Parent; at != "" && !slices.Contains(out, at); at = h.sites[at].Spec.Parent {
		out = append(out, at)
	}
	return out
}

// chosen picks n hosts for a subject so that each subject has its own, spread
// evenly, and few change when a host comes or goes (rendezvous hashing).
func chosen(subject string, hosts []string, n int) []string {
	weight := func(host string) uint64 {
		f := fnv.New64a()
		_, _ = f.Write([]byte(subject + "\x00" + host))
		return f.Sum64() * 0x9e3779b97f4a7c15
	}
	list := slices.Clone(hosts)
	slices.SortFunc(list, func(a, b string) int {
		wa, wb := weight(a), weight(b)
		switch {
		case wa < wb:
			return -1
		case wa > wb:
			return 1
		}
		return 0
	})
	return list[:min(n, len(list))]
}
