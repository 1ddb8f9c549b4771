package controller

import (
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

	mu       sync.Mutex
	surveyed decide.Surveyed
	at       time.Time
}

// surveyFor is how long a survey is good: the budgets themselves are checked
// again in the transaction that takes them.
const surveyFor = 100 * time.Millisecond

// viewed is a view with the revision of the status it was made from.
type viewed struct {
	decide.View
	statusRev store.Revision
	known     bool
}

// View makes the view of one server at now.
func (w *Viewer) View(name string, now time.Time) viewed {
	server, ok := w.State.Server(name)
	if !ok {
		return viewed{}
	}
	status := w.State.Status(name)
	v := viewed{known: true, statusRev: w.State.Revision(kindStatus, name)}
	v.Server, v.Status = server, status
	observed, signals, host, observer := w.Collector.Seen(name, status.Host)
	v.Observed = observed
	v.Finding = detect.Judge(detect.Input{
		Server: server, Status: status, Observed: observed, Signals: signals, Host: host, Observer: observer,
	}, now)
	v.Traits = w.Traits[server.Spec.Provider]
	v.Hosts = w.hosts(server, now)
	v.Guards = w.guards(server, status)
	v.Around = w.around(status.Host, now)
	if r, ok := Get[fleet.Request](w.State, kindRequest, name); ok && r.Epoch == status.Epoch {
		v.Request = &r
	}
	return v
}

// hosts adds to what was seen what the store knows: sites, places taken, labels.
func (w *Viewer) hosts(server fleet.Server, now time.Time) []fleet.Host {
	hosts := w.Collector.Hosts(server.Name, now)
	for i := range hosts {
		h := &hosts[i]
		h.Sites = w.State.SitesOf(h.Name)
		place, _ := Get[Place](w.State, kindPlace, h.Name)
		h.UsedUnits = 0
		for other, units := range place.Units { // a sum: the order is all one
			if other != server.Name {
				h.UsedUnits += units
			}
		}
		if len(server.Spec.Placement.Apart) > 0 {
			h.Apart = w.apart(place, server)
		}
		if site, ok := w.site(h.Name); ok {
			h.Power = site.Spec.Power != nil
		}
		if h.Closed == "" {
			h.Closed = w.closed(h.Name, now)
		}
	}
	return hosts
}

// apart lists the labels that the server must keep away from, of all others that
// take the place.
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
	other, ok := w.State.Server(server)
	if !ok {
		return nil
	}
	var out []string
	for _, label := range wanted {
		if value, ok := other.Labels[label]; ok {
			out = append(out, label+"="+value)
		}
	}
	return out
}

// closed keeps new instances away from hosts whose site is under maintenance.
func (w *Viewer) closed(host string, now time.Time) string {
	windows := All[fleet.Maintenance](w.State, kindWindow)
	for _, m := range windows {
		if !m.Covers(now) {
			continue
		}
		for _, site := range append([]string{host}, w.State.SitesOf(host)...) {
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

// around returns the counts around a host, from a survey that is at most
// surveyFor old.
func (w *Viewer) around(host string, now time.Time) fleet.Around {
	survey := w.survey(now)
	w.State.mu.RLock()
	budgets, storm := w.State.budgets()
	sites := pathUp(w.State.docs.sites, host)
	begun := map[string][]time.Time{}
	for _, d := range append([]string{"fleet"}, sites...) {
		b, _ := peek[Budget](w.State, kindBudget, d)
		begun[d] = b.Begun
	}
	w.State.mu.RUnlock()
	return decide.Around(survey, sites, decide.Bounds{Budgets: budgets, Begun: begun, Storm: storm})
}

func (w *Viewer) survey(now time.Time) decide.Surveyed {
	w.mu.Lock()
	defer w.mu.Unlock()
	if now.Sub(w.at) < surveyFor && !w.at.IsZero() && !now.Before(w.at) {
		return w.surveyed
	}
	w.surveyed, w.at = decide.Survey(w.rows()), now
	w.addSilent(w.surveyed, now)
	return w.surveyed
}

// addSilent counts the hosts that fell silent with servers on them as lost before
// the first verdict on one of those is recorded: otherwise the first recoveries of
// a storm would begin before it is seen (S5).
func (w *Viewer) addSilent(s decide.Surveyed, now time.Time) {
	for host, at := range w.Collector.Silent(now) {
		place, _ := Get[Place](w.State, kindPlace, host)
		if len(place.Units) > 0 && at.After(s.LostHosts[host]) {
			s.LostHosts[host] = at
		}
	}
}

// rows takes the verdicts as they were last recorded: each pass records its own.
func (w *Viewer) rows() []decide.Row {
	w.State.mu.RLock()
	defer w.State.mu.RUnlock()
	rows := make([]decide.Row, 0, len(w.State.docs.servers))
	for name, server := range w.State.docs.servers { // Survey only counts: the order is all one
		st, _ := peek[fleet.Status](w.State, kindStatus, name)
		rows = append(rows, decide.Row{
			Server: name, Sites: pathUp(w.State.docs.sites, st.Host), Verdict: st.Verdict, Phase: st.Phase,
			Since: st.VerdictSince, Cause: st.Cause, Priority: server.Spec.Priority,
		})
	}
	return rows
}

// forgetSurvey makes the next look count afresh.
func (w *Viewer) forgetSurvey() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.at = time.Time{}
}
