package sim_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"relight/internal/core/fleet"
	"relight/internal/provider/sim"
	"relight/internal/world"
)

// What a sweep says of the volumes that a host reaches is what the world says of
// each pair of a host and a volume.
func TestSweepTellsWhatEachHostReaches(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	w := world.New(world.Config{Clock: world.NewVirtual(time.Date(2031, 5, 1, 12, 0, 0, 0, time.UTC))})
	w.AddSite(world.Site{Name: "zone", Kind: fleet.SiteZone})
	places := []string{"", "zone", "nowhere"}
	for n := range 3 {
		rack := fmt.Sprintf("rack-%d", n)
		w.AddSite(world.Site{Name: rack, Kind: fleet.SiteRack, Parent: "zone"})
		places = append(places, rack)
		for k := range 3 {
			host := fmt.Sprintf("host-%d%d", n, k)
			w.AddHost(world.Host{Name: host, Parent: rack, Units: 8})
			places = append(places, host)
		}
	}
	reaches := []fleet.Reach{fleet.ReachHost, fleet.ReachZone, fleet.ReachShared, fleet.ReachMachine}
	var servers []fleet.Server
	for n := range 30 {
		s := fleet.Server{Name: fmt.Sprintf("s%02d", n)}
		for k := range rng.IntN(4) {
			v := fleet.Volume{Name: fmt.Sprintf("v%d", k), Reach: reaches[rng.IntN(len(reaches))]}
			s.Spec.Identity.Volumes = append(s.Spec.Identity.Volumes, v)
			if rng.IntN(8) > 0 { // some are not there
				w.AddVolume(world.Volume{ID: sim.VolumeID(s, v.Name), Server: s.Name, Reach: v.Reach, Place: places[rng.IntN(len(places))]})
			}
		}
		servers = append(servers, s)
	}
	sweep, err := sim.New(w, sim.Options{AttachFirst: true}).Observe(t.Context(), servers)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range sweep.Hosts {
		want := map[string][]string{}
		for _, s := range servers {
			for _, v := range s.Spec.Identity.Volumes {
				if vol := w.Volume(sim.VolumeID(s, v.Name)); vol != nil && w.Reaches(h.Host.Name, vol) {
					want[s.Name] = append(want[s.Name], v.Name)
				}
			}
		}
		if diff := cmp.Diff(want, h.Reaches); diff != "" {
			t.Errorf("%s reaches other volumes than in the world:\n%s", h.Host.Name, diff)
		}
	}
}
