package agent

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"relight/internal/agent/driver/process"
	"relight/internal/core/fleet"
	"relight/internal/provider"
)

// processes opens the real driver in dir; the test binary is the keeper.
func processes(t *testing.T, dir, claims string) *Processes {
	t.Helper()
	exe, err := os.Executable()
	must(t, err)
	d, err := process.New(process.Options{
		Dir: filepath.Join(dir, "driver"), Claims: claims, Exec: []string{exe},
		Env: append(os.Environ(), "TEST_KEEPER=1"), Logger: logger(t),
	})
	must(t, err)
	must(t, d.Adopt(t.Context()))
	p := &Processes{Driver: d}
	t.Cleanup(func() {
		for _, i := range d.Instances() {
			if err := p.End(context.Background(), i.Server, i.Epoch); err != nil {
				t.Error(err)
			}
		}
		if err := p.Tidy(context.Background()); err != nil {
			t.Error(err)
		}
		d.Close()
	})
	return p
}

// A server is launched on one host, dies, is proved dead and comes back on another.
func TestProcessesMoveBetweenHosts(t *testing.T) {
	s := newSite(t)
	claims := t.TempDir()
	for _, name := range []string{"host-1", "host-2"} {
		dir := t.TempDir()
		s.agent(name, dir, func(o *Options) { o.Driver = processes(t, dir, claims) })
	}
	data := t.TempDir()
	srv := server("lic-01", fleet.Volume{Name: "data", Path: data, Reach: fleet.ReachMachine})
	srv.Spec.Health.Check = fleet.Check{Exec: []string{"true"}}
	srv.Spec.Identity.Addresses = []fleet.Address{{IP: "127.0.9.1"}}
	s.hub.SetServers([]fleet.Server{srv})
	s.inContact("host-1")
	s.inContact("host-2")
	do := func(kind fleet.StepKind, host string, epoch fleet.Epoch, object fleet.Object, evidence ...fleet.Evidence) provider.Outcome {
		t.Helper()
		c := call(t, srv, kind, host, epoch, evidence...)
		c.Step.Object = object
		c.Step.Token += object.String()
		out, err := s.hub.Do(t.Context(), c)
		must(t, err)
		return out
	}
	volume, address := fleet.Object{Volume: "data"}, fleet.Object{Address: "127.0.9.1"}
	start := func(host string, epoch fleet.Epoch, evidence ...fleet.Evidence) {
		t.Helper()
		do(fleet.StepAttach, host, epoch, volume, evidence...)
		do(fleet.StepAttach, host, epoch, address, evidence...)
		do(fleet.StepLaunch, host, epoch, fleet.Object{}, evidence...)
		got := s.sweep(srv)
		if in := got.instance(epoch); in == nil || in.State != fleet.InstanceRunning || in.Host != host {
			t.Fatalf("after the launch: %+v", got.Servers[0].Observed)
		}
		held := false
		for _, v := range got.Servers[0].Observed.Volumes {
			held = held || v.Holder == epoch && v.Held == fleet.Yes && v.Host == host
		}
		if !held || len(got.Servers[0].Observed.Addresses) != 1 || !got.Servers[0].Observed.Complete {
			t.Fatalf("after the launch: %+v", got.Servers[0].Observed)
		}
		eventually(t, "own check", func() error {
			sig := s.sweep(srv).signal(fleet.ChannelApp, fleet.Works)
			if sig == nil || sig.Answer != fleet.Yes || sig.Epoch != epoch {
				return errNotYet
			}
			return nil
		})
	}
	start("host-1", 1)

	// The other host cannot seal what is held, and says so.
	c := call(t, srv, fleet.StepSeal, "host-1", 1)
	c.Step.Object, c.Step.Via = volume, "host-2"
	if _, err := s.hub.Do(t.Context(), c); err == nil {
		t.Fatal("a held volume was sealed")
	} else if cl, may := class(t, err); cl != provider.Conflict || may {
		t.Fatalf("seal of a held volume: %v, want a conflict", err)
	}

	out := do(fleet.StepStop, "host-1", 1, fleet.Object{})
	if len(out.Evidence) != 1 || out.Evidence[0].Method != fleet.Reaped || out.Evidence[0].By != "the agent of host-1" {
		t.Fatalf("stop gave %+v", out.Evidence)
	}
	// Now the same seal, with the same token, succeeds: failures are not remembered.
	sealed, err := s.hub.Do(t.Context(), c)
	must(t, err)
	if len(sealed.Evidence) != 1 || sealed.Evidence[0].Method != fleet.Sealed || sealed.Evidence[0].Volume != "data" {
		t.Fatalf("seal gave %+v", sealed.Evidence)
	}
	start("host-2", 2, sealed.Evidence...)
	do(fleet.StepStop, "host-2", 2, fleet.Object{})
}
