package world_test

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"relight/internal/core/fleet"
	"relight/internal/world"
)

var start = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)

func newWorld(t *testing.T, cfg world.Config) *world.World {
	t.Helper()
	if cfg.Clock == nil {
		cfg.Clock = world.NewVirtual(start)
	}
	w := world.New(cfg)
	w.AddSite(world.Site{Name: "zone-a", Kind: fleet.SiteZone})
	w.AddSite(world.Site{Name: "rack-1", Kind: fleet.SiteRack, Parent: "zone-a"})
	for _, h := range []string{"host-1", "host-2", "host-3"} {
		w.AddHost(world.Host{Name: h, Parent: "rack-1", Units: 4, Power: true})
	}
	w.AddVolume(world.Volume{ID: "lic/data", Server: "lic", Reach: fleet.ReachMachine})
	w.AddVolume(world.Volume{ID: "lic/nfs", Server: "lic", Reach: fleet.ReachShared})
	w.AddAddress(world.Address{IP: "10.0.0.1", Server: "lic"})
	return w
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// run makes an instance of epoch e on a host that holds the volumes and runs.
func run(t *testing.T, w *world.World, e fleet.Epoch, host string, style world.Style, volumes ...string) *world.Instance {
	t.Helper()
	i := must[*world.Instance](t)(w.Prepare(world.Request{Server: "lic", Epoch: e, Host: host, Style: style, Units: 1}))
	for _, v := range volumes {
		ok(t, w.Attach(v, i))
	}
	ok(t, w.Start(i))
	return i
}

func wantViolation(t *testing.T, w *world.World, invariant, part string) {
	t.Helper()
	for _, v := range w.Check() {
		if v.Invariant == invariant && strings.Contains(v.String(), part) {
			return
		}
	}
	t.Fatalf("no %s violation with %q in %v", invariant, part, w.Check())
}

func wantClean(t *testing.T, w *world.World) {
	t.Helper()
	if v := w.Check(); len(v) > 0 {
		t.Fatalf("violations: %v", v)
	}
}

func TestVolumeTakesOneHolder(t *testing.T) {
	w := newWorld(t, world.Config{})
	one := run(t, w, 1, "host-1", world.Process, "lic/data")
	two := must[*world.Instance](t)(w.Prepare(world.Request{Server: "lic", Epoch: 3, Host: "host-2", Style: world.Process}))
	if err := w.Attach("lic/data", two); !errors.Is(err, world.ErrConflict) {
		t.Fatalf("second attach: %v", err)
	}
	if err := w.Seal("lic/data", 1, "host-2"); !errors.Is(err, world.ErrConflict) {
		t.Fatalf("seal while held: %v", err)
	}
	ok(t, w.Reap(one, ""))
	ok(t, w.Seal("lic/data", 1, "host-2"))
	one = must[*world.Instance](t)(w.Prepare(world.Request{Server: "lic", Epoch: 1, Host: "host-1", Style: world.Process}))
	if err := w.Attach("lic/data", one); !errors.Is(err, world.ErrSealed) {
		t.Fatalf("attach of a sealed epoch: %v", err)
	}
	ok(t, w.Attach("lic/data", two))
	ok(t, w.Reap(two, ""))
	one.Epoch = 2
	if err := w.Attach("lic/data", one); !errors.Is(err, world.ErrSealed) {
		t.Fatalf("attach of an epoch before the volume's: %v", err)
	}
	wantClean(t, w)
}

func TestLostLockMakesTwoWriters(t *testing.T) {
	w := newWorld(t, world.Config{Delays: world.Delays{LockLease: span(5 * time.Second)}})
	one := run(t, w, 1, "host-1", world.Process, "lic/nfs")
	w.Write(one, "lic/nfs")
	ok(t, w.CutHost("host-1", world.Cut{Control: true, Storage: true}))
	w.Advance(5 * time.Second)
	two := run(t, w, 2, "host-2", world.Process, "lic/nfs")
	w.Write(two, "lic/nfs")
	wantClean(t, w) // the zombie reaches no storage
	ok(t, w.CutHost("host-1", world.Cut{Control: true}))
	wantViolation(t, w, "S1", "can both write")
	w.Write(one, "lic/nfs")
	wantViolation(t, w, "S1", "epoch 1 wrote after epoch 2")
}

func TestWriteInFlightDiesWithItsInstance(t *testing.T) {
	w := newWorld(t, world.Config{WriteLatency: time.Second})
	one := run(t, w, 1, "host-1", world.Process, "lic/data")
	w.Write(one, "lic/data")
	w.Advance(time.Second)
	w.Write(one, "lic/data")
	ok(t, w.KillHost("host-1"))
	w.Advance(time.Minute)
	if runs := w.Volume("lic/data").Runs; len(runs) != 1 || runs[0].To != 1 {
		t.Fatalf("writes: %+v", runs)
	}
	wantClean(t, w)
}

func TestCheckSeesReuseLossAndLeaks(t *testing.T) {
	w := newWorld(t, world.Config{})
	one := run(t, w, 1, "host-1", world.Process, "lic/data")
	w.Write(one, "lic/data")
	wantClean(t, w)
	w.Format("lic/data", 1)
	wantViolation(t, w, "S8", "formatted")
	wantViolation(t, w, "S1", "1 of 1 acknowledged")
	for range 2 {
		i := must[*world.Instance](t)(w.Prepare(world.Request{Server: "lic", Epoch: 2, Host: "host-2", Token: "t"}))
		ok(t, w.Start(i))
	}
	wantViolation(t, w, "S3", "epoch 2 was made after epoch 2")
	wantViolation(t, w, "S7", "made both")
	if leaks := w.Leaks(map[string]fleet.Epoch{"lic": 2}); len(leaks) != 1 || !strings.Contains(leaks[0].Object, "lic.1") {
		t.Fatalf("leaks: %v", leaks)
	}
}

func TestTwoHoldersOfAnAddress(t *testing.T) {
	for _, allow := range []bool{false, true} {
		w := newWorld(t, world.Config{})
		w.AddAddress(world.Address{IP: "10.0.0.9", Server: "lic", AllowTwo: allow})
		w.AddAddress(world.Address{IP: "10.0.0.8", Server: "lic", Exclusive: true})
		one, two := run(t, w, 1, "host-1", world.Process), run(t, w, 2, "host-2", world.Process)
		for _, i := range []*world.Instance{one, two} {
			ok(t, w.HoldAddress("10.0.0.9", i, false))
		}
		if got := len(w.Check()) > 0; got == allow {
			t.Fatalf("allow %v: violations %v", allow, w.Check())
		}
		ok(t, w.HoldAddress("10.0.0.8", one, false))
		if err := w.HoldAddress("10.0.0.8", two, false); !errors.Is(err, world.ErrConflict) {
			t.Fatalf("exclusive address: %v", err)
		}
		ok(t, w.HoldAddress("10.0.0.8", two, true))
		if h := w.Address("10.0.0.8").Holders; len(h) != 1 || h[0] != two.ID {
			t.Fatalf("holders: %v", h)
		}
	}
}

func TestMachineLife(t *testing.T) {
	w := newWorld(t, world.Config{Delays: world.Delays{Start: span(10 * time.Second), Stop: span(5 * time.Second), App: span(time.Second)}})
	i := run(t, w, 1, "", world.Machine)
	if i.State != fleet.InstancePending {
		t.Fatalf("at once: %s", i.State)
	}
	w.Advance(11 * time.Second)
	if i.State != fleet.InstanceRunning || i.App != world.AppOK {
		t.Fatalf("after its delays: %s, app %s", i.State, i.App)
	}
	ok(t, w.CutHost(i.Host, world.Cut{Control: true}))
	ok(t, w.Stop(i))
	w.Advance(time.Minute)
	if i.State != fleet.InstanceStopping || !i.Executes {
		t.Fatalf("cut off: %s, executes %v", i.State, i.Executes)
	}
	ok(t, w.CutHost(i.Host, world.Cut{}))
	w.Advance(time.Minute)
	if i.State != fleet.InstanceStopped || i.Executes {
		t.Fatalf("mended: %s, executes %v", i.State, i.Executes)
	}
	ok(t, w.Recover(i, 2, ""))
	w.Advance(time.Minute)
	if got := w.Running("lic"); got[2] != 1 || len(got) != 1 {
		t.Fatalf("running: %v", got)
	}
	wantClean(t, w)
}

func TestHostDeathAndCapacity(t *testing.T) {
	w := newWorld(t, world.Config{})
	i := run(t, w, 1, "host-1", world.Process, "lic/data")
	if _, err := w.Prepare(world.Request{Server: "big", Epoch: 1, Host: "host-1", Units: 4}); !errors.Is(err, world.ErrCapacity) {
		t.Fatalf("too many units: %v", err)
	}
	ok(t, w.KillHost("host-1"))
	if w.Volume("lic/data").Holder != "" || len(w.Running("lic")) != 0 {
		t.Fatal("a dead host still holds a lock or runs")
	}
	if i.State != fleet.InstanceRunning {
		t.Fatalf("the record knew at once: %s", i.State)
	}
	ok(t, w.StartHost("host-1"))
	if i.State != fleet.InstanceReaped {
		t.Fatalf("after the host's return: %s", i.State)
	}
}

func TestQuota(t *testing.T) {
	w := newWorld(t, world.Config{})
	w.SetQuota("RunInstances", 2, 3)
	took := func() (n int) {
		for w.Take("RunInstances") {
			n++
		}
		return n
	}
	if n := took(); n != 3 {
		t.Fatalf("burst %d", n)
	}
	w.Advance(time.Second)
	if n := took(); n != 2 {
		t.Fatalf("after a second %d", n)
	}
}

func TestSameSeedSameTrace(t *testing.T) {
	trace := func(seed uint64) uint64 {
		w := newWorld(t, world.Config{
			Rand:       rand.New(rand.NewPCG(seed, 1)),
			Delays:     world.Delays{Start: world.Span{Min: time.Second, Max: 9 * time.Second}},
			WriteEvery: 100 * time.Millisecond, WriteLatency: 3 * time.Millisecond,
		})
		run(t, w, 1, "host-1", world.Process, "lic/data", "lic/nfs")
		w.Advance(20 * time.Second)
		if len(w.Volume("lic/data").Runs) != 1 {
			t.Fatal("nothing was written")
		}
		wantClean(t, w)
		return w.Trace()
	}
	if one := trace(1); one != trace(1) || one == trace(2) {
		t.Fatal("the trace is not a function of the seed")
	}
}

func span(d time.Duration) world.Span { return world.Span{Min: d} }
