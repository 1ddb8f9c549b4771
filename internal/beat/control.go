package beat

// SetWork sets the "work waiting" bit of the agent's acks.
func (t *Table) SetWork(id AgentID, waiting bool) {
	t.with(id, func(a *agentState) { a.work = waiting })
}

// Withhold stops granting leases to the agent and returns when all that was
// granted has ended, by whomever. No later ack moves that deadline.
func (t *Table) Withhold(id AgentID) (until int64) {
	until = t.assumed.Load()
	t.with(id, func(a *agentState) {
		a.withheld = true
		until = max(until, a.grantedUntil)
	})
	return until
}

// Release grants leases to the agent again.
func (t *Table) Release(id AgentID) {
	t.with(id, func(a *agentState) { a.withheld = false })
}

// Rekey says that the agent's keys have changed. The old key is taken until a beat
// comes that is sealed with another one of the keyring, so that no beat is lost.
func (t *Table) Rekey(id AgentID) {
	t.with(id, func(a *agentState) { a.rekey = true })
}

// Drop forgets the agent: its window, items and grant. A beat is then taken only
// if the keyring still has a key. Dropping an agent that may hold a lease loses the
// deadline; take it from [Table.Withhold] first.
func (t *Table) Drop(id AgentID) {
	s := t.stripe(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remove(id)
}

// Forget drops what the agent said about the server, as when the server has moved.
// If the agent speaks of it again, Allowed is asked again.
func (t *Table) Forget(id AgentID, server string) {
	t.with(id, func(a *agentState) {
		if i, ok := a.find([]byte(server)); ok {
			a.items = append(a.items[:i], a.items[i+1:]...)
			a.hint = 0
		}
	})
}

// Recheck has Allowed asked again for each item with the next beat. An item that
// is no longer allowed is dropped then.
func (t *Table) Recheck() { t.checked.Add(1) }
