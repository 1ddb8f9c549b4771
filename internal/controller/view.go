package controller

import (
	"maps"
	"sync"
	"time"

	"relight/internal/core/decide"
	"relight/internal/core/detect"
	"relight/internal/core/fleet"
	"relight/internal/store"
)

// Viewer joins everything that is known into the view of one server.
type Viewer struct {
	State     *State
	Collector *Collector
	// Traits by provider name.
	Traits map[string]fleet.Traits
	// Authority is this controller's right to act, asked at each look.
	Authority func() fleet.Authority
	// Trouble is why the store takes no writes, asked at each look.
	Trouble func() string

	mu    sync.Mutex
	storm classified
	// stormy is true from a storm's coming until stormPassed has told of its end.
	stormy bool

	near hostOrder
}

// classified is the storm classifier's last finding with what it was made from.
type classified struct {
	trouble *fleet.Trouble
	at      time.Time
	moved   uint64
	limit   fleet.Storm
	// recorded is the revision of the storm's record, over whether that has ended.
	recorded store.Revision
	over     bool
}

// silentFor is how long the storm classifier's finding is good though nothing was
// recorded: hosts fall silent between two records.
const silentFor = 100 * time.Millisecond

// viewed is a view with the revision of the status it was made from.
type viewed struct {
	decide.View
	statusRev store.Revision
	// said is what people had said when the view was begun, if it may be acted upon.
	said  said
	known bool
	// some is true if not all hosts are in the view.
	some bool
	// held is whether something held it when it was looked at before.
	held bool
}

// View makes the view of one server at now.
func (w *Viewer) View(name string, now time.Time) viewed {
	v := w.ownToAct(name, now)
	if v.known {
		w.join(&v, now)
	}
	return v
}

// ownToAct is own for a decision that may be carried out.
func (w *Viewer) ownToAct(name string, now time.Time) viewed {
	words := w.State.said(name) // first: what is said from here on makes it decide again
	v := w.own(name, now, &Known{})
	v.said = words
	return v
}

// own makes the part of the view that is the server's own, over the memory of sight.
func (w *Viewer) own(name string, now time.Time, sight *Known) viewed {
	server, ok := w.State.Server(name)
	if !ok {
		return viewed{}
	}
	status, rev := w.State.statusOf(name)
	v := viewed{known: true, statusRev: rev}
	v.Server, v.Status = server, status
	w.Collector.Seen(name, status.Host, sight)
	v.Observed, v.held = sight.Observed, sight.held
	v.Finding = detect.Judge(detect.Input{
		Server: server, Status: status, Observed: sight.Observed, Signals: sight.Signals, Host: sight.Host, Observer: sight.Observer,
	}, now)
	v.Traits = w.Traits[server.Spec.Provider].For(server)
	if r, ok := Get[fleet.Request](w.State, kindRequest, name); ok && r.Epoch == status.Epoch {
		request := r
		v.Request = &request
	}
	return v
}

// join adds what a decision to act must look at besides.
func (w *Viewer) join(v *viewed, now time.Time) {
	v.Hosts, v.some = w.hosts(v.Server, now), false
	w.joinRest(v, now)
}

// joinRest adds all but the hosts.
func (w *Viewer) joinRest(v *viewed, now time.Time) {
	v.Guards = w.guards(v.Server, v.Status)
	v.Around = w.around(v.Server.Name, v.Status.Host, now)
	w.neighbours(v, now)
	v.After = w.after(v.Server, now)
}

// hosts adds to what was seen what the store knows: sites, places taken, labels.
func (w *Viewer) hosts(server fleet.Server, now time.Time) []fleet.Host {
	return w.placed(server, w.Collector.Hosts(server.Name, now), now)
}

// placed adds to hosts what the store knows of them.
func (w *Viewer) placed(server fleet.Server, hosts []fleet.Host, now time.Time) []fleet.Host {
	windows := All[fleet.Maintenance](w.State, kindWindow)
	w.State.settle()
	w.State.mu.RLock()
	defer w.State.mu.RUnlock()
	for i := range hosts {
		h := &hosts[i]
		path := w.State.pathOf(h.Name)
		h.Sites = path[1:]
		place, _ := peek[Place](w.State, kindPlace, h.Name)
		place = w.State.withBound(h.Name, place)
		h.UsedUnits = place.taken() - place.Units[server.Name] + w.strays(*h, place, server)
		if len(server.Spec.Placement.Apart) > 0 {
			h.Apart = w.apart(place, server)
		}
		if site, ok := w.State.docs.sites[h.Name]; ok {
			h.Power = site.Spec.Power != nil
			if h.Power {
				h.PowerWithin = fleet.Duration(site.Spec.Power.Within())
			}
		}
		if h.Closed == "" {
			h.Closed = closed(path, windows, now)
		}
	}
	return hosts
}

// apart lists the labels that the server must keep away from, of all others that
// take the place. The state is locked by the caller.
func (w *Viewer) apart(place Place, server fleet.Server) []string {
	var out []string
	for _, other := range sortedKeys(place.Units) {
		if other != server.Name {
			out = append(out, w.labels(other, server.Spec.Placement.Apart)...)
		}
	}
	return out
}

func (w *Viewer) site(name string) (fleet.Site, bool) {
	w.State.mu.RLock()
	defer w.State.mu.RUnlock()
	s, ok := w.State.docs.sites[name]
	return s, ok
}

func (w *Viewer) labels(server string, wanted []string) []string {
	if len(wanted) == 0 {
		return nil
	}
	other, ok := w.State.docs.servers[server]
	if !ok {
		return nil
	}
	var out []string
	for _, label := range wanted {
		if value, ok := other.labels[label]; ok {
			out = append(out, label+"="+value)
		}
	}
	return out
}

// closed keeps new instances away from hosts whose site is under maintenance.
func closed(path []string, windows []fleet.Maintenance, now time.Time) string {
	for _, m := range windows {
		if !m.Covers(now) {
			continue
		}
		for _, site := range path {
			if m.Scope == "site "+site {
				return "maintenance window " + m.ID + " of " + m.Owner + " is open for " + m.Scope
			}
		}
	}
	return ""
}

func (w *Viewer) guards(server fleet.Server, status fleet.Status) fleet.Guards {
	g := fleet.Guards{Authority: w.Authority(), StoreTrouble: w.Trouble(), Windows: All[fleet.Maintenance](w.State, kindWindow)}
	g.Modes = append(g.Modes, fleet.ModeSetting{Scope: "server " + server.Name, Mode: server.Spec.Mode})
	w.State.mu.RLock()
	for _, name := range pathUp(w.State.docs.sites, status.Host) {
		if m := w.State.docs.sites[name].Spec.Mode; m != "" {
			g.Modes = append(g.Modes, fleet.ModeSetting{Scope: "site " + name, Mode: m})
		}
	}
	w.State.mu.RUnlock()
	if f, ok := Get[fleet.Freeze](w.State, kindFreeze, "fleet"); ok {
		g.Freeze = &f
	}
	if r, ok := Get[fleet.StormRecord](w.State, kindStorm, "fleet"); ok {
		g.Storm = &r
	}
	if p, ok := Get[fleet.Pause](w.State, kindPause, server.Name); ok {
		g.Pauses = append(g.Pauses, p)
	}
	for _, a := range All[fleet.Approval](w.State, kindApproval) {
		if a.Server == server.Name {
			g.Approvals = append(g.Approvals, a)
		}
	}
	return g
}

// around returns the counts around a server and its host as they are recorded now.
func (w *Viewer) around(server, host string, now time.Time) fleet.Around {
	w.State.settle()
	w.State.mu.RLock()
	defer w.State.mu.RUnlock()
	sites := w.State.pathOf(host)
	b := decide.Bounds{Budgets: map[string]fleet.Budget{}, Begun: map[string][]fleet.Begun{}, Storm: w.State.docs.fleet.Spec.Storm}
	b.Budgets["fleet"] = w.State.docs.fleet.Spec.Budget
	for _, name := range sites {
		b.Budgets[name] = w.State.docs.sites[name].Spec.Budget
	}
	for name := range b.Budgets { // into another map: the order is all one
		used, _ := peek[Budget](w.State, kindBudget, name)
		b.Begun[name] = used.Begun
	}
	around := fleet.Around{Domains: decide.Domains(w.State.tally.Sum(), sites, b), Storm: w.stormed(b.Storm, now)}
	for i := range around.Domains {
		if wait := w.State.waits[server]; wait.domain == around.Domains[i].Name {
			around.Domains[i].Waits = wait.since
		}
	}
	return around
}

// stormed classifies anew if anything that counts was recorded since. The passing
// of a storm may be seen a moment late, its coming may not. The state is locked by
// the caller.
func (w *Viewer) stormed(limit fleet.Storm, now time.Time) *fleet.Trouble {
	w.mu.Lock()
	defer w.mu.Unlock()
	c, moved := w.storm, w.State.tally.Moved()
	rec, rev := w.stormRecord()
	fresh := !c.at.IsZero() && now.Sub(c.at) < silentFor && !now.Before(c.at) && c.recorded == rev
	if fresh && c.limit == limit && (c.trouble != nil || c.moved == moved) {
		return c.trouble
	}
	sum := w.withSilent(w.State.tally.Sum(), now)
	w.storm = classified{
		trouble: decide.Storm(sum, limit, rec), at: now, moved: moved, limit: limit,
		recorded: rev, over: rec != nil && decide.StormOver(sum, *rec),
	}
	w.stormy = w.stormy || w.storm.trouble != nil
	return w.storm.trouble
}

// stormPassed reports, once, that a storm which held servers is over.
func (w *Viewer) stormPassed(now time.Time) bool {
	w.mu.Lock()
	stormy := w.stormy
	w.mu.Unlock()
	w.State.settle()
	w.State.mu.RLock()
	defer w.State.mu.RUnlock()
	if rec, _ := w.stormRecord(); rec == nil && !stormy {
		return false
	}
	if w.stormed(w.State.docs.fleet.Spec.Storm, now) != nil {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	passed := w.stormy
	w.stormy = false
	return passed
}

// withSilent counts the hosts that fell silent with servers on them as lost before
// the first verdict on one of those is recorded: otherwise the first recoveries of
// a storm would begin before it is seen (S5).
func (w *Viewer) withSilent(s decide.Surveyed, now time.Time) decide.Surveyed {
	lost := maps.Clone(s.LostHosts)
	for host, at := range w.Collector.Silent(now) {
		if w.State.used[host] > 0 && at.After(lost[host]) {
			lost[host] = at
		}
	}
	s.LostHosts = lost
	return s
}
