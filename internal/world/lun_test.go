package world

import (
	"testing"
	"time"

	"relight/internal/core/fleet"
)

// sanWorld has a server's LUN on an array and two hosts; epoch 1 runs and writes.
func sanWorld(t *testing.T) (*World, *Array, *LUN, *Instance) {
	t.Helper()
	clock := NewVirtual(time.Date(2031, 5, 1, 12, 0, 0, 0, time.UTC))
	w := New(Config{Clock: clock, WriteEvery: 10 * time.Millisecond})
	for _, h := range []string{"host-1", "host-2"} {
		w.AddHost(Host{Name: h, Units: 4})
	}
	w.AddVolume(Volume{ID: "db/data", Server: "db", Reach: fleet.ReachArray})
	traits := TGT()
	traits.Forgets = true
	a := w.AddArray(Array{Name: "san-1", Traits: traits, Latency: Span{Min: 2 * time.Millisecond, Max: 2 * time.Millisecond}})
	l, err := w.AddLUN("san-1", "db", 1, "db/data")
	if err != nil {
		t.Fatal(err)
	}
	w.LetIn(l, 1)
	return w, a, l, launchOn(t, w, l, 1, "host-1")
}

func launchOn(t *testing.T, w *World, l *LUN, epoch fleet.Epoch, host string) *Instance {
	t.Helper()
	i, err := w.Prepare(Request{Server: "db", Epoch: epoch, Host: host, Style: Process, Units: 1})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Start(i); err != nil {
		t.Fatal(err)
	}
	if err := w.Plug(i, l); err != nil {
		t.Fatal(err)
	}
	w.Advance(10 * time.Second)
	return i
}

func acked(w *World, e fleet.Epoch) uint64 { return w.Volume("db/data").Acked(e) }

// A zombie that is shut out writes no more, whatever it holds and however often it
// tries; the next epoch goes on.
func TestAShutEpochWritesNoMore(t *testing.T) {
	w, a, l, _ := sanWorld(t)
	before := acked(w, 1)
	if before == 0 || len(a.Sessions("db")) != 1 || len(l.Epochs()) != 1 || !l.LetsIn(1) {
		t.Fatalf("%d writes, sessions %v, epochs %v", before, a.Sessions("db"), l.Epochs())
	}
	if !w.Shut(l, 1) || len(l.Epochs()) != 0 {
		t.Fatalf("it is not shut out: %v", l.Epochs())
	}
	shut := acked(w, 1)
	w.LetIn(l, 2)
	launchOn(t, w, l, 2, "host-2")
	w.Advance(time.Minute)
	if acked(w, 1) != shut || acked(w, 2) == 0 {
		t.Errorf("epoch 1 has %d writes after %d, epoch 2 %d", acked(w, 1), shut, acked(w, 2))
	}
	if found := w.Check(); len(found) > 0 {
		t.Error(found)
	}
}

// One that was not shut out lands beside the next epoch, and the world says so.
func TestAnEpochThatIsNotShutOutIsSeen(t *testing.T) {
	w, _, l, _ := sanWorld(t)
	w.LetIn(l, 2)
	launchOn(t, w, l, 2, "host-2")
	if found := w.Check(); len(found) == 0 {
		t.Error("two epochs write and nobody sees it")
	}
}

// A restart takes maps and sessions; the guest writes on once it is let in again.
func TestAnArrayForgets(t *testing.T) {
	w, a, l, _ := sanWorld(t)
	w.RestartArray(a)
	w.Advance(5 * time.Second)
	lost := acked(w, 1)
	w.Advance(5 * time.Second)
	if acked(w, 1) != lost || len(l.Epochs()) != 0 {
		t.Fatalf("it writes on: %d after %d, epochs %v", acked(w, 1), lost, l.Epochs())
	}
	w.LetIn(l, 1)
	w.Advance(10 * time.Second)
	if acked(w, 1) == lost {
		t.Error("it does not write on")
	}
}

// A session that is stuck stays listed; the kernel of a host that lives ends those of
// its dead processes, one that is gone does not.
func TestSessionsOutliveTheirHost(t *testing.T) {
	w, a, l, _ := sanWorld(t)
	w.SetArray(a, false, false, true)
	if w.Shut(l, 1) {
		t.Error("a stuck session counts as gone")
	}
	w.SetArray(a, false, false, false)
	w.LetIn(l, 1)
	w.Advance(5 * time.Second)
	if err := w.KillHost("host-1"); err != nil {
		t.Fatal(err)
	}
	if len(a.Sessions("db")) != 1 {
		t.Error("a dead host has closed its connection")
	}
	w.Shut(l, 1)
	w.LetIn(l, 2)
	i := launchOn(t, w, l, 2, "host-2")
	if err := w.Kill(i); err != nil {
		t.Fatal(err)
	}
	w.Advance(time.Second) // what it brought in lands
	if len(a.Sessions("db")) != 0 {
		t.Error("a session outlives its process on a host that lives")
	}
}

func TestEpochOf(t *testing.T) {
	for iqn, want := range map[string]fleet.Epoch{"db.e3": 3, "db.e03": 0, "db.e": 0, "db-2.e3": 0, "x": 0} {
		if got := EpochOf("db", iqn); got != want {
			t.Errorf("%s: %d, want %d", iqn, got, want)
		}
	}
}

// What was shut out stays out: who lets it in again breaks a promise, unless it is a
// person, whose doing is shown until the epoch is shut out once more.
func TestShutOutStaysOut(t *testing.T) {
	w, _, l, _ := sanWorld(t)
	if !w.Shut(l, 1) {
		t.Fatal("not shut out")
	}
	w.LetIn(l, 2)
	w.LetInPastUs(l, 1)
	if w.Advance(5 * time.Second); !l.PastUs(1) || len(w.Check()) > 0 {
		t.Fatalf("a person's doing counts: %v", w.Check())
	}
	if !w.Shut(l, 1) || l.PastUs(1) {
		t.Fatalf("not shut out again: %v, %v, inside %v, past us %v", l.Maps(), l.Epochs(), l.Inside(), l.PastUs(1))
	}
	w.LetIn(l, 1)
	if found := w.Check(); len(found) != 1 || found[0].Invariant != "S2" {
		t.Fatalf("let in again: %v", found)
	}
}

// A slow array lists a killed session until its last write has landed, and a full one
// takes none.
func TestSlowAndFull(t *testing.T) {
	w, a, l, _ := sanWorld(t)
	w.Trouble(a, func(t *ArrayTrouble) { t.Slow = 10 * time.Second })
	w.Advance(time.Second)
	if w.Shut(l, 1) || len(l.Inside()) != 1 {
		t.Fatalf("shut out with a write inside: %v", l.Inside())
	}
	if w.Advance(10 * time.Second); !w.Shut(l, 1) || len(l.Inside()) != 0 || len(w.Check()) > 0 {
		t.Fatalf("still inside: %v, %v", l.Inside(), w.Check())
	}
	w.Trouble(a, func(t *ArrayTrouble) { t.Slow, t.Full = 0, true })
	w.LetIn(l, 2)
	launchOn(t, w, l, 2, "host-2")
	if acked(w, 2) != 0 {
		t.Error("a full array took a write")
	}
}

// A session that nobody can end has its unit taken away once nothing of it is inside: it is
// listed on, and brings nothing more.
func TestAUnitIsTakenAway(t *testing.T) {
	w, a, l, i := sanWorld(t)
	w.Advance(time.Second)
	w.SetArray(a, false, false, true)
	if w.TakeAway(l, 1) {
		t.Fatal("it was taken away from an epoch that is in the map")
	}
	w.Unmap(l, EpochIQN("db", 1))
	for n := 0; len(l.Inside()) == 0; n++ {
		if n > 1000 {
			t.Fatal("it does not write")
		}
		w.Advance(time.Millisecond)
	}
	if w.TakeAway(l, 1) || l.Bare(1) {
		t.Fatal("it was taken away with a write inside")
	}
	for n := 0; !w.TakeAway(l, 1); n++ {
		if n > 1000 {
			t.Fatal("a write is inside at any time")
		}
		w.Advance(time.Millisecond)
	}
	before := acked(w, 1)
	w.Advance(10 * time.Second)
	if acked(w, 1) != before || len(l.Sessions()) == 0 || !l.Refuses(1) || l.Drained(EpochIQN("db", 1)) {
		t.Errorf("%d writes of it are acknowledged, %d before; %d sessions are listed", acked(w, 1), before, len(l.Sessions()))
	}
	w.LetIn(l, 2)
	launchOn(t, w, l, 2, "host-2")
	w.Advance(time.Second)
	if got := w.Check(); len(got) > 0 || acked(w, 2) == 0 {
		t.Errorf("the next epoch has %d writes, and %v", acked(w, 2), got)
	}
	if !i.Executes {
		t.Error("the old one was ended")
	}
}
