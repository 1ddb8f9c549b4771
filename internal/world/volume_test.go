package world_test

import (
	"errors"
	"testing"
	"time"

	"relight/internal/core/fleet"
	"relight/internal/world"
)

// TestAttachments is what EC2 answers to attach and detach, state by state.
func TestAttachments(t *testing.T) {
	w := twoZones(t, cloud())
	w.AddVolume(world.Volume{ID: "vol", Server: "lic", Reach: fleet.ReachMachine, Place: "za"})
	one := launch(t, w, world.Request{Host: "a1"})
	far := launch(t, w, world.Request{Server: "far", Epoch: 1, Host: "b1"})
	see := func(state, attachment string) {
		t.Helper()
		if s := must[world.VolumeSight](t)(w.SeeVolume("vol")); s.State != state || s.Attachment != attachment {
			t.Fatalf("volume %+v, want %s %s", s, state, attachment)
		}
	}
	refuse := func(err, want error) {
		t.Helper()
		if !errors.Is(err, want) {
			t.Fatalf("error %v, want %v", err, want)
		}
	}
	refuse(w.AttachVolume("vol", one), world.ErrInstanceState)
	w.Advance(10 * time.Second)
	refuse(w.AttachVolume("vol", far), world.ErrZoneMismatch)
	refuse(w.AttachVolume("none", far), world.ErrNotFound)
	refuse(w.DetachVolume("vol", one, false), world.ErrNotAttached)
	ok(t, w.AttachVolume("vol", one))
	see("in-use", "attaching")
	refuse(w.AttachVolume("vol", one), world.ErrVolumeInUse)
	w.Advance(2 * time.Second)
	see("in-use", "attached")
	ok(t, w.DetachVolume("vol", one, false))
	see("in-use", "detaching")
	w.Advance(time.Hour)
	see("in-use", "busy") // it is still mounted
	ok(t, w.DetachVolume("vol", one, false))
	see("in-use", "busy")
	w.Unmount("vol", one)
	see("available", "")

	ok(t, w.AttachVolume("vol", one))
	w.Advance(2 * time.Second)
	ok(t, w.DetachVolume("vol", one, false))
	w.Advance(time.Minute)
	w.Crash(one)
	see("available", "") // its guest is gone

	two := launch(t, w, world.Request{Server: "lic", Epoch: 2, Host: "a2"})
	w.Advance(10 * time.Second)
	ok(t, w.AttachVolume("vol", two))
	w.Advance(2 * time.Second)
	ok(t, w.DetachVolume("vol", two, true))
	w.Advance(3 * time.Second)
	see("available", "")
	w.Write(two, "vol")
	if len(w.Volume("vol").Runs) != 0 {
		t.Fatal("a volume taken by force was written")
	}
	wantClean(t, w)
}

// TestCloudLetsAnOldEpochBack: a platform knows no epochs. Who attaches a volume
// to an old one gets two histories on it, and Check says so.
func TestCloudLetsAnOldEpochBack(t *testing.T) {
	w := newWorld(t, world.Config{})
	one, two := launch(t, w, world.Request{}), launch(t, w, world.Request{Server: "lic", Epoch: 2})
	for _, i := range []*world.Instance{two, one} {
		ok(t, w.AttachVolume("lic/nfs", i))
		w.Write(i, "lic/nfs")
		ok(t, w.DetachVolume("lic/nfs", i, true))
	}
	wantViolation(t, w, "S1", "epoch 1 wrote after epoch 2")
}

// TestLossIsKnownExactly copies a volume into another zone: what was acknowledged
// after the snapshot is lost, counted, and must have been stated.
func TestLossIsKnownExactly(t *testing.T) {
	for _, c := range []struct {
		name    string
		after   int // writes after the snapshot
		state   func(at time.Time) time.Time
		stated  bool
		violate bool
	}{
		{"nothing lost, nothing stated", 0, nil, false, false},
		{"silent loss", 3, nil, false, true},
		{"stated", 3, func(at time.Time) time.Time { return at }, true, false},
		{"stated too little", 3, func(at time.Time) time.Time { return at.Add(time.Second) }, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := twoZones(t, cloud())
			w.AddVolume(world.Volume{ID: "vol", Server: "lic", Reach: fleet.ReachMachine, Place: "za"})
			one := launch(t, w, world.Request{Host: "a1"})
			w.Advance(10 * time.Second)
			ok(t, w.AttachVolume("vol", one))
			w.Advance(2 * time.Second)
			for range 5 {
				w.Write(one, "vol")
			}
			s := must[*world.Snapshot](t)(w.TakeSnapshot("vol", "t"))
			if again := must[*world.Snapshot](t)(w.TakeSnapshot("vol", "t")); again != s {
				t.Fatal("one token made two snapshots")
			}
			for range c.after {
				w.Write(one, "vol")
			}
			to := world.Volume{ID: "vol-b", Server: "lic", Reach: fleet.ReachMachine, Place: "zb"}
			if _, err := w.CopyVolume(s.ID, to, ""); !errors.Is(err, world.ErrVolumeState) {
				t.Fatalf("copy of a pending snapshot: %v", err)
			}
			w.Advance(time.Minute)
			ok(t, w.KillSite("za"))
			copied := must[*world.Volume](t)(w.CopyVolume(s.ID, to, ""))
			two := launch(t, w, world.Request{Server: "lic", Epoch: 2, Host: "b1"})
			w.Advance(10 * time.Second)
			if err := w.AttachVolume("vol-b", two); !errors.Is(err, world.ErrVolumeState) {
				t.Fatalf("attach while it is made: %v", err)
			}
			w.Advance(time.Minute)
			if c.state != nil {
				ok(t, w.StateLoss("vol-b", c.state(s.At)))
			}
			wantClean(t, w)
			ok(t, w.AttachVolume("vol-b", two))
			w.Advance(2 * time.Second)
			w.Write(two, "vol-b")
			loss, known := w.LossOf("vol-b")
			if !known || loss.Writes != uint64(c.after) || loss.Stated != c.stated || loss.Since != s.At {
				t.Fatalf("loss %+v", loss)
			}
			if c.violate {
				wantViolation(t, w, "S2", "nobody stated")
			} else {
				wantClean(t, w)
			}
			if copied.Runs[0].To != 5 || copied.Runs[1].Epoch != 2 {
				t.Fatalf("on the copy: %+v", copied.Runs)
			}
			if l := must[*world.Snapshot](t)(w.TakeSnapshot("vol-b", "")).Lineage; len(l) != 2 || l[0] != "vol" {
				t.Fatalf("lineage %v", l)
			}
		})
	}
}
