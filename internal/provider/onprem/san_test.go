package onprem

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"relight/internal/array"
	"relight/internal/array/arraytest"
	"relight/internal/core/fence"
	"relight/internal/core/fleet"
	"relight/internal/provider"
	"relight/internal/provider/onprem/link"
	"relight/internal/provider/san"
)

// sanServer has two LUNs on san-1.
func sanServer() fleet.Server {
	s := fleet.Server{Name: "a", Spec: fleet.ServerSpec{Provider: Name, Rules: fleet.Rules{Fence: fleet.FenceStorage}}}
	s.Spec.Template.VM = &fleet.VMTemplate{Boot: fleet.BootKernel}
	for i, name := range []string{"boot", "data"} {
		s.Spec.Identity.Volumes = append(s.Spec.Identity.Volumes, fleet.Volume{
			Name: name, Reach: fleet.ReachArray, LUN: &fleet.LUN{Array: "san-1", Name: "a-" + name, Unit: i + 1},
		})
	}
	return s
}

// sanHub has one host, and an array of two portals.
func sanHub(t *testing.T, s *arraytest.Shelf) *Hub {
	t.Helper()
	h := open(t, t.TempDir(), record("host-1", 1))
	h.opt.Arrays = san.Opened(san.Options{
		Open:   func(fleet.Array) (array.Array, error) { return s, nil },
		Fenced: func(context.Context, string) (fleet.Epoch, error) { return 1, nil },
		Key:    make([]byte, san.KeySize), Now: time.Now,
	})
	h.opt.Arrays.Listen(h.wakeThese)
	sites := []fleet.Site{{Name: "dc", Spec: fleet.SiteSpec{Kind: fleet.SiteZone, Arrays: []fleet.Array{
		{Name: "san-1", Driver: fleet.ArrayTGT, Portal: "192.0.2.1:3260", MorePortals: []string{"198.51.100.1:3260"}},
	}}}}
	h.opt.Arrays.SetSites(sites)
	h.opt.Arrays.SetServers([]fleet.Server{sanServer()})
	h.SetSites(sites)
	h.SetServers([]fleet.Server{sanServer()})
	return h
}

func sanCall(kind fleet.StepKind, epoch fleet.Epoch, evidence ...fleet.Evidence) provider.Call {
	proof, _ := fence.Prove(sanServer(), epoch-1, "", evidence, time.Now())
	step := fleet.Step{Kind: kind, Server: "a", Epoch: epoch, Token: string(kind), Within: fleet.Duration(6 * time.Second)}
	if kind != fleet.StepLaunch {
		step.Object.Volume = "data"
	}
	return provider.Call{Server: sanServer(), Term: 1, Proof: proof, Step: step}
}

// The agents try each portal of an array, and a launch carries all of them.
func TestSeveralPortals(t *testing.T) {
	s := arraytest.NewShelf()
	h := sanHub(t, s)
	disks, err := h.disks(t.Context(), sanCall(fleet.StepLaunch, 2, reaped()))
	if err != nil || len(disks) != 2 {
		t.Fatalf("%+v, %v", disks, err)
	}
	m := s.Made[array.Ref{Server: "a", Epoch: 2}]
	for i, d := range disks {
		if d.Portal != "192.0.2.1:3260" || !slices.Equal(d.MorePortals, []string{"198.51.100.1:3260"}) || d.Unit != i+1 || d.Initiator != m.Initiator || d.Secret != m.Secret {
			t.Errorf("%+v", d)
		}
	}
	cmd, err := command(sanCall(fleet.StepLaunch, 2, reaped()))
	if err != nil || cmd.VM == nil || cmd.Process != nil {
		t.Errorf("%+v, %v", cmd, err)
	}
	h.mu.Lock()
	w := h.watchOf(h.hosts["host-1"])
	h.mu.Unlock()
	if want := []link.Portal{{Array: "san-1", Addr: "192.0.2.1:3260"}, {Array: "san-1", Addr: "198.51.100.1:3260"}}; !slices.Equal(w.Portals, want) {
		t.Errorf("%+v", w.Portals)
	}
}

func reaped() fleet.Evidence { return fleet.Evidence{Method: fleet.Reaped, Server: "a", Epoch: 1} }

// Steps on LUNs go to the arrays and through no host, sweeps show what the arrays show,
// and news of them wake the hub; without a LUN there is nothing to take a snapshot of.
func TestStepsOnLUNsGoToTheArrays(t *testing.T) {
	s := arraytest.NewShelf()
	h := sanHub(t, s)
	out, err := h.Do(t.Context(), sanCall(fleet.StepSeal, 1))
	if err != nil || len(out.Evidence) != 2 || out.Evidence[0].Method != fleet.InitiatorRemoved {
		t.Errorf("%+v, %v", out, err)
	}
	if woken := <-h.Wakes(); woken != "a" {
		t.Errorf("%q was woken", woken)
	}
	if _, err := h.Do(t.Context(), sanCall(fleet.StepAttach, 2, reaped())); err != nil {
		t.Error(err)
	}
	sweep, err := h.Observe(t.Context(), []fleet.Server{sanServer()})
	if err != nil {
		t.Fatal(err)
	}
	if v := sweep.Servers[0].Observed.Volumes; len(v) != 2 || v[0].Holder != 2 {
		t.Errorf("%+v", v)
	}
	c := sanCall(fleet.StepAttach, 2, reaped())
	c.Step.Kind, c.Step.Epoch = fleet.StepSnapshot, 1
	c.Server.Spec.Identity.Volumes[1] = fleet.Volume{Name: "data", Path: "/srv/data", Reach: fleet.ReachMachine}
	_, err = h.Do(t.Context(), c)
	classOf(t, err, provider.Permanent, false, "only an array takes snapshots")
}

func classOf(t *testing.T, err error, class provider.Class, may bool, text string) {
	t.Helper()
	var e *provider.Error
	if !errors.As(err, &e) || e.Class != class || e.MayHaveHappened != may || !strings.Contains(err.Error(), text) {
		t.Errorf("%v, want %s (may %v) with %q", err, class, may, text)
	}
}
