package sdk_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"relight/internal/api/client"
	"relight/internal/core/event"
	"relight/internal/core/fleet"
	"relight/internal/notify"
	"relight/internal/world"
)

// EC2 recovers an instance by itself three times a day at most. The fourth failure of the
// day is left to it as well, for its time; then ours takes over.
func TestDET_SYS_PlatformIsUsedUp(t *testing.T) {
	r := newRig(t, func(c *world.Config) {
		slowly(c)
		c.AutoRecover = world.Span{Min: 2 * time.Minute, Max: 3 * time.Minute}
	})
	name := r.born(", autoRecovery: platform")
	for n := range 3 {
		r.locked(func() { _ = r.w.KillHost(r.machine(name).Host) })
		r.until(12*time.Minute, fmt.Sprint("EC2 has moved it, time ", n+1), func() bool { return r.w.Able(r.machine(name)) })
		r.until(10*time.Minute, "it is seen to work", r.healthy(name, 1))
		r.locked(func() { // the hardware is mended
			for h := range 3 {
				_ = r.w.StartHost(fmt.Sprintf("%s-host-%d", zoneA, h))
			}
		})
	}
	if n := r.count("StopInstances"); n > 0 {
		t.Fatalf("%d stops of ours beside EC2's own recovery", n)
	}
	r.locked(func() { _ = r.w.KillHost(r.machine(name).Host) })
	r.until(25*time.Minute, "ours brings it back", r.healthy(name, 2))
	if n := r.count("StartInstances"); n != 1 {
		t.Errorf("%d starts:\n%s", n, r.calls())
	}
}

// EC2 tells that it will stop the instance for good hardware's sake: nothing is done by
// itself, and why says when it will be, and what to type to have it over before. Doing
// that ends the matter.
func TestDET_SYS_ScheduledRetirement(t *testing.T) {
	r := newRig(t, slowly)
	name := r.born()
	when := r.now().Add(48 * time.Hour)
	r.locked(func() { r.w.Plan(r.machine(name), world.Planned{Code: "instance-retirement", NotBefore: when}) })
	told := func() string {
		sweep, err := r.p.Observe(t.Context(), []fleet.Server{{Name: name}})
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(sweep.Servers[0].Signals)
	}
	before := r.count(changing...)
	r.during(10*time.Minute, "nothing is done by itself", func() bool { return r.count(changing...) == before })
	if got := told(); !strings.Contains(got, "instance-retirement not before "+when.UTC().Format("2006-01-02 15:04")) || !strings.Contains(got, "relight heal "+name+" --rung recover") {
		t.Errorf("it says %s", got)
	}
	if v := r.solo.Look(name).Verdict; v != fleet.Healthy {
		t.Errorf("verdict %s", v)
	}
	said := r.solo.Chronicle.Latest(1000, func(e event.Event) bool { return e.Kind == event.PlatformPlans })
	if len(said) != 1 || !strings.Contains(said[0].Event.Message, when.UTC().Format("2006-01-02 15:04")) || !notify.Notable(said[0].Event) {
		t.Errorf("people were told %d times: %v", len(said), said)
	}
	if _, err := r.solo.Backend.Heal(t.Context(), "eve", name, client.HealRequest{Rung: fleet.Recover, Reason: "before EC2 does"}); err != nil {
		t.Fatal(err)
	}
	r.until(10*time.Minute, "it works on other hardware", r.healthy(name, 2))
	if got := told(); strings.Contains(got, "retirement") {
		t.Errorf("it still says %s", got)
	}
	said = r.solo.Chronicle.Latest(1000, func(e event.Event) bool { return e.Kind == event.PlatformPlans })
	if len(said) != 2 || !strings.Contains(said[0].Event.Message+said[1].Event.Message, "no longer announces instance-retirement") {
		t.Errorf("that it is over was told by %v", said)
	}
}

// A quick fence leaves out the shutdown of the guest, for a stop and for an end for ever;
// without it the guest has its time to write out what it holds.
func TestDET_SYS_SkipsTheShutdown(t *testing.T) {
	for _, rung := range []fleet.Rung{fleet.Recover, fleet.Relaunch} {
		took := map[bool]time.Duration{}
		for _, skip := range []bool{false, true} {
			a := newAccount(t, slowly)
			s := a.server()
			s.Spec.Template.EC2.SkipOSShutdown = skip
			x := a.steps(s)
			if err := x.at(1)(fleet.StepLaunch, fleet.Object{}); err != nil {
				t.Fatal(err)
			}
			a.locked(func() { a.w.Advance(5 * time.Minute) })
			x.rung = rung
			begun := a.now()
			if err := x.at(1)(fleet.StepStop, fleet.Object{}); err != nil {
				t.Fatal(err)
			}
			for i := a.w.Find(s.Name, 1); i.State != fleet.InstanceStopped && i.State != fleet.InstanceTerminated && took[skip] < time.Minute; {
				a.locked(func() { a.w.Advance(time.Second) })
				took[skip] = a.now().Sub(begun)
			}
			asked := ""
			for _, e := range a.fake.Ledger() {
				if e.Action == "StopInstances" || e.Action == "TerminateInstances" {
					asked = e.Form.Get("SkipOsShutdown")
				}
			}
			if (asked == "true") != skip {
				t.Errorf("%s: skip %v, and EC2 was asked with %q", rung, skip, asked)
			}
		}
		if took[true] >= took[false] || took[true] > 10*time.Second {
			t.Errorf("%s: %s without the guest's shutdown, %s with it", rung, took[true], took[false])
		}
	}
}

// A server is taken down in one go, while its instance ends slowly: the document goes
// first, so that nothing starts it again; its disks, interfaces and addresses stay, are
// free as soon as the instance has ended, and are taken up again by the next declaration,
// which waits for that end.
func TestAH_DEL_TakenDown(t *testing.T) {
	r := newRig(t, func(c *world.Config) {
		slowly(c)
		c.Delays.Terminate = world.Span{Min: 4 * time.Minute, Max: 4 * time.Minute}
	})
	name, text := r.licence()
	r.declare(text)
	r.until(5*time.Minute, "it works", r.healthy(name, 1))
	old := r.machine(name)
	if err := r.solo.Backend.Delete(context.Background(), "eve", "Server", name, 0); err != nil {
		t.Fatal(err)
	}
	r.locked(func() { _ = r.w.TerminateMachine(old, world.Ending{}) })
	before := r.count("RunInstances")
	r.during(time.Minute, "nothing starts it again", func() bool { return r.count("RunInstances") == before })
	r.declare(text)
	alone := func() bool { return len(r.w.Running(name)) <= 1 }
	r.until(20*time.Minute, "it works again", func() bool {
		if !alone() {
			t.Fatalf("two run: %v\n%s", r.w.Running(name), r.calls())
		}
		s := r.status(name)
		return s.Epoch > 1 && s.Verdict == fleet.Healthy && s.Recovery == nil
	})
	if v := r.w.Volume("vol-01"); v == nil || v.Holder != r.machine(name).ID {
		t.Errorf("its volume: %+v", v)
	}
	if old.State != fleet.InstanceTerminated {
		t.Errorf("the old instance is %s", old.State)
	}
}
