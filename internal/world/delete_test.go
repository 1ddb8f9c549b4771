package world_test

import (
	"errors"
	"testing"
	"time"

	"relight/internal/core/fleet"
	"relight/internal/world"
)

func TestDelete(t *testing.T) {
	w := network(t, world.Config{})
	w.AddVolume(world.Volume{ID: "vol", Server: "lic", Reach: fleet.ReachMachine, Place: "za"})
	w.AddVolume(world.Volume{ID: "empty", Server: "lic", Reach: fleet.ReachMachine, Place: "za"})
	i := launch(t, w, world.Request{Host: "a1", Interfaces: []string{"eni"}})
	ok(t, w.AttachVolume("vol", i))
	ok(t, w.Associate("198.51.100.1", world.Destination{Interface: "eni"}, false))
	s := must[*world.Snapshot](t)(w.TakeSnapshot("vol", ""))
	must[*world.Volume](t)(w.CopyVolume(s.ID, world.Volume{ID: "copy", Server: "lic", Reach: fleet.ReachMachine, Place: "zb"}, ""))
	w.Write(i, "vol")
	for name, c := range map[string]struct{ err, want error }{
		"held volume":    {w.DeleteVolume("vol", true), world.ErrVolumeInUse},
		"held interface": {w.DeleteInterface("eni"), world.ErrInterfaceInUse},
		"no volume":      {w.DeleteVolume("none", true), world.ErrNotFound},
		"no interface":   {w.DeleteInterface("none"), world.ErrNotFound},
		"no snapshot":    {w.DeleteSnapshot("none"), world.ErrNotFound},
	} {
		if !errors.Is(c.err, c.want) {
			t.Errorf("%s: %v", name, c.err)
		}
	}
	ok(t, w.TerminateMachine(i, world.Ending{}))
	ok(t, w.DeleteInterface("eni"))
	if a := must[world.AddressSight](t)(w.SeeAddress("198.51.100.1")); a.Interface != "" {
		t.Errorf("its address still leads to it: %+v", a)
	}
	ok(t, w.DeleteSnapshot(s.ID))
	ok(t, w.DeleteVolume("empty", false))
	wantClean(t, w)
	ok(t, w.DeleteVolume("vol", false))
	if _, err := w.TakeSnapshot("copy", "t"); err != nil {
		t.Fatal(err)
	}
	ok(t, w.DeleteSnapshot(w.Snapshots()[0].ID))
	if _, err := w.TakeSnapshot("copy", "t"); !errors.Is(err, world.ErrTokenEnded) {
		t.Errorf("the token of a deleted snapshot: %v", err)
	}
	wantViolation(t, w, "S8", "deleted")
	if loss, known := w.LossOf("copy"); !known || loss.Writes != 1 {
		t.Errorf("what only the deleted volume had is lost: %+v", loss)
	}
	if n := len(w.Snapshots()) + len(w.Interfaces()); n != 0 || len(w.Instances()) != 1 || len(w.Addresses()) != 2 {
		t.Errorf("what is left: %v %v %v %v", w.Snapshots(), w.Interfaces(), w.Instances(), w.Addresses())
	}
	if v := w.Volumes(); len(v) != 3 || v[0].ID != "copy" {
		t.Errorf("volumes left: %v", v)
	}
}

// TestDeleteUnderAWriter: what a zombie still has open cannot go, and what is
// deleted under an array's unit does not stop the model.
func TestDeleteUnderAWriter(t *testing.T) {
	w, l := san(t, world.TGT())
	i, one := guest(t, w, 1, "host-1")
	ok(t, w.Attach("lic/nfs", i))
	w.LoseLock("lic/nfs")
	if err := w.DeleteVolume("lic/nfs", true); !errors.Is(err, world.ErrVolumeInUse) {
		t.Errorf("delete of what a zombie has open: %v", err)
	}
	w.Map(l, one.IQN)
	ok(t, w.Submit(one, l, world.CmdWrite))
	ok(t, w.DeleteVolume("lun-1", true))
	w.Advance(time.Minute)
}

func TestDeleteByOrder(t *testing.T) {
	w := newWorld(t, world.Config{})
	i := run(t, w, 1, "host-1", world.Process, "lic/data")
	w.Write(i, "lic/data")
	ok(t, w.Reap(i, ""))
	ok(t, w.DeleteVolume("lic/data", true))
	wantClean(t, w)
}
