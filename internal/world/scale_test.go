package world_test

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"relight/internal/core/fleet"
	"relight/internal/world"
)

// perHost is how many servers of a fleet share a host.
const perHost = 20

// fleetOf makes n servers, each with an instance that works, a volume and an
// address, spread over hosts in racks.
func fleetOf(tb testing.TB, n int, cfg world.Config) *world.World {
	tb.Helper()
	cfg.Clock = world.NewVirtual(start)
	w := world.New(cfg)
	w.AddSite(world.Site{Name: "zone", Kind: fleet.SiteZone})
	for s := range n {
		host := fmt.Sprintf("host-%07d", s/perHost)
		if s%perHost == 0 {
			rack := fmt.Sprintf("rack-%d", s/perHost/40)
			w.AddSite(world.Site{Name: rack, Kind: fleet.SiteRack, Parent: "zone"})
			w.AddHost(world.Host{Name: host, Parent: rack, Units: 2 * perHost})
		}
		name := fmt.Sprintf("server-%07d", s)
		w.AddVolume(world.Volume{ID: name + "/data", Server: name, Reach: fleet.ReachShared})
		w.AddAddress(world.Address{IP: "ip-" + name, Server: name})
		i, err := w.Prepare(world.Request{Server: name, Epoch: 1, Host: host, Units: 1, Style: world.Process})
		for _, step := range []func() error{
			func() error { return err },
			func() error { return w.Attach(name+"/data", i) },
			func() error { return w.HoldAddress("ip-"+name, i, false) },
			func() error { return w.Start(i) },
		} {
			if err := step(); err != nil {
				tb.Fatal(err)
			}
		}
	}
	return w
}

// TestServerIsSmall: a million servers must fit in a few gigabytes.
func TestServerIsSmall(t *testing.T) {
	const n, most = 20_000, 3000
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	w := fleetOf(t, n, world.Config{})
	w.Check()
	runtime.GC()
	runtime.ReadMemStats(&after)
	if each := (after.HeapAlloc - before.HeapAlloc) / n; each > most {
		t.Errorf("a server with a volume and an address takes %d bytes, more than %d", each, most)
	}
	runtime.KeepAlive(w)
}

// TestNoteAllocatesNothing: the trace is fed a million times a second.
func TestNoteAllocatesNothing(t *testing.T) {
	w := fleetOf(t, 1, world.Config{})
	i := w.Of("server-0000000")[0]
	for range 30_000 {
		w.SetApp(i, world.AppMute) // fill the log to its full length
		w.SetApp(i, world.AppOK)
	}
	if n := testing.AllocsPerRun(1000, func() {
		w.SetApp(i, world.AppOK)
		w.SetApp(i, world.AppNone)
		w.Write(i, "server-0000000/data")
	}); n > 0 {
		t.Errorf("%v allocations for two events and a write", n)
	}
}

// BenchmarkCheck is one change of one server in a fleet of 100,000, and a Check.
func BenchmarkCheck(b *testing.B) {
	w := fleetOf(b, 100_000, world.Config{})
	w.Check()
	n := 0
	for b.Loop() {
		host := fmt.Sprintf("host-%07d", n%5000)
		n++
		_ = w.CutHost(host, world.Cut{Control: n%2 == 0})
		if v := w.Check(); len(v) > 0 {
			b.Fatal(v)
		}
	}
}

// BenchmarkWriting is a second of 10,000 servers that each write ten times.
func BenchmarkWriting(b *testing.B) {
	w := fleetOf(b, 10_000, world.Config{WriteEvery: 100 * time.Millisecond})
	for b.Loop() {
		w.Advance(time.Second)
		if v := w.Check(); len(v) > 0 {
			b.Fatal(v)
		}
	}
}

// BenchmarkLaunch is a launch into the first of 2,500 hosts that has room.
func BenchmarkLaunch(b *testing.B) {
	w := fleetOf(b, 50_000, world.Config{})
	n := 0
	for b.Loop() {
		n++
		_, err := w.Launch(world.Request{Server: fmt.Sprintf("new-%d", n/40_000), Epoch: fleet.Epoch(n), Site: "zone", Units: 1 - n/45_000})
		if err != nil {
			b.Fatal(err)
		}
	}
}
