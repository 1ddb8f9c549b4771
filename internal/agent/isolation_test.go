package agent

import (
	"testing"
	"time"

	"relight/internal/beat"
	"relight/internal/core/fleet"
	"relight/internal/core/lease"
)

const second = int64(time.Second)

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
		if one.opt.Clock() < until+int64(lease.AnswersFor) {
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
