package world_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"relight/internal/core/fleet"
	"relight/internal/world"
)

func cloud() world.Config {
	return world.Config{Delays: world.Delays{
		Start: span(10 * time.Second), Stop: span(30 * time.Second), Terminate: span(40 * time.Second), Hard: span(5 * time.Second),
		Attach: span(2 * time.Second), Detach: span(3 * time.Second), Snapshot: span(time.Minute), Copy: span(20 * time.Second),
	}}
}

func launch(t *testing.T, w *world.World, r world.Request) *world.Instance {
	t.Helper()
	if r.Server == "" {
		r.Server, r.Epoch = "lic", 1
	}
	return must[*world.Instance](t)(w.Launch(r))
}

// TestMachineStates brings a machine into a state, makes one call, and looks at
// its state at once and after each of some times.
func TestMachineStates(t *testing.T) {
	type doing = func(w *world.World, i *world.Instance) error
	stop := func(how world.Ending) doing {
		return func(w *world.World, i *world.Instance) error { return w.StopMachine(i, how) }
	}
	terminate := func(how world.Ending) doing {
		return func(w *world.World, i *world.Instance) error { return w.TerminateMachine(i, how) }
	}
	startIt := func(w *world.World, i *world.Instance) error { return w.StartMachine(i) }
	hang := func(w *world.World, i *world.Instance) error { w.HangGuest(i); return nil }
	wait := func(d time.Duration) doing {
		return func(w *world.World, _ *world.Instance) error { w.Advance(d); return nil }
	}
	up, plain, force, skip := wait(10*time.Second), world.Ending{}, world.Ending{Force: true}, world.Ending{SkipOS: true}
	minute := wait(time.Minute)
	for name, c := range map[string]struct {
		first []doing
		call  doing
		err   error
		at0   string
		at5   string
		at60  string
	}{
		"pending runs":               {nil, wait(0), nil, "pending", "pending", "running"},
		"stop of pending":            {nil, stop(plain), world.ErrInstanceState, "pending", "pending", "running"},
		"terminate of pending":       {nil, terminate(plain), nil, "shutting-down", "shutting-down", "terminated"},
		"stop":                       {[]doing{up}, stop(plain), nil, "stopping", "stopping", "stopped"},
		"stop without the guest":     {[]doing{up}, stop(skip), nil, "stopping", "stopped", "stopped"},
		"terminate":                  {[]doing{up}, terminate(plain), nil, "shutting-down", "shutting-down", "terminated"},
		"terminate by force":         {[]doing{up}, terminate(force), nil, "shutting-down", "terminated", "terminated"},
		"start of running":           {[]doing{up}, startIt, nil, "running", "running", "running"},
		"hung stop":                  {[]doing{up, hang}, stop(plain), nil, "stopping", "stopping", "stopping"},
		"hung stop, then force":      {[]doing{up, hang, stop(plain), minute}, stop(force), nil, "stopping", "stopped", "stopped"},
		"hung stop, SkipOS only":     {[]doing{up, hang, stop(plain), minute}, stop(skip), nil, "stopping", "stopping", "stopping"},
		"hung stop, then terminate":  {[]doing{up, hang, stop(plain), minute}, terminate(force), nil, "shutting-down", "terminated", "terminated"},
		"start of stopping":          {[]doing{up, stop(plain)}, startIt, world.ErrInstanceState, "stopping", "stopping", "stopped"},
		"start of stopped":           {[]doing{up, stop(skip), minute}, startIt, nil, "pending", "pending", "running"},
		"stop twice, start between":  {[]doing{up, stop(plain), stop(plain), wait(30 * time.Second)}, startIt, nil, "pending", "pending", "running"},
		"stop of shutting-down":      {[]doing{up, terminate(plain)}, stop(plain), world.ErrInstanceState, "shutting-down", "shutting-down", "terminated"},
		"terminate of stopped":       {[]doing{up, stop(skip), minute}, terminate(plain), nil, "stopped", "stopped", "terminated"},
		"terminate of terminated":    {[]doing{up, terminate(force), minute}, terminate(plain), nil, "terminated", "terminated", "terminated"},
		"stop of terminated":         {[]doing{up, terminate(force), minute}, stop(plain), world.ErrInstanceState, "terminated", "terminated", "terminated"},
		"start of terminated":        {[]doing{up, terminate(force), minute}, startIt, world.ErrInstanceState, "terminated", "terminated", "terminated"},
		"terminate while it stops":   {[]doing{up, stop(plain)}, terminate(plain), nil, "shutting-down", "shutting-down", "terminated"},
		"stop of a stopped one":      {[]doing{up, stop(skip), minute}, stop(plain), nil, "stopped", "stopped", "stopped"},
		"retirement":                 {[]doing{up}, plan("instance-retirement"), nil, "running", "running", "stopped"},
		"retirement of a moved one":  {[]doing{up, plan("instance-retirement"), stop(skip), wait(5 * time.Second)}, startIt, nil, "pending", "pending", "running"},
		"scheduled reboot":           {[]doing{up}, plan("system-reboot"), nil, "running", "running", "running"},
		"stop, host cut off":         {[]doing{up, cutOff}, stop(force), nil, "stopping", "stopping", "stopping"},
		"terminate, host long dead":  {[]doing{up, killHost}, terminate(plain), nil, "shutting-down", "shutting-down", "terminated"},
		"stop, again with SkipOS":    {[]doing{up, stop(plain)}, stop(skip), nil, "stopping", "stopped", "stopped"},
		"start, an old stop is due":  {[]doing{up, stop(plain), stop(skip), wait(5 * time.Second)}, startIt, nil, "pending", "pending", "running"},
		"its pool is empty, async":   {[]doing{wait(time.Hour), again(true)}, wait(0), nil, "running", "running", "running"},
		"start without a free place": {[]doing{up, stop(skip), minute, again(false)}, startIt, world.ErrInsufficient, "stopped", "stopped", "stopped"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, cloud())
			w.SetCapacity("zone-a", "t", 1, false)
			i := launch(t, w, world.Request{Site: "zone-a", Type: "t"})
			for _, do := range c.first {
				ok(t, do(w, i))
			}
			if err := c.call(w, i); !errors.Is(err, c.err) {
				t.Fatalf("error %v, want %v", err, c.err)
			}
			got := []string{i.PlatformState()}
			w.Advance(5 * time.Second)
			got = append(got, i.PlatformState())
			w.Advance(55 * time.Second)
			got = append(got, i.PlatformState())
			if want := []string{c.at0, c.at5, c.at60}; strings.Join(got, " ") != strings.Join(want, " ") {
				t.Fatalf("states %v, want %v", got, want)
			}
			if runs := i.PlatformState() == "running"; runs != i.Executes && i.PlatformState() != "stopping" {
				t.Fatalf("%s, executes %v", i.PlatformState(), i.Executes)
			}
			wantClean(t, w)
		})
	}
}

func plan(code string) func(*world.World, *world.Instance) error {
	return func(w *world.World, i *world.Instance) error {
		w.Plan(i, world.Planned{Code: code, NotBefore: w.Now().Add(20 * time.Second)})
		return nil
	}
}

func cutOff(w *world.World, i *world.Instance) error {
	return w.CutHost(i.Host, world.Cut{Control: true})
}

func killHost(w *world.World, i *world.Instance) error {
	return w.KillHost(i.Host)
}

// again launches another machine of the type.
func again(async bool) func(*world.World, *world.Instance) error {
	return func(w *world.World, _ *world.Instance) error {
		if async {
			w.SetCapacity("zone-a", "t", 0, true)
		}
		two, err := w.Launch(world.Request{Server: "two", Epoch: 1, Site: "zone-a", Type: "t"})
		if err != nil {
			return err
		}
		w.Advance(time.Minute)
		if async != (two.PlatformState() == "terminated" && two.Detail == "Server.InsufficientInstanceCapacity") {
			return errors.New("the second machine is " + two.PlatformState())
		}
		return nil
	}
}

func TestCapacityPools(t *testing.T) {
	w := newWorld(t, cloud())
	w.SetCapacity("zone-a", "t", 1, false)
	one := launch(t, w, world.Request{Site: "zone-a", Type: "t"})
	if _, err := w.Launch(world.Request{Server: "two", Epoch: 1, Type: "t"}); !errors.Is(err, world.ErrInsufficient) || !errors.Is(err, world.ErrCapacity) {
		t.Fatalf("launch from an empty pool: %v", err)
	}
	if two := w.Of("two"); len(two) != 0 {
		t.Fatalf("a refused launch left %v", two)
	}
	ok(t, w.TerminateMachine(one, world.Ending{Force: true}))
	w.Advance(time.Minute)
	if n, known := w.Capacity("zone-a", "t"); n != 1 || !known {
		t.Fatalf("after its end %d places, known %v", n, known)
	}
	launch(t, w, world.Request{Server: "two", Epoch: 1, Type: "t"})
}

func TestTokens(t *testing.T) {
	w := newWorld(t, cloud())
	r := world.Request{Server: "lic", Epoch: 1, Token: "lic-1"}
	one, two := launch(t, w, r), launch(t, w, r)
	if one != two {
		t.Fatalf("one token made %s and %s", one.ID, two.ID)
	}
	r.Units = 2
	if _, err := w.Launch(r); !errors.Is(err, world.ErrTokenMismatch) {
		t.Fatalf("another request: %v", err)
	}
	r.Units = 0
	ok(t, w.TerminateMachine(one, world.Ending{}))
	w.Advance(time.Minute)
	if _, err := w.Launch(r); !errors.Is(err, world.ErrTokenEnded) {
		t.Fatalf("after its end: %v", err)
	}
	wantClean(t, w)
}

func TestStatusChecks(t *testing.T) {
	cfg := cloud()
	cfg.Checks = world.Checks{Every: time.Minute, Delay: 30 * time.Second}
	w := newWorld(t, cfg)
	w.AddSite(world.Site{Name: "outpost", Kind: fleet.SiteOutpost})
	w.AddHost(world.Host{Name: "op-1", Parent: "outpost", Units: 4})
	i, edge := launch(t, w, world.Request{Host: "host-1"}), launch(t, w, world.Request{Server: "edge", Epoch: 1, Host: "op-1"})
	is := func(when string, i *world.Instance, system, guest, disks world.CheckState) {
		t.Helper()
		if s := w.StatusOf(i); s.System != system || s.Guest != guest || s.Disks != disks {
			t.Fatalf("%s: %+v", when, s)
		}
	}
	good, bad, none := world.CheckOK, world.CheckImpaired, world.CheckNotApplicable
	is("pending", i, none, none, none)
	w.Advance(10 * time.Second)
	is("just running", i, world.CheckInitializing, world.CheckInitializing, world.CheckInitializing)
	w.Advance(2 * time.Minute)
	is("later", i, good, good, good)
	w.Crash(i)
	is("crashed just now", i, good, good, good)
	w.Advance(29 * time.Second)
	is("crashed, but no check can have told yet", i, good, good, good)
	w.Advance(61 * time.Second)
	is("crashed", i, good, bad, good)
	ok(t, w.KillHost("host-1"))
	w.Advance(90 * time.Second)
	is("dead host", i, bad, bad, good)
	ok(t, w.CutServiceLink("outpost"))
	is("no service link", edge, world.CheckInsufficient, world.CheckInsufficient, world.CheckInsufficient)
	if !w.Able(edge) {
		t.Fatal("an outpost without its link must run on")
	}
	ok(t, w.AttachVolume("lic/nfs", edge))
	w.Advance(2 * time.Second)
	w.Write(edge, "lic/nfs")
	if len(w.Volume("lic/nfs").Runs) != 1 {
		t.Fatal("local writes stopped with the service link")
	}
	ok(t, w.MendServiceLink("outpost"))
	ok(t, w.CutHost("op-1", world.Cut{Storage: true}))
	w.Advance(90 * time.Second)
	is("no storage", edge, good, good, bad)
}

// TestAutoRecovery: the platform moves a machine by itself, in the same epoch, and
// leaves one alone that we have begun to stop.
func TestAutoRecovery(t *testing.T) {
	for _, stopFirst := range []bool{false, true} {
		cfg := cloud()
		cfg.AutoRecover = span(time.Minute)
		w := newWorld(t, cfg)
		i := launch(t, w, world.Request{Host: "host-1", AutoRecover: true})
		w.Advance(10 * time.Second)
		ok(t, w.AttachVolume("lic/nfs", i))
		w.Advance(10 * time.Second)
		ok(t, w.KillHost("host-1"))
		if stopFirst {
			ok(t, w.StopMachine(i, world.Ending{}))
		}
		w.Advance(2 * time.Minute)
		want := "running on host-2"
		if stopFirst {
			want = "stopped on host-1"
		}
		if got := i.PlatformState() + " on " + i.Host; got != want || i.Epoch != 1 || w.Able(i) == stopFirst {
			t.Fatalf("stopFirst %v: %s, epoch %d, want %s", stopFirst, got, i.Epoch, want)
		}
		wantClean(t, w)
	}
}

// TestPlacesAreFoundAgain: machines fill hosts in order of their names, and a
// place that became free is taken before a later one.
func TestPlacesAreFoundAgain(t *testing.T) {
	w := newWorld(t, world.Config{})
	var all []*world.Instance
	for n := range 9 {
		i := launch(t, w, world.Request{Server: "lic", Epoch: fleet.Epoch(n + 1), Units: 1, Site: "zone-a"})
		if want := []string{"host-1", "host-2", "host-3"}[n/4]; i.Host != want {
			t.Fatalf("machine %d is on %s, want %s", n, i.Host, want)
		}
		all = append(all, i)
	}
	for n, end := range []func(*world.Instance, world.Ending) error{w.StopMachine, w.TerminateMachine} {
		launch(t, w, world.Request{Server: "lic", Epoch: fleet.Epoch(10 + 10*n), Units: 1, Site: "zone-a"}) // the search goes on to host-3
		ok(t, end(all[n], world.Ending{}))
		if i := launch(t, w, world.Request{Server: "lic", Epoch: fleet.Epoch(11 + 10*n), Units: 1, Site: "zone-a"}); i.Host != "host-1" {
			t.Fatalf("the free place is on host-1, the machine on %s", i.Host)
		}
	}
	if _, err := w.Launch(world.Request{Server: "lic", Epoch: 30, Units: 4, Site: "zone-a"}); !errors.Is(err, world.ErrCapacity) {
		t.Fatalf("no host has four units: %v", err)
	}
}
