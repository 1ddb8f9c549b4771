package controller

import (
	"context"
	"testing"
	"time"

	"relight/internal/core/event"
	"relight/internal/core/fleet"
	"relight/internal/provider/sim"
	"relight/internal/spec"
	"relight/internal/world"
)

// applyText puts one document into the store as the API would.
func applyText(j *Journal, now time.Time, text string) error {
	docs, err := spec.Parse(spec.File{Name: "test.yaml", Data: []byte(text)})
	if err != nil {
		return err
	}
	return j.Do(context.Background(), now, func(tx *Tx) error {
		for _, d := range docs {
			tx.Put(map[spec.Kind]string{spec.KindServer: kindServer, spec.KindSite: kindSite, spec.KindPolicy: kindPolicy}[d.Kind], d.Name, Document{Raw: d.Raw})
			tx.Emit(event.Event{Kind: event.ServerDeclared, Server: d.Name})
		}
		return nil
	})
}

func processStyle() sim.Options {
	return sim.Options{AttachFirst: true, Rungs: []fleet.Rung{fleet.RestartApp, fleet.Relaunch, fleet.Move}}
}

// A whole life on one thread, with no goroutine: declared, launched, killed,
// relaunched; then its host dies; then it is cut off.
func TestWholeRecoveryOnOneThread(t *testing.T) {
	r := newRig(t, processStyle(), "db", "web")
	r.until(20*time.Second, "both are launched and verified", func() bool { return r.healthy("db", "web") })
	if e := r.status("db").Epoch; e != 1 {
		t.Fatalf("db runs at epoch %d, want 1", e)
	}

	t.Log("its process dies")
	r.world.Lock()
	if err := r.world.Kill(r.instanceOf("db")); err != nil {
		t.Fatal(err)
	}
	r.world.Unlock()
	home := r.status("db").Host
	r.until(20*time.Second, "db is relaunched where it was", func() bool { return r.status("db").Epoch == 2 && r.healthy("db") })
	if got := r.status("db").Host; got != home {
		t.Fatalf("restartApp moved db from %s to %s", home, got)
	}

	t.Log("its host dies")
	r.world.Lock()
	if err := r.world.KillHost(home); err != nil {
		t.Fatal(err)
	}
	r.world.Unlock()
	r.until(30*time.Second, "db lives on another host", func() bool { return r.status("db").Epoch == 3 && r.healthy("db", "web") })
	if got := r.status("db").Host; got == home {
		t.Fatalf("db was relaunched on the dead host %s", got)
	}

	t.Log("its new host is cut off from the controller and runs on")
	zombie := r.status("db").Host
	r.world.Lock()
	if err := r.world.CutHost(zombie, world.Cut{Control: true}); err != nil {
		t.Fatal(err)
	}
	if err := r.world.StartHost(home); err != nil {
		t.Fatal(err)
	}
	r.world.Unlock()
	cutAt := r.clock.Now()
	r.until(20*time.Second, "the verdict is isolated", func() bool { return r.status("db").Verdict == fleet.Isolated })
	r.until(60*time.Second, "db lives on a third host", func() bool { return r.status("db").Epoch == 4 && r.healthy("db") })
	if waited := r.clock.Now().Sub(cutAt); waited < 10*time.Second {
		t.Fatalf("it was taken over after %s; isolatedFor is 10s", waited)
	}
	r.verifyAudit()
}
