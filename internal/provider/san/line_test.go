package san

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"relight/internal/array"
	"relight/internal/array/arraytest"
	"relight/internal/core/fence"
	"relight/internal/core/fleet"
	"relight/internal/provider"
)

// reserver is a shelf that lets holders in, on a portal where nobody answers. That the second
// line holds is tested on a real target: see internal/array/lio.
type reserver struct {
	*arraytest.Shelf
	// holders are those that are let in; stuck fails to take one away.
	holders []string
	stuck   error
	// let counts how often one was let in; hangs has that never end.
	let   int
	hangs bool
}

func (k *reserver) target() array.Target {
	return array.Target{Portal: "127.0.0.1:1", IQN: "iqn.x:h:a"}
}

func (k *reserver) Map(ctx context.Context, m array.Map, proof fence.Proof) (array.Target, error) {
	_, err := k.Shelf.Map(ctx, m, proof)
	return k.target(), err
}

func (k *reserver) LetHolder(ctx context.Context, m array.Map) (array.Target, error) {
	k.let++
	if k.hangs {
		<-ctx.Done()
		return array.Target{}, ctx.Err()
	}
	k.holders = append(k.holders, m.Server)
	return k.target(), array.CheckHolder(m)
}

func (k *reserver) Holder(_ context.Context, server string) (array.Target, bool, error) {
	return k.target(), slices.Contains(k.holders, server), nil
}

func (k *reserver) DropHolder(ctx context.Context, server string) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if k.stuck == nil {
		k.holders = slices.DeleteFunc(k.holders, func(s string) bool { return s == server })
	}
	return k.stuck
}

func (k *reserver) Holders(context.Context) ([]string, error) { return k.holders, nil }

func (k *reserver) AllMaps(context.Context) ([]array.Mapped, error) { return nil, nil }

func (k *reserver) Explain(err error) error { return fmt.Errorf("explained: %w", err) }

func (k *reserver) DropHolderBy(server string) string { return "take away " + server }

func holderRig(reservations fleet.Reservations, found worth) (rig, *reserver) {
	k := &reserver{Shelf: arraytest.NewShelf()}
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
		"never probed":   {fleet.ReservationsLine, worth{}, "no second line: explained: portal 127.0.0.1:1"}, // for there is a holder
		"nobody answers": {fleet.ReservationsLine, good, "no second line: explained: portal 127.0.0.1:1"},
	} {
		t.Run(name, func(t *testing.T) {
			h, k := holderRig(tc.reservations, tc.found)
			k.holders = []string{"a", "b"}
			out := h.do(t, sanCall(fleet.StepAttach, 1))
			if !strings.Contains(out.Note, tc.note) || tc.note == "" && strings.Contains(out.Note, "line") {
				t.Errorf("told %q, want %q", out.Note, tc.note)
			}
			if slices.Contains(k.holders, "a") || !slices.Contains(k.holders, "b") || len(k.Made) != 1 {
				t.Errorf("holders %v, %d maps", k.holders, len(k.Made))
			}
		})
	}
}

// A reservation that cannot be taken away would refuse the server's own writes: nothing
// starts under it.
func TestReservationThatStays(t *testing.T) {
	for _, reservations := range []fleet.Reservations{fleet.ReservationsNever, fleet.ReservationsLine} {
		h, k := holderRig(reservations, worth{known: true})
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
		h, k := holderRig(fleet.ReservationsLine, worth{})
		other := sanServer()
		change(&other)
		h.SetServers([]fleet.Server{server, other})
		if out := h.do(t, sanCall(fleet.StepAttach, 1)); !strings.Contains(out.Note, want) || len(k.LUNs) > 0 {
			t.Errorf("told %q, want %q; LUNs %v", out.Note, want, k.LUNs)
		}
	}
	h, _ := holderRig(fleet.ReservationsLine, worth{})
	ran := h.Alone("san-1", func() {
		if h.Alone("san-1", func() { t.Error("two at once") }) {
			t.Error("two at once, it says")
		}
		if out := h.do(t, sanCall(fleet.StepAttach, 1)); !strings.Contains(out.Note, "the array is being examined") {
			t.Errorf("told %q", out.Note)
		}
	})
	other := h.Alone("san-1", func() { ran = ran && h.Alone("san-9", func() {}) })
	ran = ran && other
	if !ran {
		t.Error("not run")
	}
}

// A probe that comes to nothing is not repeated for each of many starts, and not forgotten
// to be repeated.
func TestProbeThatFailsIsNotRepeatedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, k := holderRig(fleet.ReservationsLine, worth{})
		k.Full = true
		for _, want := range []string{"the array is full", "the array is full", "portal 127.0.0.1:1"} {
			if out := h.do(t, sanCall(fleet.StepAttach, 1)); !strings.Contains(out.Note, want) {
				t.Errorf("told %q, want %q", out.Note, want)
			}
			k.Full = false // what is asked again finds room
			if want == "the array is full" && len(k.LUNs) > 0 {
				t.Error("probed again at once")
			}
			<-time.After(lineAgain * 2 / 3)
		}
	})
}

// A line that could not be made for an epoch is not tried again for each of its LUNs; it is
// for the next epoch, and later.
func TestLineIsGivenUpForAnEpoch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, k := holderRig(fleet.ReservationsLine, worth{known: true})
		for want, wait := range []time.Duration{0, lineAgain / 2, lineAgain} {
			<-time.After(wait)
			if out := h.do(t, sanCall(fleet.StepAttach, 1)); !strings.Contains(out.Note, "portal 127.0.0.1:1") {
				t.Errorf("told %q", out.Note)
			}
			if tries := (want + 2) / 2; k.let != tries {
				t.Errorf("after %s: %d tries, want %d", wait, k.let, tries)
			}
		}
	})
}

// A line that nobody answers for is tried for no longer than it may be, and the start goes on.
func TestLineThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, k := holderRig(fleet.ReservationsLine, worth{known: true})
		k.hangs = true
		began := time.Now()
		out := h.do(t, sanCall(fleet.StepAttach, 1))
		if took := time.Since(began); took != lineWithin || !strings.Contains(out.Note, "did not answer within 5s") {
			t.Errorf("after %s: %q", took, out.Note)
		}
	})
}

// Without the lease nothing is done about a line: not in a start, and not in a fence, which
// would take the server's right to write and shut nothing out (S10).
func TestLineNeedsTheLease(t *testing.T) {
	for _, reservations := range []fleet.Reservations{fleet.ReservationsLine, fleet.ReservationsNever} {
		h, k := holderRig(reservations, worth{known: true})
		k.holders = []string{"a"}
		lost, leave := errors.New("the lease has ended"), 0
		p := provider.WithAuthority(whole{h}, func(context.Context) error {
			if leave--; leave < 0 {
				return lost
			}
			return nil
		})
		// It ends with the call, and right after that.
		for leave = range 2 {
			if _, err := p.Do(t.Context(), sanCall(fleet.StepAttach, 1)); !errors.Is(err, lost) {
				t.Errorf("%v", err)
			}
		}
		if k.let != 0 || !slices.Equal(k.holders, []string{"a"}) {
			t.Errorf("%s: %d holders let in, %v", reservations, k.let, k.holders)
		}
	}
}

// A name that has room for an epoch in an IQN and none for a holder has no second line, and
// is fenced and let in as any other.
func TestNameTooLongForAHolder(t *testing.T) {
	h, k := holderRig(fleet.ReservationsLine, worth{known: true})
	call := sanCall(fleet.StepAttach, 1)
	call.Server.Name = strings.Repeat("a", 223-len("iqn.2026-01.local.relight.san-1:")-len(".e1"))
	call.Step.Server = call.Server.Name
	call.Proof, _ = fence.Prove(call.Server, 0, "", nil, time.Now())
	if out := h.do(t, call); !strings.Contains(out.Note, "no second line: ") || !strings.Contains(out.Note, "an IQN of 227 bytes") || len(k.Made) != 1 {
		t.Errorf("%+v", out)
	}
	h.opt.Fenced = func(context.Context, string) (fleet.Epoch, error) { return 1, nil }
	call.Step.Kind = fleet.StepSeal
	if out := h.do(t, call); len(out.Evidence) != 2 {
		t.Errorf("%+v", out)
	}
}

// The doctor tells what is known; a holder whose server is gone is listed as left.
func TestSecondLineIsTold(t *testing.T) {
	h, k := holderRig(fleet.ReservationsLine, worth{known: true, why: "UNMAP passes a reservation"})
	k.holders = []string{"a", "old"}
	if got := h.Ask(t.Context()); len(got) != 1 || got[0].NoLine != "UNMAP passes a reservation" {
		t.Errorf("%+v", got)
	}
	got := h.Orphans(t.Context())
	if len(got) != 1 || got[0].Server != "old" || got[0].What != "holder of old" || got[0].Next != "take away old" {
		t.Errorf("%+v", got)
	}
	h, _ = holderRig(fleet.ReservationsNever, worth{known: true, why: "UNMAP passes a reservation"})
	if got := h.Ask(t.Context()); got[0].NoLine != "" {
		t.Errorf("a line that nobody wants is missed: %+v", got)
	}
}
