package onprem

import (
	"hash/fnv"
	"maps"
	"slices"

	"relight/internal/core/fleet"
	"relight/internal/provider/onprem/link"
)

const (
	// witnesses is how many hosts probe a server: one of them may be the one that
	// runs it and then probes nothing, so that two are left.
	witnesses = 3
	// pingers is how many hosts ask whether another one is there.
	pingers = 2
)

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
	for _, name := range hosts {
		if name != x.record.Name {
			w.Peers = append(w.Peers, h.peer(x, h.hosts[name], hosts))
		}
	}
	x.watch, x.plan = w, h.plan
	return w
}

func (h *Hub) watched(host string, s fleet.Server, hosts []string) (link.WatchedServer, bool) {
	spec := s.Spec
	witness := slices.Contains(chosen(s.Name, hosts, witnesses), host)
	if !witness && !h.mayRun(host, s) {
		return link.WatchedServer{}, false
	}
	w := link.WatchedServer{
		Server: s.Name, Check: expandCheck(spec.Health.Check, spec.Identity), Look: witness,
		Volumes: spec.Identity.Volumes, OnIsolation: spec.OnIsolation,
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
	ask := slices.DeleteFunc(slices.Clone(hosts), func(n string) bool { return n == other.record.Name })
	to, _ := h.site.PeerKey(x.record.Agent, other.record.Agent)
	from, _ := h.site.PeerKey(other.record.Agent, x.record.Agent)
	return link.Peer{
		Host: other.record.Name, Agent: other.record.Agent, Addr: other.peerAddr,
		Ping: slices.Contains(chosen(other.record.Name, ask, pingers), x.record.Name),
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
