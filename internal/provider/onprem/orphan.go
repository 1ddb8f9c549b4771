package onprem

import (
	"fmt"
	"time"

	"relight/internal/core/fleet"
	"relight/internal/provider"
)

// Orphans lists what the hosts' last reports tell of servers that the fleet does not have,
// by host. A host that does not report is told as an Err.
func (h *Hub) Orphans() []provider.Orphan {
	beats := h.allBeats()
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.opt.Now()
	var out []provider.Orphan
	for _, name := range sortedNames(h.hosts) {
		x := h.hosts[name]
		l := look{hub: h, host: x, name: name, now: now, contact: h.contact(x, beats[name].at, now)}
		if l.stale() {
			out = append(out, provider.Orphan{On: name, Err: fmt.Errorf("host %s does not report; what runs there now is not known%s", name, since(x.reportAt))})
		}
		if x.report != nil {
			out = append(out, l.orphans()...)
		}
	}
	return out
}

func since(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return ", only what did at " + at.UTC().Format(time.TimeOnly)
}

// orphans lists what the host's last report tells of servers that the fleet does not
// have; mu is held.
func (l look) orphans() []provider.Orphan {
	var out []provider.Orphan
	add := func(kind provider.OrphanKind, server string, epoch fleet.Epoch, what, detail, next string) {
		if _, ours := l.hub.servers[server]; !ours {
			out = append(out, provider.Orphan{Kind: kind, Server: server, Epoch: epoch, On: l.name, What: what, Detail: detail, Next: next, At: l.host.reportAt})
		}
	}
	back := func(server string) string {
		return "relight apply -f " + server + ".yaml takes it back as it is; or end it on " + l.name
	}
	r := l.host.report
	for _, i := range r.Instances {
		if !i.State.Gone() {
			add(provider.OrphanInstance, i.Server, i.Epoch, "", string(i.State), back(i.Server))
		}
	}
	for _, a := range r.Addresses {
		add(provider.OrphanAddress, a.Server, a.Holder, a.IP, "held by its instance", back(a.Server))
	}
	for _, w := range r.Warm {
		add(provider.OrphanStandby, w.Server, 0, "", fmt.Sprintf("a standby guest of %d units", w.Units), "relight get hosts -o wide; its agent ends it by itself")
	}
	return out
}
