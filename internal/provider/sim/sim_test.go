package sim_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"relight/internal/core/fence"
	"relight/internal/core/fleet"
	"relight/internal/provider"
	"relight/internal/provider/providertest"
	"relight/internal/provider/sim"
	"relight/internal/world"
)

var start = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)

// newWorld makes three hosts; slow gives every change of it a delay.
func newWorld(slow bool) *world.World {
	cfg := world.Config{Clock: world.NewVirtual(start), Rand: rand.New(rand.NewPCG(1, 2))}
	if slow {
		s := world.Span{Min: 500 * time.Millisecond, Max: 3 * time.Second}
		cfg.Delays = world.Delays{Start: s, App: s, Stop: s, Terminate: s, Attach: s}
		cfg.WriteEvery, cfg.WriteLatency = 200*time.Millisecond, 30*time.Millisecond
	}
	w := world.New(cfg)
	w.AddSite(world.Site{Name: "zone-a", Kind: fleet.SiteZone})
	for _, h := range []string{"host-1", "host-2", "host-3"} {
		w.AddHost(world.Host{Name: h, Parent: "zone-a", Units: 10, Power: true})
	}
	return w
}

// newServer declares a server in the style of the provider.
func newServer(w *world.World, n int, attachFirst bool) fleet.Server {
	s := fleet.Server{Name: fmt.Sprintf("lic-%d", n)}
	s.Spec.Provider = "sim"
	s.Spec.Placement.Units = 1
	s.Spec.Fence = fleet.FenceStorage
	s.Spec.Health.Check = fleet.Check{TCP: "10.0.0.1:27000"}
	s.Spec.Template.Sim = &fleet.SimTemplate{}
	reach := fleet.ReachZone
	if attachFirst {
		reach = fleet.ReachMachine
		s.Spec.Template = fleet.Template{Process: &fleet.ProcessTemplate{Command: []string{"licd"}}}
	}
	s.Spec.Identity.Volumes = []fleet.Volume{{Name: "data", ID: "data", Reach: reach}}
	s.Spec.Identity.Addresses = []fleet.Address{{IP: fmt.Sprintf("10.0.0.%d", n)}}
	sim.Declare(w, s, "zone-a")
	return s
}

// harness is the suite's view of a world.
func harness(t *testing.T, w *world.World, opts sim.Options) providertest.Harness {
	t.Cleanup(func() {
		if v := w.Check(); len(v) > 0 {
			t.Errorf("violations: %v", v)
		}
	})
	return bareHarness(w, opts)
}

func bareHarness(w *world.World, opts sim.Options) providertest.Harness {
	made := 0
	h := providertest.Harness{
		Provider: sim.New(w, opts),
		Server: func() fleet.Server {
			made++
			return newServer(w, made, opts.AttachFirst)
		},
		Now: w.Now,
		Eventually: func(cond func() bool) bool {
			for range 200 {
				if cond() {
					return true
				}
				w.Lock()
				w.Advance(300 * time.Millisecond)
				w.Check()
				w.Unlock()
			}
			return false
		},
		Running: w.Running,
		Holders: func(s fleet.Server, volume string) []fleet.Epoch {
			var out []fleet.Epoch
			if i := w.Instance(w.Volume(sim.VolumeID(s, volume)).Holder); i != nil {
				out = append(out, i.Epoch)
			}
			return out
		},
		Cut:      func(host string) { _ = w.CutHost(host, world.Cut{Control: true}) },
		Mend:     func(host string) { _ = w.CutHost(host, world.Cut{}) },
		Kill:     func(server string, e fleet.Epoch) { _ = w.Kill(w.Find(server, e)) },
		BreakApp: func(server string, e fleet.Epoch) { w.SetApp(w.Find(server, e), world.AppMute) },
		AppWorks: func(server string, e fleet.Epoch) bool { return w.Find(server, e).App == world.AppOK },
	}
	if opts.AttachFirst {
		h.Hosts = slices.Clone(w.Hosts())
	}
	return h
}

func TestProvider(t *testing.T) {
	for _, attachFirst := range []bool{true, false} {
		for _, slow := range []bool{false, true} {
			t.Run(fmt.Sprintf("attachFirst=%v,slow=%v", attachFirst, slow), func(t *testing.T) {
				providertest.Run(t, func(t *testing.T) providertest.Harness {
					return harness(t, newWorld(slow), sim.Options{AttachFirst: attachFirst, Wakes: true})
				})
			})
		}
	}
}

// up brings up epoch 1 of a server on host-1.
func up(t *testing.T, p provider.Provider, s fleet.Server) {
	t.Helper()
	proof, _ := fence.Prove(s, 0, "", nil, start)
	for _, c := range upCalls(s, 1, proof) {
		if _, err := p.Do(context.Background(), c); err != nil {
			t.Fatal(err)
		}
	}
}

func upCalls(s fleet.Server, e fleet.Epoch, proof fence.Proof) []provider.Call {
	var out []provider.Call
	add := func(kind fleet.StepKind, o fleet.Object) {
		out = append(out, provider.Call{
			Step:   fleet.Step{Kind: kind, Server: s.Name, Epoch: e, Host: "host-1", Object: o, Token: fmt.Sprint(s.Name, e, kind, o), Fresh: e == 1},
			Server: s, Proof: proof,
		})
	}
	for _, v := range s.Spec.Identity.Volumes {
		add(fleet.StepAttach, fleet.Object{Volume: v.Name})
	}
	add(fleet.StepLaunch, fleet.Object{})
	return out
}
