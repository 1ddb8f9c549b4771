package controller

import (
	"time"

	"relight/internal/core/decide"
	"relight/internal/core/fleet"
)

// neighbours adds to the hosts that a fence of the server could switch off those
// who would die with them (S5). Other hosts are left alone: during the loss of a
// rack every look would count every server.
func (w *Viewer) neighbours(v *viewed, now time.Time) {
	ran := map[string]bool{v.Status.Host: true}
	if r := v.Status.Recovery; r != nil {
		ran[r.FromHost] = true
	}
	for _, i := range v.Observed.Instances {
		ran[i.Host] = true
	}
	for i := range v.Hosts {
		h := &v.Hosts[i]
		if !ran[h.Name] || !h.Power || h.InContact == fleet.Yes {
			continue
		}
		place, _ := Get[Place](w.State, kindPlace, h.Name)
		for _, name := range sortedKeys(place.Units) {
			server, ok := w.State.Server(name)
			if !ok || name == v.Server.Name {
				continue
			}
			other := decide.View{Server: server, Status: w.State.Status(name), Traits: w.Traits[server.Spec.Provider].For(server)}
			other.Guards = w.guards(server, other.Status)
			for _, site := range append([]string{h.Name}, h.Sites...) {
				other.Around.Domains = append(other.Around.Domains, fleet.Domain{Name: site})
			}
			if n, there := decide.NeighbourOn(h.Name, other, now); there {
				h.Neighbours = append(h.Neighbours, n)
			}
		}
	}
}
