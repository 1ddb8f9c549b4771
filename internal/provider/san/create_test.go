package san

import (
	"errors"
	"maps"
	"testing"
	"testing/synctest"

	"relight/internal/array/arraytest"
	"relight/internal/core/fleet"
	"relight/internal/provider"
)

// firstCall gives epoch 1 its LUNs, of which data is of 20 GiB and boot a person's.
func firstCall(epoch fleet.Epoch, may bool, evidence ...fleet.Evidence) provider.Call {
	c := sanCall(fleet.StepAttach, epoch, evidence...)
	c.Server.Spec.Identity.Volumes[1].LUN.Size = 20
	c.Step.Create = may
	return c
}

const data20 = 20 << 30

// The first epoch is given what is not there, once, and the record says so; what has no
// size is left to a person.
func TestFirstAttachMakesItsLUN(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, fenced := arraytest.NewShelf(), fleet.Epoch(0)
		h := newRig(t, s, &fenced)
		out := h.do(t, firstCall(1, true))
		if out.Note != "LUN a-data of 20 GiB was not there and was made" || !maps.Equal(s.LUNs, map[string]int64{"a-data": data20}) || len(s.Made) != 1 {
			t.Errorf("%q, %v, %v", out.Note, s.LUNs, s.Made)
		}
		if out = h.do(t, firstCall(1, true)); out.Note != "" || len(s.LUNs) != 1 {
			t.Errorf("a replay: %q, %v", out.Note, s.LUNs)
		}
	})
}

// What is there is used as it is; that it has another size is told at each epoch.
func TestAttachLeavesTheSizeOfALUN(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, fenced := arraytest.NewShelf(), fleet.Epoch(0)
		s.LUNs["a-data"] = data20 / 2
		h := newRig(t, s, &fenced)
		const told = "LUN a-data has 10 GiB, not 20 GiB, and is left as it is"
		if out := h.do(t, firstCall(1, true)); out.Note != told {
			t.Errorf("%q", out.Note)
		}
		fenced = 1
		h.do(t, sanCall(fleet.StepSeal, 1))
		if out := h.do(t, firstCall(2, false, reapedOne())); out.Note != told || s.LUNs["a-data"] != data20/2 {
			t.Errorf("%q, %v", out.Note, s.LUNs)
		}
	})
}

func reapedOne() fleet.Evidence {
	return fleet.Evidence{Method: fleet.Reaped, Server: "a", Epoch: 1}
}

// A LUN that is gone is never made in the place of one that an epoch wrote to, whatever
// the step says; nobody is let in without it.
func TestNoLUNIsMadeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, fenced := arraytest.NewShelf(), fleet.Epoch(1)
		h := newRig(t, s, &fenced)
		for _, may := range []bool{false, true} {
			_, err := h.Do(t.Context(), firstCall(2, may, reapedOne()))
			classOf(t, err, provider.Permanent, false, "LUN a-data is not there, and none is made for epoch 2: on an empty one a would start without its data")
		}
		fenced = 0
		_, err := h.Do(t.Context(), firstCall(1, false)) // the array has forgotten epoch 1, which runs
		classOf(t, err, provider.Permanent, false, "epoch 1 of a had its LUNs already: none is made in its place")
		if len(s.LUNs) != 0 || len(s.Made) != 0 {
			t.Errorf("%v, %v", s.LUNs, s.Made)
		}
	})
}

// An array that is full, or away, has made nothing and let nobody in; the step may be
// repeated as it is. Without the proof nothing is made either.
func TestFirstAttachIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, fenced := arraytest.NewShelf(), fleet.Epoch(0)
		h := newRig(t, s, &fenced)
		s.Full = true
		call := firstCall(1, true)
		call.Server.Spec.Identity.Volumes[0].LUN.Size = 5
		s.LUNs["a-boot"] = 1 << 30
		_, err := h.Do(t.Context(), call)
		classOf(t, err, provider.Capacity, false, "the array is full; before that: LUN a-boot has 1 GiB, not 5 GiB")
		unproved := firstCall(1, true)
		unproved.Proof = sanCall(fleet.StepAttach, 2, reapedOne()).Proof
		s.Set(func() { s.Full = false })
		_, err = h.Do(t.Context(), unproved)
		classOf(t, err, provider.Refused, false, "proof")
		if len(s.LUNs) != 1 || len(s.Made) != 0 {
			t.Errorf("%v, %v", s.LUNs, s.Made)
		}
		s.Set(func() { s.Away = errors.New("connection refused") })
		_, err = h.Do(t.Context(), firstCall(1, true))
		classOf(t, err, provider.Retry, false, "connection refused")
	})
}
