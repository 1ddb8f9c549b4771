package controller

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"relight/internal/core/event"
)

// The answer follows what is there, and people hear of it when it turns, once.
func TestSpareIsToldWhenItTurns(t *testing.T) {
	r := newRig(t, processStyle(), "db", "web")
	r.until(30*time.Second, "both are launched", func() bool { return r.healthy("db", "web") })
	s := &SpareWatch{Viewer: r.live.viewer, Journal: r.live.journal, Clock: r.clock, Log: slog.New(slog.DiscardHandler)}
	told := func(kind event.Kind) (n int, last string) {
		for _, rec := range r.live.chronicle.Latest(1000, func(e event.Event) bool { return e.Kind == kind }) {
			n, last = n+1, rec.Event.Message
		}
		return n, last
	}
	look := func() {
		t.Helper()
		if err := s.tell(t.Context(), s.look(r.clock.Now()), r.clock.Now()); err != nil {
			t.Fatal(err)
		}
	}
	look()
	if n, _ := told(event.SpareLost); n != 0 || !s.Now().Sites[0].OK {
		t.Fatalf("three hosts with room: %+v", s.Now().Sites)
	}
	large := strings.Replace(serverYAML("db", "127.0.9.1"), "  template:", "  placement: {units: 5}\n  template:", 1)
	r.mustWorld(applyText(r.live.journal, r.clock.Now(), large))
	for _, h := range []string{"host-1", "host-2", "host-3"} {
		if h != r.status("db").Host {
			r.world.Lock()
			r.mustWorld(r.world.CloseHost(h, "it is to be replaced"))
			r.world.Unlock()
		}
	}
	r.until(5*time.Second, "that is seen", func() bool { return !s.Now().Sites[0].OK })
	look()
	look()
	if n, last := told(event.SpareLost); n != 1 || !strings.Contains(last, "rack-1") || !strings.Contains(last, "it is to be replaced") {
		t.Errorf("%d times told, at last: %s", n, last)
	}
	b := r.backend()
	b.Spares = s
	rows, err := b.Hosts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range rows.Items {
		if (row.Name == r.status("db").Host) != strings.HasPrefix(row.Spare, "no: ") {
			t.Errorf("host %s: spare %q", row.Name, row.Spare)
		}
	}
	r.world.Lock()
	r.mustWorld(r.world.CloseHost("host-1", ""))
	r.mustWorld(r.world.CloseHost("host-2", ""))
	r.mustWorld(r.world.CloseHost("host-3", ""))
	r.world.Unlock()
	r.until(5*time.Second, "there is room again", func() bool { return s.Now().Sites[0].OK })
	look()
	if n, _ := told(event.SpareRegained); n != 1 {
		t.Errorf("%d times told that there is room again", n)
	}
}
