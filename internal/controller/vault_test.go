package controller

import (
	"errors"
	"strings"
	"testing"
	"time"

	"relight/internal/api/client"
	"relight/internal/core/event"
	"relight/internal/enrol"
)

// A certificate that is given out and one that is refused from now on each stand in
// the record; what changes nothing writes nothing.
func TestRenewalsAreRecorded(t *testing.T) {
	r := newRig(t, processStyle())
	ctx, s := t.Context(), &Secrets{Journal: r.live.journal, Clock: r.clock}
	change := func(f func(enrol.Host) (enrol.Host, error)) {
		t.Helper()
		if err := s.ChangeHost(ctx, "host-x", f); err != nil {
			t.Fatal(err)
		}
	}
	give := func(h enrol.Host) (enrol.Host, error) {
		h.Next = &enrol.Signed{Serial: "2", Ends: time.Date(2032, 5, 1, 0, 0, 0, 0, time.UTC)}
		return h, nil
	}
	if err := s.ChangeHost(ctx, "host-x", give); !errors.Is(err, enrol.ErrAbsent) {
		t.Fatalf("a host that never joined: %v, want ErrAbsent", err)
	}
	if err := s.SaveHost(ctx, enrol.Host{Name: "host-x", Serial: "1"}); err != nil {
		t.Fatal(err)
	}
	var told []string
	r.live.journal.Listen(func(list []Recorded) {
		for _, e := range list {
			if e.Event.Kind != event.HostRenewed || e.Event.Host != "host-x" {
				t.Errorf("recorded %+v", e.Event)
			}
			told = append(told, e.Event.Message)
		}
	})
	refused := errors.New("no")
	if err := s.ChangeHost(ctx, "host-x", func(h enrol.Host) (enrol.Host, error) { return enrol.Host{}, refused }); !errors.Is(err, refused) {
		t.Errorf("a refusal: %v", err)
	}
	took := func(h enrol.Host) (enrol.Host, error) { return h.Took("2"), nil }
	change(give)
	change(give)
	change(took)
	change(took)
	if len(told) != 2 || !strings.Contains(told[0], "good until 2032-05-01") || !strings.Contains(told[1], "earlier one is refused") {
		t.Errorf("recorded %q", told)
	}
	if h, _ := Get[enrol.Host](r.live.state, kindHost, "host-x"); h.Serial != "2" || h.Next != nil {
		t.Errorf("kept %+v", h)
	}
}

func TestDoctorNamesCertificatesThatWereNotRenewed(t *testing.T) {
	now := time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)
	h := enrol.Host{Name: "host-1", Issued: now, Ends: now.Add(enrol.AgentLifetime)}
	for after, want := range map[time.Duration]client.DoctorState{
		enrol.AgentLifetime / 10 * 7: "", enrol.AgentLifetime / 10 * 8: client.DoctorWarn, enrol.AgentLifetime: client.DoctorFail,
	} {
		var got client.DoctorState
		for _, c := range checkCertificates([]enrol.Host{h, {Name: "of old"}}, now.Add(after)) {
			if got = c.State; c.Name != "certificate host-1" || c.Next == "" {
				t.Errorf("%+v", c)
			}
		}
		if got != want {
			t.Errorf("after %s it says %q, want %q", after, got, want)
		}
	}
}
