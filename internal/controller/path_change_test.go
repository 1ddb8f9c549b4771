package controller

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"relight/internal/api/client"
	"relight/internal/core/fleet"
)

// A volume keeps its path for as long as an epoch may write there; once that is known to be
// dead it may have another.
func TestAVolumeKeepsItsPathWhileAnEpochMayWrite(t *testing.T) {
	r := newRig(t, processStyle(), "db")
	r.until(30*time.Second, "it is launched", func() bool { return r.healthy("db") })
	b := r.backend()
	b.Providers, b.Changed = []string{"sim"}, func() {}
	apply := func(volumes string) error {
		var doc client.Document
		raw := `{"apiVersion":"relight/v1alpha1","kind":"Server","metadata":{"name":"db"},"spec":{"provider":"sim","identity":{"volumes":` + volumes + `,"addresses":[{"ip":"127.0.9.1"}]},"template":{"sim":{}}}}`
		r.mustWorld(json.Unmarshal([]byte(raw), &doc))
		_, err := b.Apply(t.Context(), "eve", client.ApplyRequest{Documents: []client.Document{doc}})
		return err
	}
	declared, _ := r.live.state.Server("db")
	for _, volumes := range []string{`[{"name":"data","path":"/v/elsewhere","reach":"machine"}]`, `[]`} {
		err := apply(volumes)
		var p *client.Problem
		if err == nil || !errors.As(err, &p) || len(p.Fields) != 1 || !strings.Contains(p.Fields[0].Message, "relight fence confirm db") {
			t.Errorf("volumes %s beside epoch 1: %v", volumes, err)
		}
	}
	if now, _ := r.live.state.Server("db"); len(now.Spec.Identity.Volumes) != len(declared.Spec.Identity.Volumes) || now.Spec.Identity.Volumes[0].Path != declared.Spec.Identity.Volumes[0].Path {
		t.Fatal("what was refused has changed the server")
	}
	r.mustWorld(r.live.journal.Do(t.Context(), r.clock.Now(), func(tx *Tx) error {
		st := tx.state.Status("db")
		st.Evidence = append(st.Evidence, fleet.Evidence{Method: fleet.Attested, Server: "db", Epoch: st.Epoch, By: "ann", At: r.clock.Now()})
		tx.Put(kindStatus, "db", st)
		return nil
	}))
	if err := apply(`[{"name":"data","path":"/v/elsewhere","reach":"machine"}]`); err != nil {
		t.Errorf("epoch 1 is known to be dead: %v", err)
	}
}
