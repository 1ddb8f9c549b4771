package onprem

import (
	"net/netip"
	"slices"

	"relight/internal/core/fleet"
	"relight/internal/provider/onprem/link"
)

// take takes a host's report and wakes whoever waits for its news.
func (h *Hub) take(name string, r *link.Report, from string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	x := h.hosts[name]
	if x == nil {
		return
	}
	back := x.hear(h.opt.Now(), h.opt.Contact)
	if x.report != nil && x.report.Run == r.Run && r.Seq <= x.report.Seq {
		return // overtaken on its way
	}
	before := x.report
	x.report, x.reportAt = r, h.opt.Now()
	if r.Look > x.looked {
		x.looked = min(r.Look, x.look)
	}
	for id, d := range x.doubts {
		if x.reportAt.After(d.until) {
			delete(x.doubts, id)
		}
	}
	for s := range x.may {
		if !x.busyWith(s) {
			delete(x.may, s) // from here on the report itself tells
		}
	}
	if addr := peerAddr(r.PeerAddr, from); addr != x.peerAddr {
		x.peerAddr = addr
		h.planChanged()
	}
	close(x.news)
	x.news = make(chan struct{})
	if back || before == nil || before.Run != r.Run {
		h.wake("")
		return
	}
	for _, server := range changed(before, r) {
		h.wake(server)
	}
}

// peerAddr fills in the address from which the host reports if it named none.
func peerAddr(told, from string) string {
	ap, err := netip.ParseAddrPort(told)
	if err != nil {
		return ""
	}
	if !ap.Addr().IsUnspecified() {
		return ap.String()
	}
	ip, err := netip.ParseAddr(from)
	if err != nil {
		return ""
	}
	return netip.AddrPortFrom(ip.Unmap(), ap.Port()).String()
}

// facet is the part of a report about a server whose change is news.
type facet struct {
	kind, server string
	epoch        fleet.Epoch
	state        fleet.InstanceState
	alive, works fleet.Answer
}

func facets(r *link.Report) map[facet]bool {
	out := map[facet]bool{}
	for _, i := range r.Instances {
		out[facet{kind: "instance", server: i.Server, epoch: i.Epoch, state: i.State}] = true
	}
	for _, c := range r.Checks {
		out[facet{kind: "check", server: c.Server, epoch: c.Epoch, alive: c.Alive, works: c.Works}] = true
	}
	for _, c := range r.Contests {
		out[facet{kind: "contest " + c.IP + " " + c.By, server: c.Server, epoch: c.Epoch}] = true
	}
	for _, p := range r.Probes {
		out[facet{kind: "probe", server: p.Server, alive: p.Alive, works: p.Works}] = true
	}
	for _, v := range r.Volumes {
		kind := "volume"
		if v.Fresh {
			kind = "fresh volume"
		}
		out[facet{kind: kind, server: v.Server, epoch: v.Sealed, alive: v.Held}] = true
	}
	for _, a := range slices.Concat(r.Pings, r.StorageBeats) {
		// News of a host is news of all servers there; "" means all.
		out[facet{kind: "host " + a.Host, alive: a.Alive}] = true
	}
	return out
}

// changed names the servers about which the two reports differ.
func changed(before, after *link.Report) []string {
	a, b := facets(before), facets(after)
	var out []string
	note := func(f facet) {
		if !slices.Contains(out, f.server) {
			out = append(out, f.server)
		}
	}
	for f := range a {
		if !b[f] {
			note(f)
		}
	}
	for f := range b {
		if !a[f] {
			note(f)
		}
	}
	slices.Sort(out)
	return out
}
