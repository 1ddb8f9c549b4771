package controller

import (
	"strings"
	"testing"
	"time"

	"relight/internal/api/client"
	"relight/internal/core/decide"
	"relight/internal/core/fleet"
	"relight/internal/spec"
)

// A rack in which no document places a host guards nobody: whoever sets something for
// it is told at once, and why says it where it is missed.
func TestScopeWithoutHostsWarns(t *testing.T) {
	r := newRig(t, processStyle(), "db")
	r.mustWorld(applyText(r.live.journal, r.clock.Now(), "apiVersion: relight/v1alpha1\nkind: Site\nmetadata: {name: rack-9}\nspec: {kind: rack}\n"))
	r.until(30*time.Second, "it is launched", func() bool { return r.healthy("db") })
	b := &Backend{
		Journal: r.live.journal, State: r.live.state, Viewer: r.live.viewer, Clock: r.clock, Providers: []string{"sim"}, Changed: func() {},
		Loops: &Loops{Deadlines: NewDeadlines(), State: r.live.state, Clock: r.clock},
	}
	for scope, warns := range map[string]bool{"site rack-9": true, "site rack-1": false, "site host-1": false, "fleet": false} {
		r.world.Lock()
		r.world.Advance(50 * time.Millisecond) // windows are named by their moment
		r.world.Unlock()
		m, err := b.StartMaintenance(t.Context(), "ann", client.MaintenanceRequest{Scope: scope, Reason: "cables", For: fleet.Duration(time.Hour)})
		if err != nil || (m.Warning != "") != warns {
			t.Errorf("window for %s: warning %q, %v; want a warning: %v", scope, m.Warning, err, warns)
		}
	}
	for site, warns := range map[string]bool{"rack-9": true, "rack-1": false} {
		docs, err := spec.Parse(spec.File{Name: "site.yaml", Data: []byte("apiVersion: relight/v1alpha1\nkind: Site\nmetadata: {name: " + site + "}\nspec: {kind: rack, mode: ask}\n")})
		if err != nil {
			t.Fatal(err)
		}
		doc, err := client.ParseDocument(docs[0].Raw)
		if err != nil {
			t.Fatal(err)
		}
		got, err := b.Apply(t.Context(), "ann", client.ApplyRequest{Documents: []client.Document{doc}})
		if err != nil || (len(got.Warnings) > 0) != warns {
			t.Errorf("mode of %s: warnings %q, %v; want one: %v", site, got.Warnings, err, warns)
		}
	}
	v := r.live.viewer.View("db", r.clock.Now())
	v.Finding.Verdict, v.Guards.Windows = fleet.Down, v.Guards.Windows[:0:0]
	for _, w := range All[fleet.Maintenance](r.live.state, kindWindow) {
		if w.Scope == "site rack-9" {
			v.Guards.Windows = append(v.Guards.Windows, w)
		}
	}
	for _, g := range decide.Next(v.View, r.clock.Now()).Gates {
		if g.Name == decide.GateMaintenance && (!g.Pass || !strings.Contains(g.Value, "no document places a host")) {
			t.Errorf("why does not tell of the window for nobody: %+v", g)
		}
	}
	c := &Controller{clock: r.clock, state: r.live.state}
	if check := c.checkScopes(r.live.viewer.hosts(fleet.Server{}, r.clock.Now())); check.State != client.DoctorWarn || !strings.Contains(check.Detail, "rack-9") || strings.Contains(check.Detail, "rack-1") {
		t.Errorf("doctor: %+v", check)
	}
}
