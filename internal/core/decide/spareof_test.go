package decide_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"relight/internal/core/decide"
	"relight/internal/core/fleet"
)

// tenant makes a server that needs units on a host: NAME@HOST:UNITS, with +apart to be
// kept from its like, +stays for a disk that never leaves its host.
func tenant(text string) decide.Tenant {
	where, flags, _ := strings.Cut(text, "+")
	var name, host string
	var units int
	fmt.Sscanf(strings.NewReplacer("@", " ", ":", " ").Replace(where), "%s %s %d", &name, &host, &units)
	t := decide.Tenant{Host: host, Relaunches: true, Moves: true}
	t.Server = fleet.Server{Name: name, Labels: map[string]string{"app": strings.TrimRight(name, "0123456789")}}
	t.Server.Spec.Placement.Units = units
	t.Server.Spec.Ladder.Rungs = []fleet.RungSpec{{Rung: fleet.Relaunch, Tries: 3}}
	t.Server.Spec.Identity.Volumes = []fleet.Volume{{Name: "data", Path: "/srv/" + name, Reach: fleet.ReachMachine}}
	switch flags {
	case "apart":
		t.Server.Spec.Placement.Apart = []string{"app"}
	case "stays":
		t.Server.Spec.Identity.Volumes[0].Reach = fleet.ReachHost
	}
	return t
}

func spareHosts(units int, names ...string) []fleet.Host {
	var out []fleet.Host
	for _, n := range names {
		name, site, _ := strings.Cut(n, "/")
		out = append(out, fleet.Host{Name: name, Sites: []string{site, "zone-a"}, InContact: fleet.Yes, Units: units})
	}
	return out
}

// standby puts a standby guest of a server on a host.
func standby(server string, host, units int) func([]fleet.Host) {
	return func(h []fleet.Host) {
		h[host].Warm = []fleet.Warm{{Server: server, Units: units, Ready: true}}
	}
}

func TestSpareOf(t *testing.T) {
	three := []string{"h1/r1", "h2/r1", "h3/r1"}
	everywhere := func(fleet.Server, string) bool { return true }
	for _, c := range []struct {
		name    string
		hosts   []string
		units   int
		tenants string
		reach   func(fleet.Server, string) bool
		lost    func([]fleet.Host)
		want    string // the site that does not bear it and why, or ok
	}{
		{"room for all", three, 4, "a@h1:2 b@h2:2 c@h3:2", everywhere, nil, "ok"},
		{"one unit too few", three, 4, "a@h1:3 b@h2:3 c@h3:3", everywhere, nil, "1 of the 1 servers on h1"},
		{"two halves do not make a whole", three, 4, "a@h1:4 b@h2:2 c@h3:2", everywhere, nil, "2 units are free, 4 are needed"},
		{"the large one first", three, 4, "a@h1:1 b@h1:3 c@h2:1 d@h3:3", everywhere, nil, "ok"},
		{"kept apart", three, 8, "web1@h1:1+apart web2@h2:1+apart web3@h3:1+apart", everywhere, nil, "another server with app=web runs there"},
		{"kept apart with a place left", []string{"h1/r1", "h2/r1", "h3/r1", "h4/r1"}, 8, "web1@h1:1+apart web2@h2:1+apart web3@h3:1+apart", everywhere, nil, "ok"},
		{"no reach", three, 8, "a@h1:1", func(_ fleet.Server, h string) bool { return h == "h1" }, nil, "it does not reach all volumes"},
		{"a disk that stays", three, 8, "a@h1:1+stays", everywhere, nil, "volume data never leaves h1"},
		{"another rack, and no rung that moves", []string{"h1/r1", "h2/r2"}, 8, "a@h1:1", everywhere, nil, "its ladder does not leave its site"},
		{"alone", []string{"h1/r1"}, 8, "a@h1:1", everywhere, nil, "there is no other host"},
		{"a silent host is no spare", []string{"h1/r1", "h2/r1"}, 8, "a@h1:1", everywhere, func(h []fleet.Host) { h[1].InContact = fleet.No }, "its agent is silent"},
		{"nor one without storage", []string{"h1/r1", "h2/r1"}, 8, "a@h1:1", everywhere, func(h []fleet.Host) { h[1].StorageBeat = fleet.No }, "lost the shared storage"},
		{"a standby guest takes room from others", []string{"h1/r1", "h2/r1"}, 4, "a@h1:3 b@h2:1", everywhere, standby("x", 1, 1), "2 units are free, 3 are needed"},
		{"and gives it to its own server", []string{"h1/r1", "h2/r1"}, 4, "a@h1:3 b@h2:1", everywhere, standby("a", 1, 3), "ok"},
		{"which goes to where it waits", []string{"h1/r1", "h2/r1", "h3/r1"}, 4, "a@h1:3 b@h1:1 c@h2:1", everywhere, standby("a", 1, 3), "ok"},
	} {
		hosts := spareHosts(c.units, c.hosts...)
		var tenants []decide.Tenant
		for _, text := range strings.Fields(c.tenants) {
			tn := tenant(text)
			tenants = append(tenants, tn)
			h := slices.IndexFunc(hosts, func(h fleet.Host) bool { return h.Name == tn.Host })
			hosts[h].UsedUnits += tn.Server.Spec.Placement.Units
		}
		if c.lost != nil {
			c.lost(hosts)
		}
		got := decide.SpareOf(hosts, tenants, c.reach)
		all := got.Sites[0]
		said := "ok"
		if !all.OK {
			said = all.Reason
		}
		if all.Site != "fleet" || all.OK != (c.want == "ok") || !strings.Contains(said, c.want) {
			t.Errorf("%s: %s (%v), want %s", c.name, said, all, c.want)
		}
	}
}

func TestWarmCapacityIsCounted(t *testing.T) {
	hosts := spareHosts(8, "h1/r1", "h2/r1", "h3/r2")
	hosts[0].UsedUnits = 3
	standby("a", 1, 3)(hosts)
	got := decide.SpareOf(hosts, []decide.Tenant{tenant("a@h1:3")}, func(fleet.Server, string) bool { return true })
	if s := got.Sites[0]; s.Warm != 3 || s.Used != 3 || s.Units != 24 || s.Hosts != 3 {
		t.Errorf("the fleet: %+v", s)
	}
	if s := got.Sites[1]; s.Site != "r1" || s.Warm != 3 {
		t.Errorf("the standby guest is in the rack of its server: %+v", s)
	}
}

// Whether one server finds a place is the decider's own answer, whatever the hosts are.
func TestSpareIsWhatTheDeciderDoes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		hosts := spareHosts(4, "host-1/r1", "host-2/r1", "host-3/r2", "host-4/r2")
		for i := range hosts {
			h := &hosts[i]
			h.UsedUnits = rapid.IntRange(0, 4).Draw(t, "used")
			h.InContact = pick(t, "contact", fleet.Yes, fleet.Yes, fleet.Yes, fleet.No, fleet.CannotTell)
			h.StorageBeat = pick(t, "storage", fleet.Yes, fleet.CannotTell, fleet.No)
			h.Closed = pick(t, "closed", "", "", "", "it is to be replaced")
			switch pick(t, "warm", "none", "none", "own", "other") {
			case "own":
				h.Warm = []fleet.Warm{{Server: "a", Units: 2, Ready: true}}
			case "other":
				h.Warm = []fleet.Warm{{Server: "b", Units: 1, Ready: true}}
			}
			if rapid.Bool().Draw(t, "reaches") {
				h.Reaches = []string{"data"}
			}
		}
		hosts[0].UsedUnits = 1
		tn := tenant("a@host-1:1")
		tn.Server.Spec.Placement.Units = rapid.IntRange(1, 3).Draw(t, "units")
		tn.Server.Spec.Placement.Sites = pick(t, "sites", nil, []string{"r1"}, []string{"r2", "r1"}, []string{"host-3"})
		tn.Server.Spec.Ladder.Rungs = pick(t, "rungs", []fleet.RungSpec{{Rung: fleet.Relaunch, Tries: 1}}, []fleet.RungSpec{{Rung: fleet.Relaunch, Tries: 1}, {Rung: fleet.Move, Tries: 1}}, []fleet.RungSpec{{Rung: fleet.Move, Tries: 1}})
		tn.Server.Spec.Ladder.Window = fleet.Duration(time.Hour)
		reach := func(_ fleet.Server, host string) bool {
			return slices.ContainsFunc(hosts, func(h fleet.Host) bool { return h.Name == host && len(h.Reaches) > 0 })
		}
		got := decide.SpareOf(hosts, []decide.Tenant{tn}, reach).Hosts[0]

		s := newStory(func(cell) {})
		v := s.v
		v.Server, v.Hosts = tn.Server, slices.Clone(hosts)
		v.Hosts[0].InContact = fleet.No
		v.Status = fleet.Status{Server: "a", Epoch: 2, Host: "host-1", Phase: fleet.PhaseRunning, VerifiedAt: noon.Add(-time.Hour)}
		v.Status.Evidence = []fleet.Evidence{{Method: fleet.Attested, Server: "a", Epoch: 2, By: "kim", At: noon}}
		v.Finding = fleet.Finding{Verdict: fleet.Down, Since: noon, Reason: "its host is lost"}
		d := decide.Next(v, noon)
		placed := d.Step != nil && d.Step.Kind != fleet.StepGiveUp
		if placed != (len(got.Homeless) == 0) {
			t.Fatalf("spare says %v; the decider: %+v %s", got.Homeless, d.Step, d.Reason)
		}
	})
}
