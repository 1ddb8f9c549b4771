package controller

import (
	"errors"
	"strings"
	"testing"
	"time"

	"relight/internal/api/client"
	"relight/internal/core/fleet"
)

// Both die with their host: what needs the other is started after it works.
func TestStartsAfterWhatItNeeds(t *testing.T) {
	r := newRig(t, processStyle(), "app", "db")
	needs := serverYAML("app", "127.0.9.1") + "  after: [db]\n"
	r.mustWorld(applyText(r.live.journal, r.clock.Now(), needs))
	r.until(60*time.Second, "both are launched", func() bool { return r.healthy("app", "db") })
	if app, db := r.status("app"), r.status("db"); app.LaunchedAt.Before(db.VerifiedAt) {
		t.Errorf("app was launched at %s, before db was verified at %s", app.LaunchedAt, db.VerifiedAt)
	}
	r.world.Lock()
	r.mustWorld(r.world.KillHost(r.status("app").Host))
	if r.status("db").Host != r.status("app").Host {
		r.mustWorld(r.world.KillHost(r.status("db").Host))
	}
	r.world.Unlock()
	r.until(2*time.Minute, "both are back", func() bool {
		return r.status("app").Epoch > 1 && r.status("db").Epoch > 1 && r.healthy("app", "db")
	})
	if app, db := r.status("app"), r.status("db"); app.LaunchedAt.Before(db.VerifiedAt) {
		t.Errorf("app was launched at %s, before db was verified at %s", app.LaunchedAt, db.VerifiedAt)
	}
}

// What does not come back by itself is not awaited for ever (L4).
func TestAwaitsNobodyForEver(t *testing.T) {
	r := newRig(t, processStyle(), "app", "db")
	r.mustWorld(applyText(r.live.journal, r.clock.Now(), serverYAML("app", "127.0.9.1")+"  after: [db]\n"))
	r.mustWorld(r.live.journal.Do(t.Context(), r.clock.Now(), func(tx *Tx) error {
		tx.Put(kindPause, "db", fleet.Pause{Server: "db", By: "kim"})
		return nil
	}))
	r.until(20*time.Second, "app is launched though db is paused", func() bool { return r.healthy("app") })
	if r.status("db").Epoch != 0 {
		t.Error("db was started though it is paused")
	}
}

// Who is needed by others is not deleted: a document that names nobody would keep people
// from applying any other.
func TestWhoIsNeededIsNotDeleted(t *testing.T) {
	r := newRig(t, processStyle(), "app", "db")
	r.mustWorld(applyText(r.live.journal, r.clock.Now(), serverYAML("app", "127.0.9.1")+"  after: [db]\n"))
	b := r.backend()
	b.Changed, b.Providers = func() {}, []string{"sim"}
	err := b.Delete(t.Context(), "ann", client.KindServer, "db", 0)
	var refused *client.Problem
	if !errors.As(err, &refused) || refused.Code != client.CodeRefused || !strings.Contains(err.Error(), "app is started after db") {
		t.Fatalf("deleting what app needs: %v", err)
	}
	for _, name := range []string{"app", "db"} {
		if err := b.Delete(t.Context(), "ann", client.KindServer, name, 0); err != nil {
			t.Errorf("nobody needs %s: %v", name, err)
		}
	}
}
