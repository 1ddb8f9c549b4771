package controller

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"relight/internal/core/fleet"
)

// In a large site a decision about one server must not cost a look at every host: a
// zone that is lost takes many decisions at once. It begins with the hosts that the
// server has to do with and the emptiest of those that it may run on; only where they
// do not suffice, see decide.Suffices, is it made again with all.
const (
	// manyHosts is from how many hosts on that is done.
	manyHosts = 64
	// emptiest is how many of the emptiest hosts are looked at in each site.
	emptiest = 32
	// orderFor is how long the order of the hosts by their free room is good: it only
	// says who is looked at, and each is looked at as it is now.
	orderFor = 250 * time.Millisecond
)

// hostOrder holds the hosts in contact of each site, the emptiest first; those of
// the whole fleet under the empty name.
type hostOrder struct {
	mu   sync.Mutex
	at   time.Time
	site map[string][]string
}

// joinNear is join with some of the hosts only, if there are many.
func (w *Viewer) joinNear(v *viewed, now time.Time) {
	names := w.nearHosts(v, now)
	if names == nil {
		w.join(v, now)
		return
	}
	v.Hosts, v.some = w.placed(v.Server, w.Collector.HostsOf(v.Server.Name, names, now), now), true
	w.joinRest(v, now)
}

// nearHosts names the hosts with which a decision about the server begins, in order;
// nil for all of them.
func (w *Viewer) nearHosts(v *viewed, now time.Time) []string {
	if v.Request != nil || v.Status.Recovery != nil && v.Status.Recovery.Planned != nil {
		return nil // what people ask for may name any host
	}
	if w.Collector.hostCount() < manyHosts {
		return nil
	}
	w.State.settle()
	w.near.mu.Lock()
	defer w.near.mu.Unlock()
	w.near.refresh(w, now)
	names := ranOn(v)
	beside := map[string]bool{}
	w.State.mu.RLock()
	for _, name := range names {
		if path := w.State.pathOf(name); len(path) > 1 {
			beside[path[1]] = true
		}
	}
	w.State.mu.RUnlock()
	for _, site := range sortedKeys(beside) {
		all := w.near.site[site]
		names = append(names, all[:min(len(all), emptiest)]...)
	}
	for _, site := range goesTo(v) {
		names = append(names, w.emptiestOf(site, beside)...)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// emptiestOf returns the emptiest hosts of a site that are not in the sites beside.
func (w *Viewer) emptiestOf(site string, beside map[string]bool) []string {
	w.State.mu.RLock()
	defer w.State.mu.RUnlock()
	var out []string
	for _, name := range w.near.site[site] {
		if path := w.State.pathOf(name); len(path) > 1 && beside[path[1]] {
			continue
		}
		if out = append(out, name); len(out) == emptiest {
			break
		}
	}
	return out
}

// ranOn names the hosts that the server is known to have to do with.
func ranOn(v *viewed) []string {
	names := []string{v.Status.Host}
	if r := v.Status.Recovery; r != nil {
		names = append(names, r.Host, r.FromHost)
		names = append(names, r.Refused...)
	}
	for i := range v.Observed.Instances {
		names = append(names, v.Observed.Instances[i].Host)
	}
	for i := range v.Status.Evidence {
		names = append(names, v.Status.Evidence[i].Host)
	}
	return slices.DeleteFunc(names, func(name string) bool { return name == "" })
}

// goesTo names the sites in which the server may run.
func goesTo(v *viewed) []string {
	sites := v.Server.Spec.Placement.Sites
	if len(sites) == 0 {
		sites = []string{""}
	}
	if r := v.Status.Recovery; r != nil && r.ToSite != "" {
		sites = append(slices.Clone(sites), r.ToSite)
	}
	return sites
}

// refresh orders the hosts anew, if that is due.
func (o *hostOrder) refresh(w *Viewer, now time.Time) {
	if o.site != nil && now.Sub(o.at) < orderFor && !now.Before(o.at) {
		return
	}
	o.at, o.site = now, map[string][]string{}
	hosts := w.Collector.Hosts("", now)
	free := make([]int, len(hosts))
	w.State.mu.RLock()
	defer w.State.mu.RUnlock()
	order := make([]int, 0, len(hosts))
	for i := range hosts {
		if hosts[i].InContact == fleet.Yes && hosts[i].Closed == "" {
			free[i] = hosts[i].Units - w.State.used[hosts[i].Name]
			order = append(order, i)
		}
	}
	slices.SortFunc(order, func(a, b int) int {
		return cmp.Or(cmp.Compare(free[b], free[a]), cmp.Compare(a, b))
	})
	for _, i := range order {
		name := hosts[i].Name
		o.site[""] = append(o.site[""], name)
		for _, site := range w.State.pathOf(name) {
			o.site[site] = append(o.site[site], name)
		}
	}
}

// hostCount is how many hosts are known.
func (c *Collector) hostCount() int {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return len(c.names)
}

// room wakes servers that wait for a place, once there is more room than there was.
type room struct {
	// more is the room that came and of which nobody was told, told is when somebody was.
	more int
	told time.Time
}

// roomPause is how often those who wait for a place are told of room: while many are
// healed, places come and go all the time.
const roomPause = time.Second

// wakeHomeless makes as many of the servers due that wait for a place as may find one,
// the most important first.
func (l *Loops) wakeHomeless(now time.Time) {
	l.room.more += l.Collector.Opened() + l.State.Freed()
	if l.room.more == 0 || now.Sub(l.room.told) < roomPause {
		return
	}
	// Not each of them may run where the room is.
	names := l.byPriority(l.Healer.homeless())
	for _, name := range names[:min(len(names), 4*l.room.more)] {
		l.Deadlines.Wake(name, now)
	}
	l.room = room{told: now}
}
