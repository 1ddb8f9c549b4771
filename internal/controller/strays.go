package controller

import "relight/internal/core/fleet"

// strays is the room on a host that instances take which the store counts to no server
// there: of replaced epochs, and of a server that was deleted, which is forgotten and not
// stopped. Without it a planned move would end a server that works for a place that is
// taken. What the server in the view has there itself is left out. The state is locked by
// the caller.
func (w *Viewer) strays(h fleet.Host, place Place, server fleet.Server) int {
	known, own, forgotten := 0, -place.Units[server.Name], false
	for _, there := range w.Collector.There(h.Name) {
		doc := w.State.docs.servers[there.name]
		switch {
		case there.name == server.Name:
			own += there.instances * max(server.Spec.Placement.Units, 1)
		case doc == nil:
			forgotten = true
		default:
			known += max(there.instances*max(doc.rest.Placement.Units, 1)-place.Units[there.name], 0)
		}
	}
	if !forgotten {
		return known
	}
	return max(known, w.uncounted(h)-max(own, 0))
}

// uncounted is how many more units the agent of a host counts as used than the store does.
func (w *Viewer) uncounted(h fleet.Host) int {
	over := h.UsedUnits - w.State.used[h.Name]
	for _, standby := range h.Warm {
		over -= standby.Units
	}
	return over
}

// tenant is a server with the number of its instances that take room on a host.
type tenant struct {
	name      string
	instances int
}

// There lists the servers of which the host has told that they have an instance on it.
func (c *Collector) There(host string) []tenant {
	c.mu.RLock()
	defer c.mu.RUnlock()
	h, ok := c.hosts[host]
	if !ok {
		return nil
	}
	out := make([]tenant, 0, len(h.servers))
	for _, name := range h.servers {
		t := tenant{name: name}
		if s := c.servers[name]; s != nil {
			for _, i := range s.observed.Instances {
				if i.Host == host && i.State.TakesRoom(i.Alive) {
					t.instances++
				}
			}
		}
		out = append(out, t)
	}
	return out
}
