package controller

import (
	"slices"

	"relight/internal/core/fleet"
)

// forgotten is the room that a host's agent counts as used beyond what the store knows,
// where an instance runs there of which no document is left: a server that is deleted is
// forgotten, not stopped. Without it a planned move would end a server that works for a
// place that is taken. What the server in the view has there itself is left out. The
// state is locked by the caller.
func (w *Viewer) forgotten(h fleet.Host, place Place, server fleet.Server) int {
	over := h.UsedUnits - w.State.used[h.Name]
	for _, standby := range h.Warm {
		over -= standby.Units
	}
	if over <= 0 {
		return 0
	}
	there := w.Collector.There(h.Name)
	if !slices.ContainsFunc(there, func(name string) bool { return w.State.docs.servers[name] == nil }) {
		return 0
	}
	if place.Units[server.Name] == 0 && slices.Contains(there, server.Name) {
		over -= max(server.Spec.Placement.Units, 1)
	}
	return max(over, 0)
}

// There names the servers of which the host has told that they have an instance on it.
func (c *Collector) There(host string) []string {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if h, ok := c.hosts[host]; ok {
		return h.servers // replaced as a whole, never changed
	}
	return nil
}
