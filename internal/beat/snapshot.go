package beat

// Seen is what the table knows about an agent.
type Seen struct {
	// At is when its newest beat was taken, on the controller's clock; 0 if none was.
	At int64
	// SentAt is that beat's stamp, on the agent's clock.
	SentAt int64
	// Counter is that beat's counter.
	Counter uint64
	Kind    Kind
	// GrantedUntil is when all leases that were granted to it have ended.
	GrantedUntil int64
	Withheld     bool
}

// ItemState is what an agent said last about a server.
type ItemState struct {
	// Item is as the agent said it, but Since is on the controller's clock.
	Item
	// At is when the agent last spoke of the server; ProgressAt is when Progress
	// last changed. Both on the controller's clock.
	At, ProgressAt int64
}

// Stats are counts since the table was made.
type Stats struct {
	// Accepted beats, and Hellos that were answered but prove nothing.
	Accepted, Hellos uint64
	// Dropped counts datagrams and items that were not taken, by [Reason].
	Dropped [reasons]uint64
}

func (it *itemState) state() ItemState {
	return ItemState{
		Item: Item{
			Server: it.server, Epoch: it.epoch, Progress: it.progress, Since: it.sinceHere,
			Alive: it.alive, Works: it.works, CannotLie: it.cannotLie,
		},
		At: it.at, ProgressAt: it.progressAt,
	}
}

func (t *Table) seen(a *agentState) Seen {
	return Seen{
		At: a.at, SentAt: a.sentAt, Counter: a.window.highest, Kind: a.kind,
		GrantedUntil: max(a.grantedUntil, t.assumed.Load()), Withheld: a.withheld,
	}
}

// look runs f on the agent's state under its lock, and never makes one.
func (t *Table) look(id AgentID, f func(*agentState)) bool {
	s := t.stripe(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.find(id)
	if a != nil {
		f(a)
	}
	return a != nil
}

// Last returns what is known about the agent. If nothing is, ok is false, but
// GrantedUntil is what an earlier owner may have granted.
func (t *Table) Last(id AgentID) (seen Seen, ok bool) {
	seen.GrantedUntil = t.assumed.Load()
	ok = t.look(id, func(a *agentState) { seen = t.seen(a) })
	return seen, ok
}

// Items appends what the agent said about each of its servers, sorted by name.
func (t *Table) Items(id AgentID, dst []ItemState) []ItemState {
	t.look(id, func(a *agentState) {
		for i := range a.items {
			dst = append(dst, a.items[i].state())
		}
	})
	return dst
}

// Item returns what the agent said last about the server.
func (t *Table) Item(id AgentID, server string) (state ItemState, ok bool) {
	t.look(id, func(a *agentState) {
		i, found := a.find([]byte(server))
		if found {
			state, ok = a.items[i].state(), true
		}
	})
	return state, ok
}

// Each calls f for every agent with its items, in no particular order. The items
// are valid during the call only. A part of the table is locked meanwhile, so f
// must be quick and must not call the table back.
func (t *Table) Each(f func(AgentID, Seen, []ItemState)) {
	var items []ItemState
	for i := range t.stripes {
		s := &t.stripes[i]
		s.mu.Lock()
		for j := range s.agents {
			a := &s.agents[j]
			items = items[:0]
			for k := range a.items {
				items = append(items, a.items[k].state())
			}
			f(a.id, t.seen(a), items)
		}
		s.mu.Unlock()
	}
}

// Stats returns the counts.
func (t *Table) Stats() Stats {
	st := Stats{Accepted: t.accepted.Load(), Hellos: t.hellos.Load()}
	for r := range st.Dropped {
		st.Dropped[r] = t.dropped[r].Load()
	}
	return st
}
