package controller

import (
	"time"

	"relight/internal/core/decide"
	"relight/internal/core/fleet"
)

// settle counts afresh and finds the paths again if the sites have changed.
func (s *State) settle() {
	s.mu.RLock()
	unsettled := s.unsettled
	s.mu.RUnlock()
	if !unsettled {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.unsettled {
		return
	}
	s.paths = make(map[string][]string, len(s.docs.sites))
	for name := range s.docs.sites { // into another map: the order is all one
		s.paths[name] = pathUp(s.docs.sites, name)
	}
	s.tally = s.recount()
	s.unsettled = false
}

// alive counts the servers of a domain that work now and are not being recovered.
func (s *State) alive(domain string) int {
	s.settle()
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.tally.Sum().Domains[domain].Healthy
}

// recount tallies every server.
func (s *State) recount() *decide.Tally {
	tally := decide.NewTally()
	for name := range s.docs.servers { // sums: the order is all one
		if row, ok := s.row(name); ok {
			tally.Add(row)
		}
	}
	return tally
}

// row is a declared server as it was last recorded: each pass records its verdict.
func (s *State) row(name string) (decide.Row, bool) {
	server, ok := s.docs.servers[name]
	if !ok {
		return decide.Row{}, false
	}
	st, _ := peek[fleet.Status](s, kindStatus, name)
	wait := s.waits[name]
	return decide.Row{
		Waits: wait.domain, WaitsSince: wait.since,
		Server: name, Sites: s.pathOf(st.Host), Verdict: st.Verdict, Phase: st.Phase,
		Since: decide.Lost(st), Cause: st.Cause, Priority: server.rest.Priority,
		Claims: decide.Claims(fleet.Server{Spec: *server.rest}, st),
	}, true
}

// pathOf returns a site and everything above it, the site itself first. The state
// must be settled, and the answer is not the caller's to change.
func (s *State) pathOf(name string) []string {
	if path, ok := s.paths[name]; ok || name == "" {
		return path
	}
	return []string{name}
}

// retally takes the rows of servers out of the tally, lets them change, and counts
// them again.
func (s *State) retally(servers []string, change func() error) error {
	if s.unsettled {
		return change()
	}
	for _, name := range servers {
		if row, ok := s.row(name); ok {
			s.tally.Remove(row)
		}
	}
	err := change()
	if err != nil || s.unsettled {
		s.unsettled = true
		return err
	}
	for _, name := range servers {
		if row, ok := s.row(name); ok {
			s.tally.Add(row)
		}
	}
	return nil
}

// budgetWait is the domain for whose budget a server waits, and since when.
type budgetWait struct {
	domain string
	since  time.Time
}

// wait notes which budget alone holds a server's recovery, "" for none. It is not
// stored: a new controller's first looks tell it again.
func (s *State) wait(server, domain string, now time.Time) {
	s.mu.RLock()
	same := s.waits[server].domain == domain
	s.mu.RUnlock()
	if same {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.retally([]string{server}, func() error {
		if delete(s.waits, server); domain != "" {
			s.waits[server] = budgetWait{domain: domain, since: now}
		}
		return nil
	})
}

// derive brings what follows from a single record to its new value.
func (s *State) derive(name string, value any) {
	switch v := value.(type) {
	case Place:
		taken := v.taken()
		s.freed += max(s.used[name]-taken, 0)
		s.used[name] = taken
	case fleet.Status:
		if delete(s.healing, name); v.Recovery != nil {
			s.healing[name] = true
		}
		if delete(s.bound, name); v.Bound() != "" {
			s.bound[name] = v.Bound()
		}
	case Incident:
		if v.Closed.IsZero() {
			s.open[v.Cause] = v.ID
			return
		}
		s.noteClosed(v)
		if s.open[v.Cause] == v.ID {
			delete(s.open, v.Cause)
		}
	}
}

// taken is the sum of all units of a place.
func (p Place) taken() int {
	sum := 0
	for _, units := range p.Units { // a sum: the order is all one
		sum += units
	}
	return sum
}

// withBound adds to a place the servers that are under way to it by plan: until they are
// placed there, what ended them where they worked has nothing else to lead to. The state is
// locked by the caller.
func (s *State) withBound(host string, p Place) Place {
	var units map[string]int
	for name, to := range s.bound { // each adds its own units: the order is all one
		doc := s.docs.servers[name]
		if to != host || doc == nil || p.Units[name] > 0 {
			continue
		}
		if units == nil {
			units, _ = p.others(name)
		}
		units[name] = max(doc.rest.Placement.Units, 1)
	}
	if units == nil {
		return p
	}
	return Place{Units: units}
}

// Freed returns, once, how many units of hosts were given back.
func (s *State) Freed() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	freed := s.freed
	s.freed = 0
	return freed
}
