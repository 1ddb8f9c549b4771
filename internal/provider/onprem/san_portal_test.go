package onprem

import (
	"slices"
	"testing"

	"relight/internal/core/fleet"
	"relight/internal/provider/onprem/link"
)

// An array with several portals: the agents try each, and a launch carries all of them.
func TestSeveralPortals(t *testing.T) {
	s, fenced := newShelf(), fleet.Epoch(0)
	h := sanHub(t, s, &fenced)
	site := h.sites["dc"]
	site.Spec.Arrays = []fleet.Array{{Name: "san-1", Driver: fleet.ArrayTGT, Portal: "192.0.2.1:3260", MorePortals: []string{"198.51.100.1:3260"}}}
	h.SetSites([]fleet.Site{site})
	disks, err := h.disks(t.Context(), sanCall(fleet.StepLaunch, 1))
	if err != nil || len(disks) != 2 {
		t.Fatalf("%+v, %v", disks, err)
	}
	for _, d := range disks {
		if d.Portal != "192.0.2.1:3260" || !slices.Equal(d.MorePortals, []string{"198.51.100.1:3260"}) {
			t.Errorf("%+v", d)
		}
	}
	h.mu.Lock()
	w := h.watchOf(h.hosts["host-1"])
	h.mu.Unlock()
	if want := []link.Portal{{Array: "san-1", Addr: "192.0.2.1:3260"}, {Array: "san-1", Addr: "198.51.100.1:3260"}}; !slices.Equal(w.Portals, want) {
		t.Errorf("%+v", w.Portals)
	}
}
