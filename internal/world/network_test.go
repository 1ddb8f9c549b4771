package world_test

import (
	"errors"
	"testing"
	"time"

	"relight/internal/world"
)

// network is two zones with an interface and an elastic address in zone za.
func network(t *testing.T, cfg world.Config) *world.World {
	t.Helper()
	w := twoZones(t, cfg)
	w.AddInterface(world.Interface{ID: "eni", Server: "lic", Place: "za", MAC: "02:00:00:00:00:01", IPs: []string{"10.1.0.5"}})
	w.AddAddress(world.Address{IP: "198.51.100.1", Server: "lic", Exclusive: true})
	return w
}

func TestInterfaces(t *testing.T) {
	w := network(t, cloud())
	one := launch(t, w, world.Request{Host: "a1"})
	two := launch(t, w, world.Request{Server: "lic", Epoch: 2, Host: "a2"})
	far := launch(t, w, world.Request{Server: "far", Epoch: 1, Host: "b1"})
	see := func(state, attachment string) {
		t.Helper()
		if s := must[world.InterfaceSight](t)(w.SeeInterface("eni")); s.State != state || s.Attachment != attachment {
			t.Fatalf("interface %+v, want %s %s", s, state, attachment)
		}
	}
	refuse := func(err, want error) {
		t.Helper()
		if !errors.Is(err, want) {
			t.Fatalf("error %v, want %v", err, want)
		}
	}
	refuse(w.AttachInterface("eni", one), world.ErrInstanceState)
	w.Advance(10 * time.Second)
	refuse(w.AttachInterface("eni", far), world.ErrZoneMismatch)
	refuse(w.DetachInterface("eni", one, true), world.ErrNotAttached)
	see("available", "")
	ok(t, w.AttachInterface("eni", one))
	see("in-use", "attaching")
	refuse(w.AttachInterface("eni", two), world.ErrInterfaceInUse)
	w.Advance(2 * time.Second)
	see("in-use", "attached")
	w.Interface("eni").Busy = true
	ok(t, w.DetachInterface("eni", one, false))
	see("in-use", "detaching")
	w.Advance(time.Hour)
	see("in-use", "busy")
	ok(t, w.DetachInterface("eni", one, true))
	w.Advance(3 * time.Second)
	see("available", "")
	ok(t, w.AttachInterface("eni", two))
	w.Advance(2 * time.Second)
	w.Crash(two)
	see("in-use", "attached") // a crash alone detaches nothing
	ok(t, w.Reboot(two))
	ok(t, w.DetachInterface("eni", two, false))
	w.Advance(3 * time.Second)
	see("in-use", "busy")
	w.Crash(two)
	see("available", "")

	if _, err := w.Launch(world.Request{Server: "far", Epoch: 2, Host: "b1", Interfaces: []string{"eni"}}); !errors.Is(err, world.ErrZoneMismatch) {
		t.Fatalf("launch with an interface of another zone: %v", err)
	}
	three := launch(t, w, world.Request{Server: "lic", Epoch: 3, Host: "a1", Interfaces: []string{"eni"}})
	w.Advance(10 * time.Second)
	see("in-use", "attached")
	ok(t, w.TerminateMachine(three, world.Ending{Force: true}))
	w.Advance(time.Minute)
	see("available", "")
}

func TestElasticAddress(t *testing.T) {
	w := network(t, cloud())
	const ip = "198.51.100.1"
	one := launch(t, w, world.Request{Host: "a1"})
	to := func(i *world.Instance) world.Destination { return world.Destination{Instance: i} }
	if err := w.Associate(ip, to(one), true); !errors.Is(err, world.ErrInstanceState) {
		t.Fatalf("while pending: %v", err)
	}
	w.Advance(10 * time.Second)
	ok(t, w.Associate(ip, to(one), false))
	ok(t, w.Associate(ip, to(one), false)) // again
	two := launch(t, w, world.Request{Server: "lic", Epoch: 2, Host: "a2", Interfaces: []string{"eni"}})
	w.Advance(10 * time.Second)
	eni := world.Destination{Interface: "eni"}
	if err := w.Associate(ip, eni, false); !errors.Is(err, world.ErrAssociated) {
		t.Fatalf("without leave to reassociate: %v", err)
	}
	ok(t, w.Associate(ip, eni, true))
	see := func(holder string) {
		t.Helper()
		if s := must[world.AddressSight](t)(w.SeeAddress(ip)); s.Holder != holder {
			t.Fatalf("address %+v, want holder %q", s, holder)
		}
	}
	see(two.ID)
	if len(one.Addresses) != 0 {
		t.Fatalf("the old holder still has %v", one.Addresses)
	}
	ok(t, w.DetachInterface("eni", two, true)) // the address stays with the interface
	w.Advance(3 * time.Second)
	see("")
	ok(t, w.AttachInterface("eni", one))
	w.Advance(2 * time.Second)
	see(one.ID)
	w.Disassociate(ip)
	see("")
	wantClean(t, w)
}

// TestClientsOfNames: after a record's change clients use the old answer until
// its TTL, sticky ones until their connection breaks.
func TestClientsOfNames(t *testing.T) {
	for _, sticky := range []bool{false, true} {
		w := newWorld(t, world.Config{Delays: world.Delays{DNS: span(5 * time.Second)}})
		w.AddAddress(world.Address{IP: "10.0.0.2", Server: "other"})
		one := run(t, w, 1, "host-1", world.Process)
		two := must[*world.Instance](t)(w.Prepare(world.Request{Server: "other", Epoch: 1, Host: "host-2", Style: world.Process}))
		ok(t, w.Start(two))
		ok(t, w.HoldAddress("10.0.0.1", one, false))
		ok(t, w.HoldAddress("10.0.0.2", two, false))
		w.SetRecord("db.lab", "10.0.0.1", time.Minute)
		c := world.NewClient("c", "db.lab", sticky)
		if err := w.ClientWrite(c); !errors.Is(err, world.ErrUnreachable) {
			t.Fatalf("before the name is known: %v", err)
		}
		w.Advance(5 * time.Second)
		reaches := func(when, ip string) {
			t.Helper()
			other, mine := "10.0.0.1", "10.0.0.2"
			if ip == other {
				other, mine = mine, other
			}
			// Only the holder of the right address can answer.
			h := w.Address(mine).Holders[0]
			w.SetApp(w.Instance(w.Address(other).Holders[0]), world.AppMute)
			err := w.ClientWrite(c)
			w.SetApp(w.Instance(w.Address(other).Holders[0]), world.AppOK)
			if err != nil {
				t.Fatalf("%s: did not reach %s (%s): %v", when, ip, h, err)
			}
		}
		reaches("at first", "10.0.0.1")
		w.SetRecord("db.lab", "10.0.0.2", time.Minute)
		w.Advance(59 * time.Second)
		reaches("before the TTL ends", "10.0.0.1")
		w.Advance(time.Second)
		if sticky {
			reaches("a sticky one after the TTL", "10.0.0.1")
			ok(t, w.CutHost("host-1", world.Cut{Peers: true}))
			if err := w.ClientWrite(c); err == nil {
				t.Fatal("its server is cut off")
			}
		}
		reaches("after the TTL", "10.0.0.2")
	}
}

// TestClientOfAnOldEpoch: what an old epoch acknowledges after a new one has
// served is lost, and Check says so.
func TestClientOfAnOldEpoch(t *testing.T) {
	for _, allow := range []bool{false, true} {
		w := newWorld(t, world.Config{})
		w.AddAddress(world.Address{IP: "10.0.0.7", Server: "lic", AllowTwo: allow})
		one := run(t, w, 1, "host-1", world.Process)
		ok(t, w.HoldAddress("10.0.0.7", one, false))
		ok(t, w.CutHost("host-1", world.Cut{Control: true}))
		two := run(t, w, 2, "host-2", world.Process)
		ok(t, w.HoldAddress("10.0.0.7", two, false))
		c := world.NewClient("c", "10.0.0.7", false)
		for range 4 {
			ok(t, w.ClientWrite(c))
		}
		if c.Acked[1] != 2 || c.Acked[2] != 2 {
			t.Fatalf("two holders share an address: %v", c.Acked)
		}
		if allow {
			wantClean(t, w)
		} else {
			wantViolation(t, w, "S1", "acknowledged by epoch 1 after epoch 2")
		}
	}
}

// TestClientIsToldWhatIsDurable: a write is acknowledged when all volumes have
// it, and fails if its host dies first.
func TestClientIsToldWhatIsDurable(t *testing.T) {
	w := newWorld(t, world.Config{WriteLatency: time.Second})
	one := run(t, w, 1, "host-1", world.Process, "lic/data", "lic/nfs")
	ok(t, w.HoldAddress("10.0.0.1", one, false))
	c := world.NewClient("c", "10.0.0.1", false)
	ok(t, w.ClientWrite(c))
	if len(c.Acked) != 0 {
		t.Fatal("acknowledged before it was durable")
	}
	w.Advance(time.Second)
	ok(t, w.ClientWrite(c))
	ok(t, w.KillHost("host-1"))
	w.Advance(time.Second)
	if c.Acked[1] != 1 || c.Failed != 1 {
		t.Fatalf("acknowledged %v, failed %d", c.Acked, c.Failed)
	}
	wantClean(t, w)
}

func TestTargetGroup(t *testing.T) {
	w := newWorld(t, world.Config{})
	w.AddGroup(world.Group{Name: "tg", Drain: 30 * time.Second, Every: 10 * time.Second, Rise: 2, Fall: 3})
	one := run(t, w, 1, "host-1", world.Process)
	states := func(want ...world.MemberState) {
		t.Helper()
		members := must[[]*world.Member](t)(w.Members("tg"))
		got := []world.MemberState{}
		for _, m := range members {
			got = append(got, m.State)
		}
		if len(got) != len(want) {
			t.Fatalf("members %v, want %v", got, want)
		}
		for n := range got {
			if got[n] != want[n] {
				t.Fatalf("members %v, want %v", got, want)
			}
		}
	}
	fresh, loyal := world.NewClient("fresh", "tg", false), world.NewClient("loyal", "tg", true)
	if err := w.ClientWrite(fresh); !errors.Is(err, world.ErrUnreachable) {
		t.Fatalf("an empty group: %v", err)
	}
	ok(t, w.Register("tg", one))
	states(world.MemberInitial)
	ok(t, w.ClientWrite(fresh)) // none is healthy, so all are asked
	w.Advance(20 * time.Second)
	states(world.MemberHealthy)
	w.SetApp(one, world.AppFails)
	w.Advance(20 * time.Second)
	states(world.MemberHealthy)
	w.Advance(10 * time.Second)
	states(world.MemberUnhealthy)
	w.SetApp(one, world.AppOK)
	w.Advance(20 * time.Second)
	ok(t, w.ClientWrite(loyal))

	ok(t, w.Deregister("tg", one))
	states(world.MemberDraining)
	wantClean(t, w)
	two := run(t, w, 2, "host-2", world.Process)
	ok(t, w.Register("tg", two))
	wantClean(t, w) // one only drains
	ok(t, w.ClientWrite(fresh))
	if fresh.Acked[2] != 1 {
		t.Fatalf("a new connection went to %v", fresh.Acked)
	}
	ok(t, w.ClientWrite(loyal)) // its connection is still with the one that drains
	if loyal.Acked[1] != 2 {
		t.Fatalf("the old connection went to %v", loyal.Acked)
	}
	wantViolation(t, w, "S1", "loyal was acknowledged by epoch 1 after epoch 2")
	w.Advance(30 * time.Second)
	states(world.MemberHealthy)
	ok(t, w.ClientWrite(loyal))
	if loyal.Acked[2] != 1 {
		t.Fatalf("after the drain: %v", loyal.Acked)
	}
	ok(t, w.Register("tg", one))
	wantViolation(t, w, "S1", "both have the place")
}

// TestDrainsDoNotMix: a target that came back and drains anew has its full time.
func TestDrainsDoNotMix(t *testing.T) {
	w := newWorld(t, world.Config{})
	w.AddGroup(world.Group{Name: "tg", Drain: 30 * time.Second})
	one := run(t, w, 1, "host-1", world.Process)
	for range 2 {
		ok(t, w.Register("tg", one))
		ok(t, w.Deregister("tg", one))
		w.Advance(15 * time.Second)
	}
	for want := 1; want >= 0; want-- {
		w.Advance(8 * time.Second)
		if m := must[[]*world.Member](t)(w.Members("tg")); len(m) != want {
			t.Fatalf("%d targets, want %d", len(m), want)
		}
	}
}

// TestFrozenTargetComesBack: the place is doubled when the host thaws, not when
// the second one registers.
func TestFrozenTargetComesBack(t *testing.T) {
	w := newWorld(t, world.Config{})
	w.AddGroup(world.Group{Name: "tg"})
	ok(t, w.Register("tg", run(t, w, 1, "host-1", world.Process)))
	ok(t, w.FreezeHost("host-1"))
	ok(t, w.Register("tg", run(t, w, 2, "host-2", world.Process)))
	wantClean(t, w)
	ok(t, w.ThawHost("host-1"))
	wantViolation(t, w, "S1", "both have the place")
}
