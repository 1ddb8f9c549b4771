package sdk_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"relight/internal/api/client"
	"relight/internal/core/event"
	"relight/internal/core/fleet"
	"relight/internal/provider/guest"
)

// What a guest formatted stands in the journal, once, with server, epoch, volume and
// serial, and why shows it; what the spec has no such volume for does not.
func TestAH_MOUNT_FormatIsJournaled(t *testing.T) {
	r := newRig(t, slowly)
	guests := r.guests()
	name, spec := r.mounting()
	r.declare(spec)
	r.until(2*time.Minute, "it is launched", func() bool { return r.count("RunInstances") == 1 })
	first := r.boot(guests, r.plan(r.userData("RunInstances", "UserData")))
	made := []guest.Mount{
		{Volume: "data", State: "done", Formatted: true, Serial: "vol01"},
		{Volume: "other", State: "done", Formatted: true, Serial: "volx"},
		{Volume: "data", State: "done", Serial: "vol01"},
	}
	r.until(5*time.Minute, "it is healthy", func() bool {
		return first.tellsOf("boot-1", fleet.Yes, "", made...) == http.StatusNoContent && r.healthy(name, 1)()
	})
	why, err := r.solo.Backend.Why(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	formats := r.solo.Chronicle.Latest(1000, func(e event.Event) bool { return e.Kind == event.VolumeFormatted })
	if len(formats) != 1 {
		t.Fatalf("%d events of a format: %+v", len(formats), formats)
	}
	e := formats[0].Event
	if e.Server != name || e.Epoch != 1 || e.Volume != "data" || e.Serial != "vol01" || e.By != "the guest agent of "+name+".1" || !strings.Contains(e.Message, "volume data (vol-01, serial vol01), as epoch 1") {
		t.Errorf("%+v", e)
	}
	if lines := client.FormattedLines(why.Status); len(lines) != 1 || !strings.Contains(lines[0], "volume data (vol-01, serial vol01) was formatted by the guest agent of epoch 1") {
		t.Errorf("why shows %q", lines)
	}
	// Its instance is replaced: the new agent formats nothing, and a late word of the old
	// one adds nothing.
	r.locked(func() { _ = r.w.Kill(r.machine(name)) })
	r.until(5*time.Minute, "it is launched again", func() bool { return r.count("RunInstances") == 2 })
	second := r.boot(guests, r.plan(r.userData("RunInstances", "UserData")))
	if code := first.tellsOf("boot-1", fleet.Yes, "", made...); code != http.StatusGone {
		t.Errorf("%d for a report of an epoch that is over", code)
	}
	r.until(5*time.Minute, "it is healthy", func() bool { second.tells(fleet.Yes, ""); return r.healthy(name, 2)() })
	if got := r.status(name).Formatted; len(got) != 1 || got[0].ID != "vol-01" || got[0].At.IsZero() {
		t.Errorf("formatted: %+v", got)
	}
}
