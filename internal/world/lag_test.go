package world_test

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"relight/internal/world"
)

// TestLag reads a machine that starts and stops: every answer was true at most
// Lag ago, and answers go back only where they may.
func TestLag(t *testing.T) {
	order := map[string]int{"": 0, "pending": 1, "running": 2, "stopping": 3, "stopped": 4}
	for _, goesBack := range []bool{false, true} {
		cfg := cloud()
		cfg.Rand, cfg.Lag, cfg.ReadsGoBack = rand.New(rand.NewPCG(1, 1)), 5*time.Second, goesBack
		w := newWorld(t, cfg)
		i := launch(t, w, world.Request{})
		truth := []string{"", "", "", "", "", "", "", "", "", ""} // the states of the last 5 s, each 500 ms
		missing, back, last := false, false, ""
		for n := range 120 {
			if n == 40 {
				ok(t, w.StopMachine(i, world.Ending{}))
			}
			truth = append(truth, i.PlatformState())
			seen, err := w.SeeInstance(i.ID)
			if err != nil {
				if !errors.Is(err, world.ErrNotFound) || n >= 10 {
					t.Fatalf("after %d looks: %v", n, err)
				}
				missing = true
			}
			was := false
			for _, s := range truth[len(truth)-11:] {
				was = was || s == seen.State
			}
			if !was {
				t.Fatalf("look %d saw %q, which was never so in the last 5 s", n, seen.State)
			}
			back = back || order[seen.State] < order[last]
			last = seen.State
			w.Advance(500 * time.Millisecond)
		}
		if !missing || back != goesBack || last != "stopped" {
			t.Fatalf("goes back %v: fresh one missing %v, went back %v, ended %s", goesBack, missing, back, last)
		}
	}
}

// TestOldSights: what was long so is seen at once, what has just changed is seen
// late by at least one of some looks, and after Lag by all.
func TestOldSights(t *testing.T) {
	cfg := world.Config{Rand: rand.New(rand.NewPCG(1, 1)), Lag: 10 * time.Second, ReadsGoBack: true}
	w := network(t, cfg)
	w.Advance(time.Minute)
	i := launch(t, w, world.Request{Host: "a1"})
	ok(t, w.AttachVolume("lic/nfs", i))
	ok(t, w.AttachInterface("eni", i))
	ok(t, w.Associate("198.51.100.1", world.Destination{Instance: i}, false))
	old := func() (n [3]int) {
		for range 20 {
			if must[world.VolumeSight](t)(w.SeeVolume("lic/nfs")).State == "available" {
				n[0]++
			}
			if must[world.InterfaceSight](t)(w.SeeInterface("eni")).State == "available" {
				n[1]++
			}
			if must[world.AddressSight](t)(w.SeeAddress("198.51.100.1")).Holder == "" {
				n[2]++
			}
		}
		return n
	}
	w.Advance(5 * time.Second)
	for n, count := range old() {
		if count == 0 || count == 20 {
			t.Errorf("object %d, 5 s after its change: %d of 20 looks saw it old", n, count)
		}
	}
	w.Advance(5 * time.Second)
	if n := old(); n != [3]int{} {
		t.Errorf("10 s after the change %v looks saw it old", n)
	}
}

func TestTerminatedMachinesAreForgotten(t *testing.T) {
	cfg := cloud()
	cfg.Forget = time.Hour
	w := newWorld(t, cfg)
	i := launch(t, w, world.Request{})
	ok(t, w.TerminateMachine(i, world.Ending{}))
	w.Advance(time.Hour)
	if s := must[world.InstanceSight](t)(w.SeeInstance(i.ID)); s.State != "terminated" {
		t.Fatalf("an hour after the call: %+v", s)
	}
	w.Advance(time.Minute)
	if _, err := w.SeeInstance(i.ID); !errors.Is(err, world.ErrNotFound) {
		t.Fatalf("an hour after its end: %v", err)
	}
}

// TestReplies: a doubled call without a token makes two objects, with one it
// makes one; a lost reply was carried out and a dropped call was not.
func TestReplies(t *testing.T) {
	for _, c := range []struct {
		name    string
		replies world.Replies
		token   string
		made    int
		err     error
		after   time.Duration
	}{
		{"good", world.Replies{}, "", 1, nil, 0},
		{"dropped", world.Replies{Dropped: 1}, "", 0, world.ErrReplyLost, 0},
		{"lost", world.Replies{Lost: 1}, "", 1, world.ErrReplyLost, 0},
		{"late", world.Replies{Late: 1, Delay: span(time.Minute)}, "", 1, nil, time.Minute},
		{"doubled without a token", world.Replies{Doubled: 1}, "", 2, nil, 0},
		{"doubled with a token", world.Replies{Doubled: 1}, "t", 1, nil, 0},
	} {
		cfg := cloud()
		cfg.Replies, cfg.Rand = c.replies, rand.New(rand.NewPCG(1, 1))
		w := newWorld(t, cfg)
		r := w.Call(world.Call{API: "RunInstances"}, func() error {
			_, err := w.Launch(world.Request{Server: "lic", Epoch: 1, Token: c.token})
			return err
		})
		if made := len(w.Of("lic")); made != c.made || !errors.Is(r.Err, c.err) || r.After != c.after {
			t.Errorf("%s: made %d, reply %+v", c.name, made, r)
		}
	}
}

// The reply of one call is lost, and of no other: a test must not lose the look before it.
func TestLoseReplies(t *testing.T) {
	w := newWorld(t, world.Config{})
	w.LoseReplies("RunInstances", 1)
	var told []bool
	done := 0
	for _, api := range []string{"DescribeInstances", "RunInstances", "RunInstances"} {
		told = append(told, w.Call(world.Call{API: api}, func() error { done++; return nil }).Err == nil)
	}
	if !slices.Equal(told, []bool{true, false, true}) || done != 3 {
		t.Errorf("told %v, %d carried out", told, done)
	}
}

func TestThrottledCall(t *testing.T) {
	w := newWorld(t, world.Config{})
	w.SetQuota("X", 1, 1)
	do := func() error { return nil }
	if r := w.Call(world.Call{API: "X"}, do); r.Err != nil {
		t.Fatal(r.Err)
	}
	if r := w.Call(world.Call{API: "X"}, do); !errors.Is(r.Err, world.ErrThrottled) {
		t.Fatal(r.Err)
	}
}

// An elastic address that leads to an interface goes where that goes, also for those who
// read late: it was seen with the interface's old holder for ever.
func TestLateReadersSeeAnAddressFollowItsInterface(t *testing.T) {
	cfg := cloud()
	cfg.Rand, cfg.Lag = rand.New(rand.NewPCG(1, 1)), time.Second
	w := network(t, cfg)
	one, two := launch(t, w, world.Request{Host: "a1"}), launch(t, w, world.Request{Server: "lic", Epoch: 2, Host: "a2"})
	w.Advance(time.Minute)
	for _, i := range []*world.Instance{one, two} {
		ok(t, w.AttachInterface("eni", i))
		ok(t, w.Associate("198.51.100.1", world.Destination{Interface: "eni"}, false))
		w.Advance(time.Minute)
		if s := must[world.AddressSight](t)(w.SeeAddress("198.51.100.1")); s.Holder != i.ID {
			t.Errorf("with %s it is seen at %q", i.ID, s.Holder)
		}
		ok(t, w.DetachInterface("eni", i, false))
		w.Advance(time.Minute)
		if s := must[world.AddressSight](t)(w.SeeAddress("198.51.100.1")); s.Holder != "" {
			t.Errorf("without a holder it is seen at %q", s.Holder)
		}
	}
}
