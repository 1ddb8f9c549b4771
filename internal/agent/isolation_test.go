package agent

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"relight/internal/beat"
	"relight/internal/core/fleet"
)

const second = int64(time.Second)

func TestIsolationAsksBeforeTheLeaseEnds(t *testing.T) {
	m := newIsolation(0)
	one := incarnation{"a", 1}
	run := []incarnation{one}
	lease := 10 * second
	if v := m.step(1*second, lease, run); len(v.ask)+len(v.stop) != 0 {
		t.Fatalf("with a lease: %+v", v)
	}
	v := m.step(lease-int64(askAhead), lease, run)
	if !slices.Contains(v.ask, one) || len(v.stop) != 0 {
		t.Fatalf("shortly before its end: %+v, want a question", v)
	}
	m.answered(lease-second/2, one, fleet.No)
	if v := m.step(lease+second, lease, run); len(v.stop) != 0 || !slices.Contains(v.ask, one) {
		t.Fatalf("all said no: %+v, want the next question and no stop", v)
	}
	m.answered(lease+second+1, one, fleet.CannotTell)
	if v := m.step(lease+2*second, lease, run); !slices.Contains(v.stop, one) {
		t.Fatalf("one cannot be asked: %+v, want a stop", v)
	}
	if v := m.step(lease+3*second, lease, run); len(v.stop) != 0 {
		t.Fatalf("told to stop twice: %+v", v)
	}
}

func TestIsolationYesStopsAtOnce(t *testing.T) {
	m := newIsolation(0)
	one := incarnation{"a", 1}
	lease := 10 * second
	m.step(lease-int64(askAhead), lease, []incarnation{one})
	m.answered(lease-second, one, fleet.Yes)
	if v := m.step(lease-second, lease, []incarnation{one}); !slices.Contains(v.stop, one) {
		t.Fatalf("a peer has a higher epoch: %+v, want a stop", v)
	}
}

func TestIsolationWithoutAnyLease(t *testing.T) {
	m := newIsolation(5 * second)
	one := incarnation{"a", 1}
	if v := m.step(5*second, 0, []incarnation{one}); len(v.stop) != 0 {
		t.Fatalf("a fresh agent stops at once: %+v", v)
	}
	v := m.step(5*second+int64(firstGrace), 0, []incarnation{one})
	if !slices.Contains(v.ask, one) {
		t.Fatalf("after the grace: %+v, want a question", v)
	}
}

// Whatever happens, an instance is told to stop only if the lease has ended or a
// peer said yes, and never while recent answers all say no.
func TestIsolationStopsOnlyForAReason(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newIsolation(0)
		one := incarnation{"a", 1}
		now, lease, asked := int64(0), 3*second, false
		last, lastAt := fleet.CannotTell, int64(0)
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			now += rapid.Int64Range(0, second).Draw(t, "pass")
			if rapid.Bool().Draw(t, "renew") {
				lease = now + 3*second
			}
			if asked && rapid.Bool().Draw(t, "answer") {
				last, lastAt = rapid.SampledFrom([]fleet.Answer{fleet.Yes, fleet.No, fleet.CannotTell}).Draw(t, "say"), now
				m.answered(now, one, last)
				asked = false
			}
			v := m.step(now, lease, []incarnation{one})
			asked = asked || len(v.ask) > 0
			if len(v.stop) == 0 {
				continue
			}
			if last == fleet.Yes {
				return
			}
			if now < lease {
				t.Fatalf("stopped with a lease until %d at %d", lease, now)
			}
			if last == fleet.No && lastAt != 0 && now-lastAt <= int64(answersFor) {
				t.Fatalf("stopped at %d though all said no at %d", now, lastAt)
			}
			return
		}
	})
}

// Two hosts, one cut off from the controller but not from the other.
func TestIsolatedHostAsksItsPeer(t *testing.T) {
	s := newSite(t)
	https, peers := newRelay(t, s.addr), "127.0.0.1:0"
	lone := server("lone")
	lone.Spec.OnIsolation = fleet.IsolationStop
	rest := server("rest") // onIsolation: run
	s.hub.SetServers([]fleet.Server{lone, rest})
	grant := func() {
		now := beat.BootClock()()
		s.hub.Beats().SetGrant(beat.Grant{Term: 1, Lease: 1500 * time.Millisecond, NotAfter: now + 3600*second})
	}
	grant()
	one := s.agent("host-1", t.TempDir(), func(o *Options) { o.Controller, o.PeerAddr = "https://"+https.addr, peers })
	two := s.agent("host-2", t.TempDir(), func(o *Options) { o.PeerAddr = peers })
	s.inContact("host-1")
	s.inContact("host-2")
	for _, srv := range []fleet.Server{lone, rest} {
		if _, err := s.hub.Do(t.Context(), call(t, srv, fleet.StepLaunch, "host-1", 1)); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "lease and peers", func() error {
		heirs, known := one.heirs("lone")
		if one.lease().Until == 0 || len(heirs) != 1 || known["host-2"].Addr == "" {
			return errNotYet
		}
		return nil
	})
	// Cut: no leases any more for host-1, and no commands.
	https.setWhole(false)
	s.hub.Beats().Withhold(one.id.Agent)
	until := one.lease().Until
	eventually(t, "the end of the lease", func() error {
		if one.opt.Clock() < until+int64(answersFor) {
			return errNotYet
		}
		return nil
	})
	for _, i := range one.driver.Instances() {
		if i.State != fleet.InstanceRunning {
			t.Fatalf("%s was stopped though its peer was given nothing", i.Server)
		}
	}
	// The controllers have it proved dead and give it to host-2.
	higher := call(t, lone, fleet.StepLaunch, "host-2", 2, fleet.Evidence{Method: fleet.Attested, Server: "lone", Epoch: 1})
	if _, err := s.hub.Do(t.Context(), higher); err != nil {
		t.Fatal(err)
	}
	eventually(t, "self-fence", func() error {
		for _, i := range one.driver.Instances() {
			if i.Server == "lone" && i.State != fleet.InstanceReaped {
				return errNotYet
			}
			if i.Server == "rest" && i.State != fleet.InstanceRunning {
				t.Fatal("a server with onIsolation: run was stopped")
			}
		}
		return nil
	})
	if two.driver.Instances()[0].State != fleet.InstanceRunning {
		t.Error("the heir was stopped too")
	}
}

func TestUnreachablePeerStopsIsolated(t *testing.T) {
	s := newSite(t)
	lone := server("lone")
	lone.Spec.OnIsolation = fleet.IsolationStop
	s.hub.SetServers([]fleet.Server{lone})
	s.hub.Beats().SetGrant(beat.Grant{Term: 1, Lease: 1500 * time.Millisecond, NotAfter: beat.BootClock()() + 3600*second})
	one := s.agent("host-1", t.TempDir(), func(o *Options) { o.PeerAddr = "127.0.0.1:0" })
	two := s.agent("host-2", t.TempDir(), func(o *Options) { o.PeerAddr = "127.0.0.1:0" })
	s.inContact("host-1")
	s.inContact("host-2")
	if _, err := s.hub.Do(t.Context(), call(t, lone, fleet.StepLaunch, "host-1", 1)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "lease", func() error {
		if one.lease().Until == 0 {
			return errNotYet
		}
		return nil
	})
	two.stop()
	s.stop()
	eventually(t, "self-fence", func() error {
		if one.driver.Instances()[0].State != fleet.InstanceReaped {
			return errNotYet
		}
		return nil
	})
}
