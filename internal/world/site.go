package world

import (
	"fmt"
	"slices"
)

// below reports what Within does, without making the path: placement asks it of
// every host.
func (w *World) below(name, site string) bool {
	if site == "" || name == site {
		return true
	}
	parent := w.sites[name].Parent
	if h := w.hosts[name]; h != nil {
		parent = h.Parent
	}
	for range len(w.sites) + 1 {
		if parent == "" || parent == site {
			break
		}
		parent = w.sites[parent].Parent
	}
	return parent == site
}

// HostsOf returns the hosts below a site, sorted.
func (w *World) HostsOf(site string) []string {
	var hosts []string
	for _, h := range w.hostNames {
		if w.below(h, site) {
			hosts = append(hosts, h)
		}
	}
	return hosts
}

// eachHost changes all hosts of a site, in order. An unknown site is ErrNotFound:
// an empty name must not mean everything.
func (w *World) eachHost(site, what string, change func(host string) error) error {
	if _, known := w.sites[site]; !known {
		return fmt.Errorf("site %q: %w", site, ErrNotFound)
	}
	w.note(what, site, "", "")
	for _, h := range w.HostsOf(site) {
		if err := change(h); err != nil {
			return err
		}
	}
	return nil
}

// KillSite takes the power of a whole site.
func (w *World) KillSite(site string) error { return w.eachHost(site, "kill site", w.KillHost) }

// StartSite powers all hosts of a site on again.
func (w *World) StartSite(site string) error { return w.eachHost(site, "start site", w.StartHost) }

// CutSite sets which links of all hosts of a site are cut; the zero Cut mends
// them all. What runs there runs on.
func (w *World) CutSite(site string, c Cut) error {
	return w.eachHost(site, "cut site", func(h string) error { return w.CutHost(h, c) })
}

// CutServiceLink cuts an outpost from its region: nobody controls its instances
// or hears of them; they run on, and so do writes to local volumes.
func (w *World) CutServiceLink(outpost string) error { return w.setServiceLink(outpost, true) }

// MendServiceLink ends it.
func (w *World) MendServiceLink(outpost string) error { return w.setServiceLink(outpost, false) }

func (w *World) setServiceLink(outpost string, cut bool) error {
	if _, known := w.sites[outpost]; known {
		w.detached = remove(w.detached, outpost)
		if cut {
			w.detached = insert(w.detached, outpost)
		}
	}
	return w.eachHost(outpost, "service link", func(name string) error {
		c := w.hosts[name].Cut
		c.Control = cut
		return w.CutHost(name, c)
	})
}

// linkless reports whether a host's service link is cut.
func (w *World) linkless(host string) bool {
	return slices.ContainsFunc(w.detached, func(o string) bool { return w.below(host, o) })
}

// Sever cuts the network between two places (sites or hosts) and all below them,
// both ways: initiators there no longer reach arrays here. Mend ends it.
func (w *World) Sever(a, b string) {
	w.note("sever", a, "", b)
	w.severed = append(w.severed, [2]string{a, b})
}

// Mend ends what Sever did to the pair.
func (w *World) Mend(a, b string) {
	w.note("mend", a, "", b)
	w.severed = slices.DeleteFunc(w.severed, func(p [2]string) bool { return p == [2]string{a, b} || p == [2]string{b, a} })
}

// Linked reports whether two places (sites or hosts) reach each other.
func (w *World) Linked(a, b string) bool {
	return !slices.ContainsFunc(w.severed, func(p [2]string) bool {
		return w.below(a, p[0]) && w.below(b, p[1]) || w.below(a, p[1]) && w.below(b, p[0])
	})
}

// BreakAPI makes a platform's calls about a site and what is below it fail, with those
// that ask about everything; what runs there is well. MendAPI ends it.
func (w *World) BreakAPI(site string) {
	w.note("break api", site, "", "")
	w.brokenAPIs = insert(w.brokenAPIs, site)
}

// MendAPI ends what BreakAPI did.
func (w *World) MendAPI(site string) {
	w.note("mend api", site, "", "")
	w.brokenAPIs = remove(w.brokenAPIs, site)
}

// apiFails reports whether a call about some sites fails; about none is about everything.
func (w *World) apiFails(sites []string) bool {
	if len(sites) == 0 {
		return len(w.brokenAPIs) > 0
	}
	return slices.ContainsFunc(sites, func(site string) bool {
		return slices.ContainsFunc(w.brokenAPIs, func(b string) bool { return w.below(site, b) })
	})
}
