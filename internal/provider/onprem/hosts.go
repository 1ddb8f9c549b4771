package onprem

import (
	"slices"
	"time"

	"relight/internal/core/fleet"
	"relight/internal/provider"
)

// reachFor is how old a look at a volume may be when its host reports: they are made
// several times a second, and one that hangs is of a path that is dead.
const reachFor = 10 * time.Second

// hostSight makes the host's own entry in a sweep.
func (l look) hostSight() provider.HostSight {
	x, last := l.host, latest(l.host.heard, l.beat.at)
	sight := provider.HostSight{
		Host: fleet.Host{
			Name: l.name, Sites: l.hub.path(l.name), InContact: l.contact, Since: x.contactSince,
			Power:  l.hub.sites[l.name].Spec.Power != nil,
			Detour: l.contact == fleet.Yes && l.hub.opt.Now().Sub(x.detoured) <= l.hub.opt.Contact,
		},
		Reaches: map[string][]string{},
		Signals: []fleet.Signal{l.contactSignal()},
	}
	if l.contact == fleet.No {
		sight.Host.Since = last
	}
	r := x.report
	if r == nil {
		sight.Host.Closed = "its agent has not reported yet"
		return sight
	}
	if l.contact == fleet.Yes {
		sight.Host.StorageBeat = r.StorageBeat
	}
	sight.Host.Units, sight.Host.UsedUnits, sight.Host.Closed = r.Units, r.UsedUnits, r.Full
	sight.Host.Hypervisor, sight.Host.Warm, sight.Host.Watchdog = r.Hypervisor, r.Warm, r.Watchdog
	for _, v := range r.Volumes {
		if v.Ago.Std() <= reachFor {
			sight.Reaches[v.Server] = append(sight.Reaches[v.Server], v.Volume)
		}
	}
	for _, i := range r.Instances {
		if !i.State.Gone() && !slices.Contains(sight.Servers, i.Server) {
			sight.Servers = append(sight.Servers, i.Server)
		}
	}
	return sight
}

// contactSignal says when the host was last heard of, by beat or by report: a
// network that blocks our datagrams alone must not make its hosts look dead. Its
// silence is judged by whoever reads At.
func (l look) contactSignal() fleet.Signal {
	sig := fleet.Signal{
		Source:   fleet.Source{Channel: fleet.ChannelBeat, Vantage: controller},
		Question: fleet.Alive, Answer: fleet.Yes,
		At: latest(l.host.heard, l.beat.at), Since: l.host.contactSince,
	}
	if sig.At.IsZero() {
		sig.Answer, sig.At, sig.Since = fleet.CannotTell, l.hub.started, l.hub.started
		sig.Detail = "nothing was heard of it since the controller started"
	} else if sig.Since.IsZero() || sig.Since.After(sig.At) {
		sig.Since = sig.At
	}
	return sig
}

// othersOnHosts adds what hosts say about each other; mu is held.
func (h *Hub) othersOnHosts(sweep *provider.Sweep) {
	index := make(map[string]int, len(sweep.Hosts))
	for i := range sweep.Hosts {
		index[sweep.Hosts[i].Host.Name] = i
	}
	for i := range sweep.Hosts {
		seer := sweep.Hosts[i].Host.Name
		l := look{hub: h, host: h.hosts[seer]}
		r := l.host.report
		if r == nil {
			continue
		}
		for _, a := range r.Pings {
			if k, ok := index[a.Host]; ok && a.Host != seer {
				sweep.Hosts[k].Signals = append(sweep.Hosts[k].Signals, fleet.Signal{
					Source:   fleet.Source{Channel: fleet.ChannelProbe, Vantage: seer},
					Question: fleet.Alive, Answer: a.Alive, At: l.ago(a.Ago), Since: l.ago(a.SinceAgo), Detail: a.Detail,
				})
			}
		}
		for _, a := range r.Kernels {
			if k, ok := index[a.Host]; ok && a.Host != seer && a.Alive == fleet.Yes {
				sweep.Hosts[k].Signals = append(sweep.Hosts[k].Signals, fleet.Signal{
					Source:   fleet.Source{Channel: fleet.ChannelKernel, Vantage: seer},
					Question: fleet.Alive, Answer: fleet.Yes, At: l.ago(a.Ago), Since: l.ago(a.SinceAgo), Detail: a.Detail,
				})
			}
		}
		for _, a := range r.StorageBeats {
			if k, ok := index[a.Host]; ok && a.Host != seer {
				at := &sweep.Hosts[k]
				at.Signals = append(at.Signals, fleet.Signal{
					Source:   fleet.Source{Channel: fleet.ChannelStorage, Vantage: seer},
					Question: fleet.Alive, Answer: a.Alive, At: l.ago(a.Ago), Since: l.ago(a.SinceAgo), Detail: a.Detail,
				})
				if at.Host.InContact != fleet.Yes { // else it has said itself whether it can write
					at.Host.StorageBeat = stronger(at.Host.StorageBeat, a.Alive, sweep.At.Sub(l.ago(a.Ago)) <= h.opt.Contact)
				}
			}
		}
	}
}

// stronger joins what several hosts see of one's storage heartbeat: one that sees
// it move is enough, and old sight counts for nothing.
func stronger(a, b fleet.Answer, fresh bool) fleet.Answer {
	switch {
	case !fresh || a == fleet.Yes:
		return a
	case b == fleet.Yes || a == fleet.CannotTell:
		return b
	default:
		return a
	}
}
