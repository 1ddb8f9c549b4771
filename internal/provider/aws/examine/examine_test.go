package examine

import (
	"strings"
	"testing"
	"time"

	"relight/internal/core/fleet"
	"relight/internal/provider/aws"
)

func facts() Facts {
	s := fleet.Server{Name: "db"}
	s.Spec.Template.EC2 = &fleet.EC2Template{LaunchTemplate: "lt-1", Version: 1, AutoRecovery: fleet.AutoRecoveryOurs}
	s.Spec.Identity.Volumes = []fleet.Volume{{Name: "data", ID: "vol-1"}}
	s.Spec.Identity.Interfaces = []fleet.Interface{{ID: "eni-1"}}
	return Facts{
		Quotas: aws.DefaultQuotas(), Share: 1, RTO: 15 * time.Minute, Servers: []fleet.Server{s}, QuotaCPUs: 10, UsedCPUs: 2,
		Machines: []aws.Machine{{ID: "i-1", State: "running", AutoRecovery: "disabled", Tags: map[string]string{aws.TagServer: "db"}}},
		Launches: map[string]Launch{"db": {Type: "m7i.large", Subnet: "s"}}, Subnets: map[string]Subnet{"s": {Zone: "a", Free: 5}},
		Offered: map[string][]string{"a": {"m7i.large"}}, CPUs: map[string]int{"m7i.large": 2}, Reserved: []Reserved{{Type: "m7i.large", Zone: "a", Free: 1}},
		Volumes: map[string]Volume{"vol-1": {Zone: "a", Type: "gp3"}}, Facets: map[string]Facet{},
	}
}

// outposts puts the server on op-1, with others that it may go to; free are the slots of its
// type on those that tell them.
func (f *Facts) outposts(free map[string]int, others ...string) {
	f.Subnets["s"] = Subnet{Zone: "a", Outpost: "op-1", Free: 5}
	e := &fleet.EC2Elsewhere{}
	for _, o := range others {
		e.Zones = append(e.Zones, fleet.EC2Zone{Zone: "a", Outpost: o})
	}
	f.Servers[0].Spec.Template.EC2.Elsewhere = e
	f.Rooms = map[string]Room{}
	for o, n := range free { // order: each by itself
		f.Rooms[o] = Room{Free: map[string]int{"m7i.large": n}}
	}
}

// A fact that is wrong gives one finding with a reason and a remedy; without one, all
// is well.
func TestExamine(t *testing.T) {
	for _, x := range []struct {
		want  string
		state State
		spoil func(*Facts)
	}{
		{"", OK, func(*Facts) {}},
		{"simplified automatic recovery", Warn, func(f *Facts) { f.Machines[0].AutoRecovery = "default" }},
		{"protected from being terminated", Fail, func(f *Facts) { f.Facets["i-1"] = Facet{Protected: true} }},
		{"eni-1 ends with i-1", Warn, func(f *Facts) { f.Machines[0].Ending = map[string]string{"eni-1": "a-1"} }},
		{"is deleted with its instance", Warn, func(f *Facts) { f.Volumes["vol-1"] = Volume{Zone: "a", Ends: true} }},
		{"has no complete snapshot", Fail, func(f *Facts) {
			f.Servers[0].Spec.Identity.Volumes[0].FromSnapshot = &fleet.FromSnapshot{MaxLoss: fleet.Duration(time.Hour)}
			f.Snapshots = map[string]aws.Snapshot{}
		}},
		{"is 2h0m0s old, and fromSnapshot.maxLoss allows 1h", Warn, func(f *Facts) {
			f.Servers[0].Spec.Identity.Volumes[0].FromSnapshot = &fleet.FromSnapshot{MaxLoss: fleet.Duration(time.Hour)}
			f.At = reservationsSince
			f.Snapshots = map[string]aws.Snapshot{"vol-1": {ID: "snap-1", At: f.At.Add(-2 * time.Hour)}}
		}},
		{"no reserved capacity", Warn, func(f *Facts) { f.Reserved[0].Free = 0 }},
		{"is Multi-Attach without reservations", Fail, func(f *Facts) {
			f.Volumes["vol-1"] = Volume{Zone: "a", Type: "io2", Multi: true, Created: reservationsSince.Add(-time.Hour)}
		}},
		{"is attached to i-1, i-2", Warn, func(f *Facts) {
			f.Volumes["vol-1"] = Volume{Zone: "a", Type: "io2", Multi: true, Created: reservationsSince, Holders: []string{"i-1", "i-2"}}
		}},
		{"the outpost op-1", Warn, func(f *Facts) { f.Subnets["s"] = Subnet{Zone: "a", Outpost: "op-1", Free: 5} }},
		{"", OK, func(f *Facts) { f.outposts(map[string]int{"op-1": 1}) }},
		{"the outpost op-1 has no free slot for m7i.large", Fail, func(f *Facts) { f.outposts(map[string]int{"op-1": 0}) }},
		{"", OK, func(f *Facts) { f.outposts(map[string]int{"op-1": 0, "op-2": 1}, "op-2") }},
		{"the outpost op-3 has no free slot", Warn, func(f *Facts) { f.outposts(map[string]int{"op-1": 0, "op-2": 1, "op-3": 0}, "op-2", "op-3") }},
		{"it needs room on the outpost op-2", Warn, func(f *Facts) { f.outposts(map[string]int{"op-1": 0}, "op-2") }},
		{"i-1 has drifted from what is declared: ~ a; ~ b", Warn, func(f *Facts) { f.Drift = map[string]Drift{"db": {Instance: "i-1", Fields: []string{"~ a", "~ b"}}} }},
		{"~ 5; and 2 more", Warn, func(f *Facts) {
			f.Drift = map[string]Drift{"db": {Instance: "i-1", Fields: []string{"~ 1", "~ 2", "~ 3", "~ 4", "~ 5", "~ 6", "~ 7"}}}
		}},
		{"not all of the instance could be read: db (denied)", Warn, func(f *Facts) { f.Drift = map[string]Drift{"db": {Instance: "i-1", Blind: "denied"}} }},
		{"3 more servers are not held against their instances: x, y, z", Warn, func(f *Facts) { f.Undrifted = []string{"x", "y", "z"} }},
		{"no free address", Fail, func(f *Facts) {
			f.Subnets["s"] = Subnet{Zone: "a"}
			f.Servers[0].Spec.Identity.Interfaces = nil
		}},
		{"vCPUs of standard types are used; db needs 2", Fail, func(f *Facts) { f.UsedCPUs = 9 }},
		{"vCPU quota could not be read", Warn, func(f *Facts) { f.QuotaCPUs = 0 }},
		{"waits", Fail, func(f *Facts) { f.Servers[0].Spec.After = []string{"db"} }},
	} {
		f := facts()
		x.spoil(&f)
		var bad []Finding
		for _, n := range Examine(f) {
			if n.State != OK {
				bad = append(bad, n)
			}
		}
		switch {
		case x.want == "" && len(bad) > 0:
			t.Errorf("all is well, and there is %+v", bad)
		case x.want != "" && (len(bad) != 1 || bad[0].State != x.state || !strings.Contains(bad[0].What, x.want) || bad[0].Why == "" || bad[0].Next == ""):
			t.Errorf("want %s %q: %+v", x.state, x.want, bad)
		}
	}
}

// What is foretold is what the quotas give: a start each half second once the burst is
// used up, and nothing sooner than one recovery takes.
func TestForetold(t *testing.T) {
	back := func(n int, share float64) time.Duration {
		f := facts()
		f.Share, f.RTO = share, time.Second
		s := f.Servers[0]
		f.Servers = nil
		for i := range n {
			s.Name = strings.Repeat("x", i+1)
			f.Servers = append(f.Servers, s)
		}
		found := f.pace()
		if found.State != Fail || !strings.HasPrefix(found.What, "cannot meet its RTO with today's quotas") {
			t.Fatalf("%+v", found)
		}
		d, err := time.ParseDuration(found.Next[strings.LastIndexByte(found.Next, ' ')+1:])
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	one, many, half := back(1, 1), back(205, 1), back(205, 0.5)
	if alone := detects + ends + starts + attaches + verifies; one != alone {
		t.Errorf("one is back after %s, want %s", one, alone)
	}
	if grown := many - one; grown < 95*time.Second || grown > 110*time.Second {
		t.Errorf("200 beyond the burst take %s longer, want 100s at 2 a second", grown)
	}
	f := facts()
	f.Quotas = f.Quotas.With(map[string]float64{"RunInstances": 0.01})
	f.Servers = append(f.Servers, f.Servers[0])
	f.Servers[1].Name = "db2"
	if p := f.pace(); p.State != OK {
		t.Errorf("two are within a burst of one and 100 s: %+v", p)
	}
	if f.RTO = 6 * time.Minute; f.pace().State != Fail {
		t.Errorf("a quota that the account told makes no difference: %+v", f.pace())
	}
	if half-one < 190*time.Second {
		t.Errorf("with half of the quotas they take only %s longer", half-one)
	}
}
