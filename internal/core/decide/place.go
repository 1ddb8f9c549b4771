package decide

import (
	"fmt"
	"slices"
	"sort"
	"strings"

	"relight/internal/core/fence"
	"relight/internal/core/fleet"
)

// place chooses the host of the next epoch. Every host is listed with the reason
// for which it was refused, so that "no place" is never a bare count (S15).
func place(v View) (string, []Candidate) {
	candidates := make([]Candidate, 0, len(v.Hosts))
	for _, h := range v.Hosts {
		candidates = append(candidates, Candidate{Host: h.Name, Site: strings.Join(h.Sites, "/"), Refused: refusal(v, h)})
	}
	order := make([]int, len(candidates))
	for i := range order {
		order[i] = i
	}
	sort.SliceStable(order, func(a, b int) bool { return better(v, v.Hosts[order[a]], v.Hosts[order[b]]) })
	for _, i := range order {
		if candidates[i].Refused == "" {
			candidates[i].Chosen = true
			return candidates[i].Host, candidates
		}
	}
	return "", candidates
}

// refusal says why the server may not run on the host, or is empty.
func refusal(v View, h fleet.Host) string {
	r := v.Status.Recovery
	switch {
	case h.InContact == fleet.No:
		return "its agent is silent"
	case h.InContact != fleet.Yes:
		return "its agent was not heard of yet"
	case h.Closed != "":
		return h.Closed
	case r.Planned != nil && h.Name != r.Planned.Goal():
		return "the move goes to " + r.Planned.Goal()
	case slices.Contains(r.Refused, h.Name):
		return "it refused or had no room in this recovery"
	case r.Rung == fleet.RestartApp && h.Name != r.FromHost:
		return "restartApp stays on " + r.FromHost
	case r.ToSite != "" && !inSite(h, r.ToSite):
		return "it is not in site " + r.ToSite
	}
	if why := siteRefusal(v, h); why != "" {
		return why
	}
	if why := dataRefusal(v, h); why != "" {
		return why
	}
	if why := storageRefusal(v, h); why != "" {
		return why
	}
	if used, units := taken(v, h), max(v.Server.Spec.Placement.Units, 1); used+units > h.Units {
		return fmt.Sprintf("%d of %d units are used, %d are needed", used, h.Units, units)
	}
	return apartRefusal(v, h)
}

// taken is what a host has no more to give to the server: its instances, and the
// standby guests of others.
func taken(v View, h fleet.Host) int {
	used := h.UsedUnits
	for _, w := range h.Warm {
		if w.Server != v.Server.Name {
			used += w.Units
		}
	}
	return used
}

// warm reports whether a guest waits on the host to become the server.
func warm(v View, h fleet.Host) bool {
	w := h.WarmFor(v.Server.Name)
	return w != nil && w.Ready
}

func siteRefusal(v View, h fleet.Host) string {
	r := v.Status.Recovery
	if sites := v.Server.Spec.Placement.Sites; len(sites) > 0 && preference(sites, h) == len(sites) {
		return "it is in none of the allowed sites " + strings.Join(sites, ", ")
	}
	from := hostByName(v.Hosts, origin(v))
	if v.Status.Epoch == 0 || r.Planned != nil || from == nil || len(from.Sites) == 0 {
		return ""
	}
	same := len(h.Sites) > 0 && h.Sites[0] == from.Sites[0]
	switch {
	case r.Rung == fleet.Move && len(h.Sites) == 0:
		return "its site is not declared"
	case r.Rung == fleet.Move && same:
		return "move leaves site " + from.Sites[0]
	case (r.Rung == fleet.Relaunch || r.Rung == fleet.Recover) && !same:
		return fmt.Sprintf("%s stays in site %s", r.Rung, from.Sites[0])
	default:
		return ""
	}
}

// origin is the host on which the server last ran: what a place refused never ran
// there, and a relaunch must not stay in the site of a place that had no room. It is
// empty if nobody knows, or if it never ran at all.
func origin(v View) string {
	if r := v.Status.Recovery; r != nil && r.Ran != "" {
		return r.Ran
	}
	_, ran := fence.Last(v.Server.Name, v.Status.Epoch, v.Status.Host, v.Status.Evidence)
	return ran
}

// dataRefusal keeps a server where its data is: volumes of reach host never move.
func dataRefusal(v View, h fleet.Host) string {
	for _, vol := range v.Server.Spec.Identity.Volumes {
		if vol.Reach == fleet.ReachHost && v.Status.Epoch != 0 && h.Name != v.Status.Recovery.FromHost {
			return fmt.Sprintf("volume %s never leaves %s (reach: host)", vol.Name, v.Status.Recovery.FromHost)
		}
		if vol.Path != "" && !slices.Contains(h.Reaches, vol.Name) {
			return "it does not reach volume " + vol.Name
		}
		if why := emptyRefusal(v, vol, h); why != "" {
			return why
		}
		if vol.OnArray() && !slices.Contains(h.Reaches, vol.Name) {
			return "it does not reach the array of volume " + vol.Name
		}
	}
	return ""
}

// storageRefusal keeps a server away from a host that has lost the shared storage: a
// start there ends on the same dead volume. A host that beats on none cannot tell, and
// arrays are asked themselves.
func storageRefusal(v View, h fleet.Host) string {
	if h.StorageBeat != fleet.No {
		return ""
	}
	for _, vol := range v.Server.Spec.Identity.Volumes {
		if vol.Reach != fleet.ReachHost && !vol.OnArray() {
			return "it has lost the shared storage (its heartbeat there has stopped), and volume " + vol.Name + " needs it"
		}
	}
	return ""
}

func apartRefusal(v View, h fleet.Host) string {
	for _, label := range v.Server.Spec.Placement.Apart {
		value, ok := v.Server.Labels[label]
		if !ok {
			continue
		}
		if slices.Contains(h.Apart, label+"="+value) {
			return fmt.Sprintf("another server with %s=%s runs there", label, value)
		}
	}
	return ""
}

// better orders hosts: the spec's site preference, then away from the host where
// it just failed, then where a standby guest waits, then the emptiest, then by name.
func better(v View, a, b fleet.Host) bool {
	sites := v.Server.Spec.Placement.Sites
	if pa, pb := preference(sites, a), preference(sites, b); pa != pb {
		return pa < pb
	}
	if fa, fb := a.Name == v.Status.Recovery.FromHost, b.Name == v.Status.Recovery.FromHost; fa != fb {
		return fb
	}
	if wa, wb := warm(v, a), warm(v, b); wa != wb {
		return wa
	}
	if fa, fb := a.Units-taken(v, a), b.Units-taken(v, b); fa != fb {
		return fa > fb
	}
	return a.Name < b.Name
}

// preference is the place of the host's best site in the list, or its length.
func preference(sites []string, h fleet.Host) int {
	for i, s := range sites {
		if inSite(h, s) {
			return i
		}
	}
	return len(sites)
}

func inSite(h fleet.Host, site string) bool {
	return h.Name == site || slices.Contains(h.Sites, site)
}

func hostByName(hosts []fleet.Host, name string) *fleet.Host {
	for i := range hosts {
		if hosts[i].Name == name {
			return &hosts[i]
		}
	}
	return nil
}
