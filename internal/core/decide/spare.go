package decide

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"relight/internal/core/fleet"
)

// Tenant is a server that runs on a host, for the question whether others could take
// it over.
type Tenant struct {
	Server fleet.Server
	Host   string
	// Relaunches and Moves tell whether the provider has the rungs that start it
	// elsewhere, within its site and out of it.
	Relaunches, Moves bool
}

// HostSpare says whether the others could take over the servers of one host.
type HostSpare struct {
	Host    string `json:"host"`
	Servers int    `json:"servers"`
	// Homeless lists those that would find no place, with the reason.
	Homeless []Homeless `json:"homeless,omitempty"`
}

// Homeless is a server that would find no place if its host were lost.
type Homeless struct {
	Server string `json:"server"`
	Reason string `json:"reason"`
}

// SiteSpare says whether a site bears the loss of any one of its hosts.
type SiteSpare struct {
	// Site is "fleet" or a site's name.
	Site  string `json:"site"`
	OK    bool   `json:"ok"`
	Hosts int    `json:"hosts"`
	Units int    `json:"units"`
	Used  int    `json:"used"`
	// Warm is how many units the standby guests of warm servers take besides.
	Warm int `json:"warm,omitempty"`
	// Worst is the host whose loss leaves the most servers without a place, and
	// Reason says of the first of them why; empty if OK.
	Worst  string `json:"worst,omitempty"`
	Reason string `json:"reason,omitempty"`
}

// Spare is the answer to "N+1 possible?".
type Spare struct {
	Hosts []HostSpare `json:"hosts"`
	// Sites has the fleet first and then every site above a host, by name.
	Sites []SiteSpare `json:"sites"`
}

// SpareOf asks of each single host whether the others could take its servers over, in
// the order and by the rules by which they would: reach tells whether a host can use
// all volumes of a server. It neither looks at guards nor at what is down already.
func SpareOf(hosts []fleet.Host, tenants []Tenant, reach func(server fleet.Server, host string) bool) Spare {
	hosts = sorted(slices.Clone(hosts), func(a, b fleet.Host) int { return cmp.Compare(a.Name, b.Name) })
	c := census{hosts: hosts, reach: reach, on: map[string][]Tenant{}}
	for _, t := range tenants {
		c.on[t.Host] = append(c.on[t.Host], t)
	}
	for _, list := range c.on { // order: each list is sorted on its own
		slices.SortFunc(list, inTurnOfRescue)
	}
	var out Spare
	for _, h := range hosts {
		out.Hosts = append(out.Hosts, c.without(h.Name))
	}
	out.Sites = c.bySite(out.Hosts)
	return out
}

// inTurnOfRescue is the order in which servers are brought back: by priority, and the
// largest first, which is the hardest to place.
func inTurnOfRescue(a, b Tenant) int {
	return cmp.Or(cmp.Compare(b.Server.Spec.Priority, a.Server.Spec.Priority), cmp.Compare(unitsOf(b.Server), unitsOf(a.Server)), cmp.Compare(a.Server.Name, b.Server.Name))
}

func unitsOf(s fleet.Server) int { return max(s.Spec.Placement.Units, 1) }

// warmUnits is what the standby guests on a host take of it.
func warmUnits(h fleet.Host) int {
	n := 0
	for _, w := range h.Warm {
		n += w.Units
	}
	return n
}

// ownWarm is what the server's own standby guest on the host has taken for it already.
func ownWarm(s fleet.Server, h fleet.Host) int {
	if w := h.WarmFor(s.Name); w != nil {
		return w.Units
	}
	return 0
}

// census is who lives where, with the reach of each host.
type census struct {
	hosts []fleet.Host
	on    map[string][]Tenant
	reach func(server fleet.Server, host string) bool
}

// rescue is the loss of one host, as the others bear it.
type rescue struct {
	*census
	lost string
	// free and apart change with each server that was taken.
	free  map[string]int
	apart map[string][]string
}

func (c *census) rescue(lost string) *rescue {
	r := &rescue{census: c, lost: lost, free: map[string]int{}, apart: map[string][]string{}}
	for _, h := range c.hosts {
		r.free[h.Name] = h.Units - h.UsedUnits - warmUnits(h)
	}
	return r
}

// without asks what becomes of the servers of a host that is lost.
func (c *census) without(lost string) HostSpare {
	out := HostSpare{Host: lost, Servers: len(c.on[lost])}
	r := c.rescue(lost)
	for _, t := range c.on[lost] {
		if to, why := r.take(t); to == "" {
			out.Homeless = append(out.Homeless, Homeless{Server: t.Server.Name, Reason: why})
		}
	}
	return out
}

// take places one server, as place would, and takes its units.
func (r *rescue) take(t Tenant) (host, why string) {
	best := -1
	for i, h := range r.hosts {
		switch {
		case h.Name == r.lost || unitsOf(t.Server) > r.freeFor(t, h):
		case best >= 0 && !r.better(t, h, r.hosts[best]):
		case r.refuses(t, h) == "":
			best = i
		}
	}
	if best < 0 {
		return "", r.refusals(t)
	}
	host = r.hosts[best].Name
	r.free[host] -= unitsOf(t.Server) - ownWarm(t.Server, r.hosts[best])
	r.apart[host] = append(r.apart[host], labelsOf(t.Server, t.Server.Spec.Placement.Apart)...)
	return host, ""
}

// refusals says of the first hosts why none of them takes the server.
func (r *rescue) refusals(t Tenant) string {
	var refused []string
	for _, h := range r.hosts {
		if h.Name != r.lost && len(refused) < namedHosts {
			refused = append(refused, h.Name+": "+r.refuses(t, h))
		}
	}
	if len(refused) == 0 {
		return "there is no other host"
	}
	return strings.Join(refused, "; ")
}

func (r *rescue) better(t Tenant, a, b fleet.Host) bool {
	sites := t.Server.Spec.Placement.Sites
	if pa, pb := preference(sites, a), preference(sites, b); pa != pb {
		return pa < pb
	}
	if wa, wb := warm(View{Server: t.Server}, a), warm(View{Server: t.Server}, b); wa != wb {
		return wa
	}
	if fa, fb := r.freeFor(t, a), r.freeFor(t, b); fa != fb {
		return fa > fb
	}
	return a.Name < b.Name
}

// refuses says why the host could not take the server, or is empty.
func (r *rescue) refuses(t Tenant, h fleet.Host) string {
	s := t.Server
	sites := s.Spec.Placement.Sites
	switch {
	case h.InContact != fleet.Yes:
		return "its agent is silent"
	case h.Closed != "":
		return h.Closed
	case staysOnHost(View{Server: s}) != "":
		return "volume " + staysOnHost(View{Server: s}) + " never leaves " + t.Host
	case len(sites) > 0 && preference(sites, h) == len(sites):
		return "it is in none of the allowed sites " + strings.Join(sites, ", ")
	}
	if why := r.tooFar(t, h); why != "" {
		return why
	}
	if !r.reach(s, h.Name) {
		return "it does not reach all volumes"
	}
	if why := storageRefusal(View{Server: s}, h); why != "" {
		return why
	}
	if free, units := r.freeFor(t, h), unitsOf(s); units > free {
		return fmt.Sprintf("%d units are free, %d are needed", max(free, 0), units)
	}
	return r.company(t, h)
}

// freeFor is the room of a host for the server: what its standby guest there has taken
// is its own.
func (r *rescue) freeFor(t Tenant, h fleet.Host) int { return r.free[h.Name] + ownWarm(t.Server, h) }

// tooFar holds the rungs of the ladder against the way from site to site.
func (r *rescue) tooFar(t Tenant, h fleet.Host) string {
	has := func(rung fleet.Rung) bool {
		return slices.ContainsFunc(t.Server.Spec.Ladder.Rungs, func(s fleet.RungSpec) bool { return s.Rung == rung && s.Tries > 0 })
	}
	near, far := t.Relaunches && has(fleet.Relaunch), t.Moves && has(fleet.Move)
	from := hostByName(r.hosts, t.Host)
	declared := from != nil && len(from.Sites) > 0
	switch same := declared && len(h.Sites) > 0 && h.Sites[0] == from.Sites[0]; {
	case !declared && (near || far), same && near, !same && far && len(h.Sites) > 0:
		return ""
	case same:
		return "its ladder has no relaunch"
	default:
		return "its ladder does not leave its site"
	}
}

// company says which server it must be kept apart from there, or is empty.
func (r *rescue) company(t Tenant, h fleet.Host) string {
	for _, mine := range labelsOf(t.Server, t.Server.Spec.Placement.Apart) {
		taken := slices.Contains(r.apart[h.Name], mine) || slices.ContainsFunc(r.on[h.Name], func(o Tenant) bool {
			label, value, _ := strings.Cut(mine, "=")
			return o.Server.Labels[label] == value
		})
		if taken {
			return "another server with " + mine + " runs there"
		}
	}
	return ""
}

// labelsOf lists the wanted labels of a server as label=value.
func labelsOf(s fleet.Server, wanted []string) []string {
	var out []string
	for _, label := range wanted {
		if value, ok := s.Labels[label]; ok {
			out = append(out, label+"="+value)
		}
	}
	return out
}

// bySite sums up for the fleet and each site above a host.
func (c *census) bySite(each []HostSpare) []SiteSpare {
	sums := map[string]*SiteSpare{}
	worst := map[string]int{}
	for i, h := range c.hosts {
		for _, site := range append([]string{"fleet"}, h.Sites...) {
			s := sums[site]
			if s == nil {
				s = &SiteSpare{Site: site, OK: true}
				sums[site] = s
			}
			s.Hosts++
			s.Units, s.Used, s.Warm = s.Units+h.Units, s.Used+h.UsedUnits, s.Warm+warmUnits(h)
			if n := len(each[i].Homeless); n > worst[site] {
				worst[site] = n
				first := each[i].Homeless[0]
				s.OK, s.Worst = false, h.Name
				s.Reason = fmt.Sprintf("%d of the %d servers on %s would find no place, such as %s: %s", n, each[i].Servers, h.Name, first.Server, first.Reason)
			}
		}
	}
	out := make([]SiteSpare, 0, len(sums))
	for _, s := range sums { // order: sorted below
		out = append(out, *s)
	}
	slices.SortFunc(out, func(a, b SiteSpare) int {
		return cmp.Or(cmp.Compare(b2i(a.Site != "fleet"), b2i(b.Site != "fleet")), cmp.Compare(a.Site, b.Site))
	})
	return out
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}
