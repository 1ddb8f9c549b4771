package world_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"relight/internal/core/fleet"
	"relight/internal/world"
)

// san is a world with an array, a unit, and an epoch 1 that may use it.
func san(t *testing.T, traits world.ArrayTraits) (*world.World, *world.LUN) {
	t.Helper()
	w := newWorld(t, world.Config{})
	w.AddVolume(world.Volume{ID: "lun-1", Server: "lic", Reach: fleet.ReachMachine})
	w.AddArray(world.Array{Name: "san", Site: "zone-a", Traits: traits, Latency: span(3 * time.Second)})
	return w, must[*world.LUN](t)(w.AddLUN("san", "iqn.2030-01.lab:lic", 1, "lun-1"))
}

// guest starts an epoch on a host with an initiator of its own.
func guest(t *testing.T, w *world.World, e fleet.Epoch, host string) (*world.Instance, *world.Initiator) {
	t.Helper()
	i := run(t, w, e, host, world.Process)
	return i, w.NewInitiator(i, iqn(e), "")
}

func iqn(e fleet.Epoch) string { return fmt.Sprintf("iqn.2030-01.lab:lic.e%d", e) }

// TestFenceStepLeftOut fences epoch 1, which is cut off and writes on, and lets
// epoch 2 in. Each step that is left out must lead to two writers.
func TestFenceStepLeftOut(t *testing.T) {
	all := []string{"unmap", "kill", "wait", "never map again"}
	for _, traits := range []world.ArrayTraits{world.TGT(), world.LIO()} {
		for _, left := range append([]string{"nothing"}, all...) {
			if traits.UnmapStops && left == "kill" {
				continue // there the unmap kills
			}
			t.Run(fmt.Sprintf("unmap stops %v, without %s", traits.UnmapStops, left), func(t *testing.T) {
				w, l := san(t, traits)
				_, one := guest(t, w, 1, "host-1")
				w.Map(l, one.IQN)
				ok(t, w.CutHost("host-1", world.Cut{Control: true, Peers: true}))
				ok(t, w.Submit(one, l, world.CmdWrite))
				w.Advance(time.Second)
				if left != "unmap" {
					w.Unmap(l, one.IQN)
				}
				if left != "kill" {
					for _, s := range w.Array("san").Sessions(l.Target) {
						w.KillSession(s)
					}
				}
				w.Advance(time.Second) // long enough for a login, not for a write that is inside
				if left != "wait" && left != "unmap" && left != "kill" {
					for !l.Drained(one.IQN) {
						w.Advance(100 * time.Millisecond)
					}
				}
				_, two := guest(t, w, 2, "host-2")
				w.Map(l, two.IQN)
				w.Array("san").Latency = world.Span{}
				ok(t, w.Submit(two, l, world.CmdWrite))
				_ = w.Submit(one, l, world.CmdWrite)
				w.Advance(time.Minute)
				if left == "never map again" {
					w.Map(l, one.IQN)
					w.Advance(time.Minute)
				}
				if left == "nothing" {
					wantClean(t, w)
				} else {
					wantViolation(t, w, "S1", "epoch 1 wrote after epoch 2")
				}
				if v := w.Volume("lun-1"); left == "nothing" && (len(v.Runs) != 2 || one.Parked() == 0) {
					t.Fatalf("writes %+v, parked %d", v.Runs, one.Parked())
				}
			})
		}
	}
}

func TestParkedWritesComeBack(t *testing.T) {
	w, l := san(t, world.TGT())
	i, one := guest(t, w, 1, "host-1")
	w.Map(l, one.IQN)
	w.Sever("zone-a", "host-1") // the array from one host
	ok(t, w.Submit(one, l, world.CmdWrite))
	ok(t, w.Submit(one, l, world.CmdWrite))
	w.Advance(time.Minute)
	if len(w.Volume("lun-1").Runs) != 0 || one.Parked() != 2 {
		t.Fatalf("cut off: writes %+v, parked %d", w.Volume("lun-1").Runs, one.Parked())
	}
	w.Mend("zone-a", "host-1")
	w.Advance(time.Minute)
	if r := w.Volume("lun-1").Runs; len(r) != 1 || r[0].To != 2 || one.Parked() != 0 {
		t.Fatalf("mended: writes %+v, parked %d", r, one.Parked())
	}
	w.SetOffline(l, true)
	ok(t, w.Submit(one, l, world.CmdWrite))
	ok(t, w.Reboot(i)) // memory is lost with what was parked in it
	w.SetOffline(l, false)
	w.Advance(time.Minute)
	if r := w.Volume("lun-1").Runs; r[0].To != 2 || one.Parked() != 0 {
		t.Fatalf("rebooted: writes %+v, parked %d", r, one.Parked())
	}
	for n := range 100 {
		if err := w.Submit(one, l, world.CmdWrite); !errors.Is(err, world.ErrUnreachable) {
			t.Fatalf("write %d of the guest before the reboot: %v", n, err)
		}
	}
	wantClean(t, w)
}

// TestKilledSessionIsNotTold: a write whose session was killed lands, its guest is
// not told, and so sends it again.
func TestKilledSessionIsNotTold(t *testing.T) {
	w, l := san(t, world.TGT())
	_, one := guest(t, w, 1, "host-1")
	w.Map(l, one.IQN)
	ok(t, w.Submit(one, l, world.CmdWrite))
	w.KillSession(w.Array("san").Sessions(l.Target)[0])
	w.Advance(time.Minute)
	if v := w.Volume("lun-1"); v.Runs[0].Count() != 2 || v.Runs[0].To != 1 || v.Acked(1) != 1 {
		t.Fatalf("writes %+v, %d acknowledged", v.Runs, v.Acked(1))
	}
	wantClean(t, w)
}

func TestTwoWhoCouldWrite(t *testing.T) {
	w, l := san(t, world.TGT())
	_, one := guest(t, w, 1, "host-1")
	_, two := guest(t, w, 2, "host-2")
	for _, ini := range []*world.Initiator{one, two} {
		w.Map(l, ini.IQN)
		wantClean(t, w)
		must[*world.Session](t)(w.Login(ini, "san", l.Target))
	}
	wantViolation(t, w, "S1", "can both write")
}

func TestThawMakesTwoWhoCouldWrite(t *testing.T) {
	w, l := san(t, world.TGT())
	_, one := guest(t, w, 1, "host-1")
	w.Map(l, one.IQN)
	must[*world.Session](t)(w.Login(one, "san", l.Target))
	ok(t, w.FreezeHost("host-1"))
	_, two := guest(t, w, 2, "host-2")
	w.Map(l, two.IQN)
	must[*world.Session](t)(w.Login(two, "san", l.Target))
	wantClean(t, w)
	ok(t, w.ThawHost("host-1"))
	wantViolation(t, w, "S1", "can both write")
}

func TestLogin(t *testing.T) {
	w, l := san(t, world.TGT())
	_, one := guest(t, w, 1, "host-1")
	one.ISID = "1"
	login := func() (*world.Session, error) { return w.Login(one, "san", l.Target) }
	if _, err := login(); !errors.Is(err, world.ErrLoginRefused) {
		t.Fatalf("not mapped: %v", err)
	}
	w.Map(l, one.IQN)
	must[*world.Session](t)(login())
	must[*world.Session](t)(login())
	if s := w.Array("san").Sessions(l.Target); len(s) != 1 {
		t.Fatalf("the same port twice: %d sessions", len(s))
	}
	same := w.NewInitiator(nil, one.IQN, "2") // another machine with the name
	must[*world.Session](t)(w.Login(same, "san", l.Target))
	if s := w.Array("san").Sessions(l.Target); len(s) != 2 {
		t.Fatalf("two ports with one name: %d sessions", len(s))
	}
	ok(t, w.CutHost("host-1", world.Cut{Storage: true}))
	if _, err := login(); !errors.Is(err, world.ErrUnreachable) {
		t.Fatalf("cut off: %v", err)
	}
}

// TestReservations is what each make of array does with a preempted writer.
func TestReservations(t *testing.T) {
	for name, c := range map[string]struct {
		traits  world.ArrayTraits
		kind    world.Command
		refused bool
		abort   error
		keeps   bool
	}{
		"tgt write":      {world.TGT(), world.CmdWrite, true, world.ErrUnsupported, false},
		"tgt write same": {world.TGT(), world.CmdWriteSame, false, world.ErrUnsupported, false},
		"tgt unmap":      {world.TGT(), world.CmdUnmap, false, world.ErrUnsupported, false},
		"tgt read":       {world.TGT(), world.CmdRead, false, world.ErrUnsupported, false},
		"lio write":      {world.LIO(), world.CmdWrite, true, nil, true},
		"lio write same": {world.LIO(), world.CmdWriteSame, true, nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			w, l := san(t, c.traits)
			_, one := guest(t, w, 1, "host-1")
			one.ISID = "1"
			ctl := w.NewInitiator(nil, "iqn.2030-01.lab:ctl", "c")
			w.Map(l, one.IQN)
			w.Map(l, ctl.IQN)
			s1, s2 := must[*world.Session](t)(w.Login(one, "san", l.Target)), must[*world.Session](t)(w.Login(ctl, "san", l.Target))
			ok(t, w.RegisterKey(s1, l, 0, 1, false))
			ok(t, w.Reserve(s1, l, 1))
			ok(t, w.RegisterKey(s1, l, 1, 7, false)) // a new key keeps the reservation
			ok(t, w.RegisterKey(s1, l, 7, 1, false))
			if l.Reserved() != s1.Nexus {
				t.Fatal("a new key lost the reservation")
			}
			ok(t, w.RegisterKey(s2, l, 0, 2, false))
			for _, err := range []error{
				w.RegisterKey(s2, l, 9, 3, false), w.Reserve(s2, l, 2), w.Reserve(s2, l, 9),
				w.Preempt(s2, l, 9, 1, false), w.Preempt(s2, l, 2, 9, false),
			} {
				if !errors.Is(err, world.ErrReservation) {
					t.Fatalf("a wrong key: %v", err)
				}
			}
			ok(t, w.Submit(one, l, world.CmdWrite)) // inside when it is preempted
			err := w.Preempt(s2, l, 2, 1, true)
			if !errors.Is(err, c.abort) {
				t.Fatalf("preempt and abort: %v", err)
			}
			if err != nil {
				ok(t, w.Preempt(s2, l, 2, 1, false))
			}
			if keys := l.Keys(); !slices.Equal(keys, []uint64{2}) || l.Reserved() != s2.Nexus {
				t.Fatalf("keys %v, reserved by %v", keys, l.Reserved())
			}
			if err := w.Submit(one, l, c.kind); errors.Is(err, world.ErrReservation) != c.refused {
				t.Fatalf("%s after the preemption: %v", c.kind, err)
			}
			w.Advance(time.Minute)
			landed := 0
			for _, r := range w.Volume("lun-1").Runs {
				landed += int(r.To-r.From) + 1
			}
			want := 0
			if c.abort != nil {
				want++ // without abort, what was inside lands
			}
			if !c.refused && c.kind != world.CmdRead {
				want++
			}
			if landed != want {
				t.Fatalf("%d writes landed, want %d", landed, want)
			}
			ok(t, w.RegisterKey(s1, l, 0, 5, true)) // nothing keeps a preempted one from coming back
			if err := w.Submit(one, l, world.CmdWrite); err != nil {
				t.Fatalf("registered again: %v", err)
			}
			w.KillSession(s1)
			if kept := slices.Contains(l.Keys(), 5); kept != c.keeps {
				t.Fatalf("after its session: keys %v", l.Keys())
			}
			w.RestartArray(w.Array("san"))
			if len(l.Keys()) != 0 {
				t.Fatalf("after a restart: keys %v", l.Keys())
			}
		})
	}
}

// TestNothingOfADrainedInitiatorLands does at random whatever arrays, hosts and
// guests do. Once an initiator is unmapped and its array lists nothing of it, no
// write of it may land until it is mapped again; on arrays that hide closed
// sessions that must fail, or the model would not be able to show it.
func TestNothingOfADrainedInitiatorLands(t *testing.T) {
	for _, traits := range []world.ArrayTraits{world.TGT(), world.LIO()} {
		rapid.Check(t, func(r *rapid.T) { drain(t, r, traits, nil) })
	}
	liar := world.TGT()
	liar.ListsDraining = false
	late := 0
	for range 20 { // one round of draws may miss it
		if late == 0 {
			rapid.Check(t, func(r *rapid.T) { drain(t, r, liar, &late) })
		}
	}
	if late == 0 {
		t.Fatal("an array that hides closed sessions was never caught")
	}
}

// drain runs one random story. late counts writes that land too late; without it
// they are errors.
func drain(t *testing.T, r *rapid.T, traits world.ArrayTraits, late *int) {
	w, l := san(t, traits)
	guests := map[fleet.Epoch]*world.Initiator{}
	for e := fleet.Epoch(1); e <= 2; e++ {
		_, guests[e] = guest(t, w, e, fmt.Sprintf("host-%d", e))
	}
	drained := map[fleet.Epoch]bool{}
	stored := func(e fleet.Epoch) (n uint64) {
		for _, x := range w.Volume("lun-1").Runs {
			if x.Epoch == e {
				n += x.Count()
			}
		}
		return n
	}
	look := func(before map[fleet.Epoch]uint64) {
		for e := fleet.Epoch(1); e <= 2; e++ {
			if n := stored(e); drained[e] && n != before[e] {
				if late == nil {
					r.Fatalf("epoch %d was drained, and a write of it landed", e)
				}
				*late++
			}
			before[e] = stored(e)
			drained[e] = l.Drained(iqn(e))
		}
	}
	before := map[fleet.Epoch]uint64{}
	for range rapid.IntRange(1, 60).Draw(r, "steps") {
		e := fleet.Epoch(rapid.IntRange(1, 2).Draw(r, "epoch"))
		host := fmt.Sprintf("host-%d", e)
		switch rapid.SampledFrom([]string{"map", "unmap", "kill", "write", "write", "write", "wait", "wait", "cut", "mend", "freeze", "thaw", "offline", "online"}).Draw(r, "op") {
		case "map":
			w.Map(l, iqn(e))
		case "unmap":
			w.Unmap(l, iqn(e))
		case "kill":
			for _, s := range w.Array("san").Sessions(l.Target) {
				if s.Nexus.IQN == iqn(e) {
					w.KillSession(s)
				}
			}
		case "write":
			_ = w.Submit(guests[e], l, world.CmdWrite)
		case "wait":
			w.Advance(time.Duration(rapid.IntRange(0, 4000).Draw(r, "ms")) * time.Millisecond)
		case "cut":
			ok(t, w.CutHost(host, world.Cut{Storage: true}))
		case "mend":
			ok(t, w.CutHost(host, world.Cut{}))
		case "freeze":
			ok(t, w.FreezeHost(host))
		case "thaw":
			ok(t, w.ThawHost(host))
		case "offline", "online":
			w.SetOffline(l, rapid.Bool().Draw(r, "offline"))
		}
		look(before)
	}
	w.Advance(time.Minute)
	look(before)
}

func TestSANSameSeedSameTrace(t *testing.T) {
	trace := func(seed uint64) uint64 {
		rnd := rand.New(rand.NewPCG(seed, 1))
		w := newWorld(t, world.Config{Rand: rnd})
		w.AddArray(world.Array{Name: "san", Traits: world.TGT(), Latency: world.Span{Min: time.Millisecond, Max: 5 * time.Second}})
		for n := range 5 {
			v := fmt.Sprintf("v%d", n)
			w.AddVolume(world.Volume{ID: v, Server: "lic", Reach: fleet.ReachMachine})
			must[*world.LUN](t)(w.AddLUN("san", "t", n, v))
		}
		_, one := guest(t, w, 1, "host-1")
		for range 500 {
			l := w.Array("san").LUN("t", rnd.IntN(5))
			switch rnd.IntN(5) {
			case 0:
				w.Map(l, one.IQN)
			case 1:
				w.Unmap(l, one.IQN)
			case 2:
				for _, s := range w.Array("san").Sessions("t") {
					w.KillSession(s)
				}
			default:
				_ = w.Submit(one, l, world.CmdWrite)
			}
			w.Advance(time.Second)
		}
		return w.Trace()
	}
	if one := trace(1); one != trace(1) || one == trace(2) {
		t.Fatal("the trace is not a function of the seed")
	}
}
