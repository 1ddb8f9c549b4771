package controller

import (
	"testing"
	"time"

	"relight/internal/api/client"
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
