package agent

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"relight/internal/core/fleet"
	"relight/internal/provider/onprem/link"
)

// warmFake is a driver whose standbys are names.
type warmFake struct {
	*fake
	mu     sync.Mutex
	waits  map[string]bool
	booted int
}

func (w *warmFake) Prepare(_ context.Context, server string, _ fleet.VMTemplate) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.waits[server] {
		w.booted++
	}
	w.waits[server] = true
	return nil
}

func (w *warmFake) Dismiss(_ context.Context, server string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.waits, server)
	return nil
}

func (w *warmFake) Standbys() []Standby {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []Standby
	for s := range w.waits {
		out = append(out, Standby{Server: s, Ready: true})
	}
	return out
}

func (w *warmFake) Hypervisor() *fleet.Hypervisor { return &fleet.Hypervisor{Emulated: true} }

func (w *warmFake) has(server string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.waits[server]
}

// A standby waits exactly where and while the watch wants one, the server does not
// run there, and there is room.
func TestStandbysAreKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &warmFake{fake: newFake(), waits: map[string]bool{}}
		a, err := New(Options{Dir: t.TempDir(), Name: "host-1", Driver: newFake(), Machines: w, Units: 3})
		must(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); a.keepWarm(ctx, w) }()
		watch := func(servers ...link.WatchedServer) {
			t.Helper()
			must(t, a.memory.setWatch(&link.Watch{Servers: servers}))
			time.Sleep(3 * warmPace)
			synctest.Wait()
		}
		one := link.WatchedServer{Server: "a", Units: 2, Warm: &fleet.VMTemplate{}}
		two := link.WatchedServer{Server: "b", Units: 2, Warm: &fleet.VMTemplate{}}
		watch(one, two)
		if !w.has("a") || w.has("b") || w.booted != 1 {
			t.Errorf("there is room for one of two: %v, %d booted", w.waits, w.booted)
		}
		r := a.report()
		if len(r.Warm) != 1 || r.Warm[0] != (fleet.Warm{Server: "a", Units: 2, Ready: true}) || r.UsedUnits != 2 || !r.Hypervisor.Emulated {
			t.Errorf("%+v of %d units, %+v", r.Warm, r.UsedUnits, r.Hypervisor)
		}
		// The room is that of its own server and of no other.
		launch := func(server string) error {
			return a.room(link.Command{Step: fleet.Step{Kind: fleet.StepLaunch, Server: server}, Units: 2})
		}
		if launch("a") != nil || launch("b") == nil {
			t.Errorf("a: %v, b: %v", launch("a"), launch("b"))
		}
		w.become("a", 1, fleet.InstanceRunning)
		watch(one)
		if w.has("a") {
			t.Error("it waits where its server runs")
		}
		w.become("a", 1, fleet.InstanceReaped)
		watch(one)
		if !w.has("a") {
			t.Error("none waits after its server has ended here")
		}
		watch(two)
		if w.has("a") || !w.has("b") {
			t.Errorf("after the watch has changed: %v", w.waits)
		}
		cancel()
		<-done
	})
}
