package controller

import (
	"errors"
	"strings"
	"testing"
	"time"

	"relight/internal/api/client"
	"relight/internal/core/event"
	"relight/internal/core/fleet"
)

// A drill needs a whole fleet, one at a time, and leaves its record.
func TestDrillsAreRecordedAndRefused(t *testing.T) {
	r := newRig(t, processStyle(), "db", "web")
	r.until(30*time.Second, "both are launched", func() bool { return r.healthy("db", "web") })
	b := r.backend()
	b.Spares = &SpareWatch{Viewer: r.live.viewer, Journal: r.live.journal, Clock: r.clock}
	refused := func(req client.DrillRequest, want string) {
		t.Helper()
		_, err := b.BeginDrill(t.Context(), "ann", req)
		var p *client.Problem
		if !errors.As(err, &p) || !strings.Contains(p.Detail, want) {
			t.Errorf("%+v: %v, want %q", req, err, want)
		}
	}
	refused(client.DrillRequest{Name: "earthquake", Server: "db"}, "is no drill")
	refused(client.DrillRequest{Name: fleet.DrillHang, Server: "none"}, "no server")
	d, err := b.BeginDrill(t.Context(), "ann", client.DrillRequest{Name: fleet.DrillHostLoss, Server: "db"})
	if err != nil {
		t.Fatal(err)
	}
	refused(client.DrillRequest{Name: fleet.DrillHang, Server: "web"}, "runs")
	if _, err := b.EndDrill(t.Context(), "ann", d.ID, fleet.DrillResult{Passed: true, RTO: fleet.Duration(3 * time.Second), Acked: 7}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.EndDrill(t.Context(), "ann", d.ID, fleet.DrillResult{}); err == nil {
		t.Error("it ended twice")
	}
	list, err := b.Drills(t.Context())
	if err != nil || len(list.Items) != 1 || !list.Items[0].Result.Passed || list.Items[0].Host != r.status("db").Host {
		t.Errorf("the record: %+v (%v)", list.Items, err)
	}
	count := r.kinds(time.Time{})
	if count[event.DrillBegun] != 1 || count[event.DrillEnded] != 1 {
		t.Errorf("the events: %v", count)
	}
	r.world.Lock()
	r.mustWorld(r.world.KillHost(r.status("web").Host))
	r.world.Unlock()
	r.until(20*time.Second, "the loss is seen", func() bool { return !r.healthy("web") })
	refused(client.DrillRequest{Name: fleet.DrillAppKill, Server: "db"}, "")
	r.verifyAudit()
}
