package controller

import (
	"testing"
	"time"

	"relight/internal/api/client"
	"relight/internal/world"
)

// A server that is forgotten and declared again while it runs takes its place again
// (S5, S15), and one whose size changes takes as much as it says.
func TestDeclaredAgainItTakesItsPlace(t *testing.T) {
	r := newRig(t, processStyle(), "db")
	r.until(30*time.Second, "it is launched", func() bool { return r.healthy("db") })
	b := r.backend()
	b.Providers, b.Changed = []string{"sim"}, func() {}
	host := r.status("db").Host
	taken := func() int {
		place, _ := Get[Place](r.live.state, kindPlace, host)
		return place.Units["db"]
	}
	if taken() != 1 {
		t.Fatalf("it takes %d units where it was started", taken())
	}
	doc, err := b.Document(t.Context(), client.KindServer, "db")
	r.mustWorld(err)
	r.mustWorld(b.Delete(t.Context(), "ann", client.KindServer, "db", 0))
	if taken() != 0 {
		t.Fatal("it is forgotten and takes a place")
	}
	doc.Revision = 0
	_, err = b.Apply(t.Context(), "ann", client.ApplyRequest{Documents: []client.Document{doc}})
	r.mustWorld(err)
	if taken() != 1 {
		t.Error("it runs there still, and nobody counts it")
	}
}

// A server that is deleted runs on, and its room is taken: no other is placed there.
func TestForgottenServerKeepsItsRoom(t *testing.T) {
	r := newRig(t, processStyle(), "db", "web")
	r.until(30*time.Second, "they are launched", func() bool { return r.healthy("db") && r.healthy("web") })
	b := r.backend()
	b.Providers, b.Changed = []string{"sim"}, func() {}
	host := r.status("db").Host
	used := func(server string) int {
		for _, h := range r.live.viewer.View(server, r.clock.Now()).Hosts {
			if h.Name == host {
				return h.UsedUnits
			}
		}
		return -1
	}
	before := used("web")
	r.mustWorld(b.Delete(t.Context(), "ann", client.KindServer, "db", 0))
	if used("web") != before || before < 1 {
		t.Errorf("%s has %d units in use, and %d once db was deleted, which runs there still", host, before, used("web"))
	}
	r.world.Lock()
	r.mustWorld(r.world.Reap(r.world.Find("db", 1), "ended"))
	r.world.Unlock()
	r.until(30*time.Second, "its room is seen free", func() bool { return used("web") == before-1 })
}

// What is left of an epoch that was replaced takes its room until it has gone: no other
// server is placed there.
func TestLeftoverKeepsItsRoom(t *testing.T) {
	r := newRig(t, processStyle(), "db", "web")
	r.until(30*time.Second, "they are launched", func() bool { return r.healthy("db", "web") })
	home := r.status("db").Host
	to := map[string]string{"host-1": "host-2", "host-2": "host-3", "host-3": "host-1"}[home]
	_, err := r.backend().Move(t.Context(), "ann", "db", client.MoveRequest{To: to, Reason: "new memory"})
	r.mustWorld(err)
	used := func() int {
		for _, h := range r.live.viewer.View("web", r.clock.Now()).Hosts {
			if h.Name == home {
				return h.UsedUnits
			}
		}
		return -1
	}
	alone := 0
	r.until(30*time.Second, "it runs over there", func() bool {
		alone = used()
		return r.status("db").Epoch == 2 && r.healthy("db")
	})
	r.world.Lock()
	_, err = r.world.Prepare(world.Request{Server: "db", Epoch: 1, Host: home, Style: world.Process, Units: 1})
	r.world.Unlock()
	r.mustWorld(err)
	r.until(30*time.Second, "what is left takes its room", func() bool { return used() == alone+1 })
	r.until(time.Minute, "it was ended, and its room is free", func() bool { return used() == alone })
}
