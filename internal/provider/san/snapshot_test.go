package san

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"

	"relight/internal/array"
	"relight/internal/array/arraytest"
	"relight/internal/core/fleet"
	"relight/internal/provider"
)

// snapshotCall asks for a snapshot of what epoch 1 left.
func snapshotCall(evidence ...fleet.Evidence) provider.Call {
	c := sanCall(fleet.StepAttach, 2, evidence...) // for its proof of epoch 1
	c.Step.Kind, c.Step.Epoch, c.Step.Token = fleet.StepSnapshot, 1, "snapshot"
	return c
}

// A snapshot is taken of a LUN that nobody can write to: the epoch is proved dead, and
// shut out on the array, before it. One that was taken is found again.
func TestSnapshotShutsOutFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, fenced := arraytest.NewShelf(), fleet.Epoch(1)
		old := array.Ref{Server: "a", Epoch: 1}
		s.Made[old] = array.Map{Ref: old, Initiator: "i1"}
		s.Login(old)
		s.Stuck = true
		h := newRig(t, s, &fenced)

		_, err := h.Do(t.Context(), snapshotCall())
		classOf(t, err, provider.Refused, false, "no proof that epoch 1 is dead")
		if s.Closed[old] {
			t.Error("an epoch that may live was shut out")
		}
		reaped := fleet.Evidence{Method: fleet.Reaped, Server: "a", Epoch: 1}
		_, err = h.Do(t.Context(), snapshotCall(reaped))
		classOf(t, err, provider.Conflict, false, "a epoch 1 is not fenced on array san-1")
		if len(s.Kept) != 0 {
			t.Errorf("%v was taken beside a session", s.Kept)
		}

		s.Set(func() { s.Stuck = false })
		out := h.do(t, snapshotCall(reaped))
		if len(out.Evidence) != 2 || out.Evidence[0].Method != fleet.InitiatorRemoved || len(s.Made) != 0 {
			t.Errorf("%+v", out)
		}
		h.do(t, snapshotCall(reaped))
		if !slices.Equal(s.Kept, []string{"a-data relight-a-e1"}) {
			t.Errorf("kept %v", s.Kept)
		}
	})
}

// An array without room is told so, and what it shut out before is not forgotten.
func TestSnapshotWithoutRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, fenced := arraytest.NewShelf(), fleet.Epoch(1)
		old := array.Ref{Server: "a", Epoch: 1}
		s.Made[old], s.Full = array.Map{Ref: old, Initiator: "i1"}, true
		h := newRig(t, s, &fenced)
		out, err := h.Do(t.Context(), snapshotCall(fleet.Evidence{Method: fleet.Reaped, Server: "a", Epoch: 1}))
		classOf(t, err, provider.Capacity, false, "the array is full")
		if len(out.Evidence) != 2 {
			t.Errorf("%+v", out)
		}
	})
}

// A snapshot is put back where nobody can write: without a proof nothing is touched,
// and whoever is listed is shut out first.
func TestRestoreShutsOutFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, fenced := arraytest.NewShelf(), fleet.Epoch(1)
		old := array.Ref{Server: "a", Epoch: 1}
		s.Made[old], s.Kept = array.Map{Ref: old, Initiator: "i1"}, []string{"a-data relight-a-e1"}
		h := newRig(t, s, &fenced)
		reaped := fleet.Evidence{Method: fleet.Reaped, Server: "a", Epoch: 1}
		restore := func(name string, evidence ...fleet.Evidence) provider.Call {
			c := snapshotCall(evidence...)
			c.Step.Kind, c.Step.Object.Snapshot, c.Step.Token = fleet.StepRestore, name, "restore "+name
			return c
		}
		_, err := h.Do(t.Context(), restore("relight-a-e1"))
		classOf(t, err, provider.Refused, false, "no proof that epoch 1 is dead")
		if s.Closed[old] || len(s.Restored) != 0 {
			t.Error("something was done to an epoch that may live")
		}
		_, err = h.Do(t.Context(), restore("relight-a-e9", reaped))
		classOf(t, err, provider.Permanent, false, "not found")
		out := h.do(t, restore("relight-a-e1", reaped))
		if !slices.Equal(s.Restored, []string{"a-data relight-a-e1"}) || len(s.Made) != 0 {
			t.Errorf("%+v: restored %v beside %v", out, s.Restored, s.Made)
		}

		kept := h.Kept(t.Context(), sanServer())
		if len(kept) != 2 || len(kept[0].Snapshots) != 0 || len(kept[1].Snapshots) != 1 || kept[1].Volume != "data" {
			t.Errorf("%+v", kept)
		}
		s.Set(func() { s.Away, s.Asked = errors.New("connection refused"), 0 })
		kept = h.Kept(t.Context(), sanServer(), sanServer())
		if len(kept) != 4 || kept[0].Err == nil || kept[3].Err == nil || s.Asked != 1 {
			t.Errorf("an array that is away was asked %d times: %+v", s.Asked, kept)
		}
		s.Set(func() { s.Away = nil })
		drop := restore("relight-a-e1")
		drop.Step.Kind, drop.Step.Token = fleet.StepDrop, "drop"
		h.do(t, drop)
		if len(s.Kept) != 0 {
			t.Errorf("kept %v", s.Kept)
		}
	})
}
