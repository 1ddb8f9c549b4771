package san

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"relight/internal/array"
	"relight/internal/array/arraytest"
	"relight/internal/core/fleet"
	"relight/internal/provider"
)

// kept is a shelf that lets keepers in, on a portal where nobody answers. That the second
// line holds is tested on a real target: see internal/array/lio.
type kept struct {
	*arraytest.Shelf
	// keepers are those that are let in; stuck fails to take one away.
	keepers []string
	stuck   error
}

func (k *kept) target() array.Target { return array.Target{Portal: "127.0.0.1:1", IQN: "iqn.x:k:a"} }

func (k *kept) Keep(_ context.Context, m array.Map) (array.Target, error) {
	k.keepers = append(k.keepers, m.Server)
	return k.target(), array.CheckKeeper(m)
}

func (k *kept) Kept(_ context.Context, server string) (array.Target, bool, error) {
	return k.target(), slices.Contains(k.keepers, server), nil
}

func (k *kept) Unkeep(_ context.Context, server string) error {
	if k.stuck == nil {
		k.keepers = slices.DeleteFunc(k.keepers, func(s string) bool { return s == server })
	}
	return k.stuck
}

func (k *kept) Keepers(context.Context) ([]string, error) { return k.keepers, nil }

func (k *kept) AllMaps(context.Context) ([]array.Mapped, error) { return nil, nil }

func (k *kept) UnkeepBy(server string) string { return "take away " + server }

func keptRig(reservations fleet.Reservations, found worth) (rig, *kept) {
	k := &kept{Shelf: arraytest.NewShelf()}
	a := Opened(Options{
		Open:   func(fleet.Array) (array.Array, error) { return k, nil },
		Fenced: func(context.Context, string) (fleet.Epoch, error) { return 0, nil },
		Key:    make([]byte, KeySize), Now: time.Now,
	})
	a.SetServers([]fleet.Server{sanServer()})
	site := sites[0]
	site.Spec.Arrays = slices.Clone(site.Spec.Arrays)
	site.Spec.Arrays[0].Driver, site.Spec.Arrays[0].Reservations = fleet.ArrayLIO, reservations
	a.SetSites([]fleet.Site{site})
	a.sans["san-1"].found = found
	return rig{a}, k
}

// A second line that is not wanted, that the array is not worth, or that cannot be made is
// taken away before the epoch starts, and what came of it is told; the epoch starts.
func TestSecondLineThatIsNone(t *testing.T) {
	good := worth{known: true}
	for name, tc := range map[string]struct {
		reservations fleet.Reservations
		found        worth
		note         string
	}{
		"not wanted":     {fleet.ReservationsNever, good, ""},
		"not said":       {"", good, ""},
		"not worth it":   {fleet.ReservationsLine, worth{known: true, why: "UNMAP passes a reservation"}, "no second line: UNMAP passes a reservation"},
		"never probed":   {fleet.ReservationsLine, worth{}, "no second line: its reservations could not be probed: "},
		"nobody answers": {fleet.ReservationsLine, good, "no second line: portal 127.0.0.1:1"},
	} {
		t.Run(name, func(t *testing.T) {
			h, k := keptRig(tc.reservations, tc.found)
			k.keepers = []string{"a", "b"}
			out := h.do(t, sanCall(fleet.StepAttach, 1))
			if !strings.Contains(out.Note, tc.note) || tc.note == "" && strings.Contains(out.Note, "line") {
				t.Errorf("note %q, want %q", out.Note, tc.note)
			}
			if !slices.Equal(k.keepers, []string{"b"}) || len(k.Made) != 1 {
				t.Errorf("keepers %v, %d maps", k.keepers, len(k.Made))
			}
		})
	}
}

// A reservation that cannot be taken away would refuse the server's own writes: nothing
// starts under it.
func TestReservationThatStays(t *testing.T) {
	for _, reservations := range []fleet.Reservations{fleet.ReservationsNever, fleet.ReservationsLine} {
		h, k := keptRig(reservations, worth{known: true})
		k.stuck = errors.New("the kernel has not done it yet")
		_, err := h.Do(t.Context(), sanCall(fleet.StepAttach, 1))
		classOf(t, err, provider.Retry, true, "the kernel has not done it yet")
		if len(k.Made) != 0 {
			t.Errorf("%s: a map was made under it", reservations)
		}
	}
}

// Probes write to a LUN of their own: one that a server has, or a server of that name, is
// left alone, and two probes do not get into each other's way.
func TestSecondLineWithoutAProbe(t *testing.T) {
	server := sanServer()
	for want, change := range map[string]func(*fleet.Server){
		"LUN relight-probe is a server's": func(s *fleet.Server) { s.Spec.Identity.Volumes[0].LUN.Name = "relight-probe" },
		"a server is called":              func(s *fleet.Server) { s.Name = "relight-probe" },
	} {
		h, k := keptRig(fleet.ReservationsLine, worth{})
		other := sanServer()
		change(&other)
		h.SetServers([]fleet.Server{server, other})
		if out := h.do(t, sanCall(fleet.StepAttach, 1)); !strings.Contains(out.Note, want) || len(k.LUNs) > 0 {
			t.Errorf("note %q, want %q; LUNs %v", out.Note, want, k.LUNs)
		}
	}
	h, _ := keptRig(fleet.ReservationsLine, worth{})
	ran := h.Alone(func() {
		if h.Alone(func() { t.Error("two at once") }) {
			t.Error("two at once, it says")
		}
		if out := h.do(t, sanCall(fleet.StepAttach, 1)); !strings.Contains(out.Note, "an array is being examined") {
			t.Errorf("note %q", out.Note)
		}
	})
	if !ran {
		t.Error("not run")
	}
}

// The doctor tells what is known; a keeper whose server is gone is listed as left.
func TestSecondLineIsTold(t *testing.T) {
	h, k := keptRig(fleet.ReservationsLine, worth{known: true, why: "UNMAP passes a reservation"})
	k.keepers = []string{"a", "old"}
	if got := h.Ask(t.Context()); len(got) != 1 || got[0].NoLine != "UNMAP passes a reservation" {
		t.Errorf("%+v", got)
	}
	got := h.Orphans(t.Context())
	if len(got) != 1 || got[0].Server != "old" || got[0].What != "keeper of old" || got[0].Next != "take away old" {
		t.Errorf("%+v", got)
	}
	h, _ = keptRig(fleet.ReservationsNever, worth{known: true, why: "UNMAP passes a reservation"})
	if got := h.Ask(t.Context()); got[0].NoLine != "" {
		t.Errorf("a line that nobody wants is missed: %+v", got)
	}
}
