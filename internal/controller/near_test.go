package controller

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"relight/internal/core/decide"
	"relight/internal/core/fleet"
	"relight/internal/provider"
	"relight/internal/store/mem"
)

// crowd is a site of many hosts of its own, in racks of ten, as a controller knows it.
type crowd struct {
	*Viewer
	journal *Journal
	now     time.Time
}

func newCrowd(t *testing.T, rng *rand.Rand, hosts int) *crowd {
	t.Helper()
	c := &crowd{now: time.Date(2031, 5, 1, 12, 0, 0, 0, time.UTC)}
	state := NewState()
	c.journal = NewJournal(state, mem.New(mem.Options{Now: func() time.Time { return c.now }}))
	traits := fleet.Traits{Provider: "sim", Places: true, Rungs: []fleet.Rung{fleet.RestartApp, fleet.Relaunch, fleet.Move}}
	c.Viewer = &Viewer{
		State: state, Collector: NewCollector(c.now, time.Minute), Traits: map[string]fleet.Traits{"sim": traits},
		Authority: func() fleet.Authority { return fleet.Authority{Term: 1, Until: c.now.Add(time.Hour)} }, Trouble: func() string { return "" },
	}
	var text strings.Builder
	text.WriteString(siteYAML)
	for z := range 2 {
		fmt.Fprintf(&text, "---\napiVersion: relight/v1alpha1\nkind: Site\nmetadata: {name: zone-%d}\nspec: {kind: zone}\n", z)
	}
	for rack := range (hosts + 9) / 10 {
		fmt.Fprintf(&text, "---\napiVersion: relight/v1alpha1\nkind: Site\nmetadata: {name: rack-%d}\nspec: {kind: rack, parent: zone-%d}\n", rack, rack%2)
	}
	sweep := provider.Sweep{At: c.now}
	for n := range hosts {
		fmt.Fprintf(&text, "---\napiVersion: relight/v1alpha1\nkind: Site\nmetadata: {name: host-%d}\nspec: {kind: host, parent: rack-%d}\n", n, n/10)
		contact := fleet.Yes
		if rng.IntN(3) == 0 {
			contact = fleet.No
		}
		sweep.Hosts = append(sweep.Hosts, provider.HostSight{Host: fleet.Host{Name: fmt.Sprintf("host-%d", n), Units: 1 + rng.IntN(9), InContact: contact}})
	}
	if err := applyText(c.journal, c.now, text.String()); err != nil {
		t.Fatal(err)
	}
	c.Collector.Take(sweep)
	if err := c.journal.Do(t.Context(), c.now, func(tx *Tx) error {
		for n := range hosts {
			tx.Put(kindPlace, fmt.Sprintf("host-%d", n), Place{Units: map[string]int{"other": rng.IntN(9)}})
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return c
}

// lost declares a server whose instance was reaped on some host.
func (c *crowd) lost(t *testing.T, rng *rand.Rand, hosts int) {
	t.Helper()
	placement := []string{"{units: 3}", "{sites: [zone-1]}", "{sites: [rack-3, zone-0], units: 2}", "{sites: [rack-1]}"}[rng.IntN(4)]
	rungs := []string{"[{rung: relaunch, tries: 2}, {rung: move, tries: 2}]", "[{rung: move, tries: 2}]", "[{rung: relaunch, tries: 1}]"}[rng.IntN(3)]
	if err := applyText(c.journal, c.now, fmt.Sprintf("apiVersion: relight/v1alpha1\nkind: Server\nmetadata: {name: db}\nspec:\n  provider: sim\n  template: {sim: {}}\n  placement: %s\n  ladder: {rungs: %s}\n", placement, rungs)); err != nil {
		t.Fatal(err)
	}
	host := fmt.Sprintf("host-%d", rng.IntN(hosts))
	if err := c.journal.Do(t.Context(), c.now, func(tx *Tx) error {
		tx.Put(kindStatus, "db", fleet.Status{Server: "db", Phase: fleet.PhaseRunning, Epoch: 1, Host: host, LaunchedAt: c.now.Add(-time.Hour), VerifiedAt: c.now.Add(-time.Hour), Verdict: fleet.Healthy})
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	c.Collector.Take(provider.Sweep{At: c.now, Servers: []provider.ServerSight{{
		Observed: fleet.Observed{Server: "db", At: c.now, Complete: true, Instances: []fleet.Instance{{Server: "db", Epoch: 1, Host: host, State: fleet.InstanceReaped, At: c.now}}},
		Signals: []fleet.Signal{{
			Source: fleet.Source{Channel: fleet.ChannelAgent, Vantage: host}, Question: fleet.Alive, Epoch: 1, Answer: fleet.No, CannotLie: true, At: c.now, Since: c.now,
		}},
	}}})
}

// What is decided with some of the hosts is what is decided with all, or does not
// suffice.
func TestSomeHostsSuffice(t *testing.T) {
	const hosts = 400
	placed, refused, late := 0, 0, 0
	for seed := range uint64(40) {
		rng := rand.New(rand.NewPCG(seed, 1))
		c := newCrowd(t, rng, hosts)
		c.lost(t, rng, hosts)
		near := c.own("db", c.now, &Known{})
		c.joinNear(&near, c.now)
		if !near.some || len(near.Hosts) > hosts/2 {
			t.Fatalf("seed %d: %d of %d hosts are looked at", seed, len(near.Hosts), hosts)
		}
		all := c.View("db", c.now)
		d, want := decide.Next(near.View, c.now), decide.Next(all.View, c.now)
		if !decide.Suffices(near.View, d) {
			refused++
			if want.Takes.Host != "" {
				late++
			}
			continue
		}
		placed++
		if d.Step == nil || want.Step == nil || *d.Step != *want.Step || d.Takes.Host != want.Takes.Host {
			t.Errorf("seed %d: with some hosts %s, with all %s", seed, d.Reason, want.Reason)
		}
	}
	// Whoever has nowhere to go asks for all.
	t.Logf("%d were placed and %d asked for all hosts, of which %d found a place", placed, refused, late)
	if placed < 10 || refused < 3 || late > 0 {
		t.Errorf("%d were placed and %d asked for all hosts, of which %d found a place: want some, some and none", placed, refused, late)
	}
}

// Where hosts come back, those who wait for a place are woken, as many as may find
// one; without that, the crowd of them is looked at seldom.
func TestRoomWakesTheHomeless(t *testing.T) {
	c := newCrowd(t, rand.New(rand.NewPCG(1, 1)), 20)
	h := &Healer{}
	l := &Loops{Healer: h, Collector: c.Collector, State: c.State, Deadlines: NewDeadlines()}
	woken := func(after time.Duration) int {
		now := c.now.Add(after)
		c.Collector.Tick(now)
		l.wakeHomeless(now)
		return len(l.Deadlines.Take(now))
	}
	woken(0)
	for n := range 100 {
		h.holdsAnew(fmt.Sprintf("s-%02d", n), &decide.Hold{Gate: decide.GatePlacement}, c.now)
	}
	if n := woken(2 * time.Second); n != 0 {
		t.Errorf("%d are woken though there is no more room", n)
	}
	c.Collector.Take(provider.Sweep{At: c.now, Hosts: []provider.HostSight{{Host: fleet.Host{Name: "host-99", Units: 3, InContact: fleet.Yes}}}})
	if n := woken(3 * time.Second); n != 12 {
		t.Errorf("3 units come: %d are woken, want 12", n)
	}
	if err := c.journal.Do(t.Context(), c.now, func(tx *Tx) error {
		tx.Put(kindPlace, "host-99", Place{Units: map[string]int{"a": 2, "b": 1}})
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if n := woken(5 * time.Second); n != 0 {
		t.Errorf("%d are woken by room that is taken", n)
	}
	if err := c.journal.Do(t.Context(), c.now, func(tx *Tx) error {
		tx.Put(kindPlace, "host-99", Place{Units: map[string]int{"a": 2}})
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if n := woken(5500*time.Millisecond) + woken(7*time.Second); n != 4 {
		t.Errorf("a unit is given back: %d are woken, want 4", n)
	}
}
