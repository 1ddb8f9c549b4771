package controller

import (
	"context"
	"strings"
	"testing"
	"time"

	"relight/internal/core/fleet"
)

// Who would die with a host that fell silent is named in the view of each server of
// it: the decider spares what it is told of (S5).
func TestASilentHostsNeighboursAreTold(t *testing.T) {
	names := []string{"a", "b", "c", "d", "e", "f"}
	r := newRig(t, processStyle(), names...)
	r.until(30*time.Second, "all are launched", func() bool { return r.healthy(names...) })
	r.mustWorld(applyText(r.live.journal, r.clock.Now(), strings.Replace(siteYAML, "mode: auto", "mode: ask", 1)))
	home := r.status("a").Host
	want := map[string]bool{}
	for _, n := range names[1:] {
		if r.status(n).Host == home {
			want[n] = true
		}
	}
	if len(want) == 0 {
		t.Fatal("a lives alone")
	}
	r.world.Lock()
	r.mustWorld(r.world.KillHost(home))
	r.world.Unlock()
	neighbours := func() []fleet.Neighbour {
		for _, h := range r.live.viewer.View("a", r.clock.Now()).Hosts {
			if h.Name == home {
				return h.Neighbours
			}
			if len(h.Neighbours) > 0 {
				t.Fatalf("%s is in contact and lists neighbours", h.Name)
			}
		}
		return nil
	}
	r.until(5*time.Second, "the neighbours are told", func() bool { return len(neighbours()) == len(want) })
	for _, n := range neighbours() {
		if !want[n.Server] {
			t.Fatalf("%+v is no neighbour", n)
		}
	}
}

// A server that is taken over where it runs takes its place there, and is healed
// only when its own checks have passed since (S14, S15).
func TestAnAdoptedServerTakesItsPlaceAndIsVerified(t *testing.T) {
	r := newRig(t, processStyle(), "db")
	r.until(20*time.Second, "it is launched", func() bool { return r.healthy("db") })
	r.world.Lock()
	r.mustWorld(r.world.Kill(r.instanceOf("db")))
	r.world.Unlock()
	r.until(20*time.Second, "it is relaunched", func() bool { return r.status("db").Epoch == 2 && r.healthy("db") })
	old := r.status("db")
	home := old.Host
	old.Epoch, old.Host = 1, "host-3"
	if home == "host-3" {
		old.Host = "host-2"
	}
	err := r.live.journal.Do(context.Background(), r.clock.Now(), func(tx *Tx) error { // as an old backup has it
		tx.Put(kindStatus, "db", old)
		tx.Put(kindPlace, home, Place{Units: map[string]int{"another": 8}})
		tx.Put(kindPlace, old.Host, Place{Units: map[string]int{"db": 1}})
		return nil
	})
	r.mustWorld(err)
	r.until(10*time.Second, "it is taken over and verified", func() bool {
		st := r.status("db")
		return st.Epoch == 2 && st.Host == home && !st.VerifiedAt.IsZero() && st.VerifiedAt.After(st.LaunchedAt)
	})
	at, _ := Get[Place](r.live.state, kindPlace, home)
	before, _ := Get[Place](r.live.state, kindPlace, old.Host)
	if at.Units["db"] != 1 || at.Units["another"] != 8 || before.Units["db"] != 0 {
		t.Fatalf("places: %v at %s, %v at %s", at.Units, home, before.Units, old.Host)
	}
}
