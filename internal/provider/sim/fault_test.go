package sim_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"relight/internal/core/fence"
	"relight/internal/core/fleet"
	"relight/internal/core/pace"
	"relight/internal/provider"
	"relight/internal/provider/sim"
	"relight/internal/world"
)

// TestFaultsOfDo tries each fault at each call of a launch, and then what a
// controller does that only knows the error: the identical call again, by the
// same controller or by the next.
func TestFaultsOfDo(t *testing.T) {
	want := map[sim.FaultKind]struct {
		class provider.Class
		may   bool
	}{
		sim.Throttle: {provider.Retry, false}, sim.ServerError: {provider.Retry, true},
		sim.TimeoutBefore: {provider.Retry, true}, sim.TimeoutAfter: {provider.Retry, true}, sim.LostReply: {provider.Retry, true},
		sim.Capacity: {provider.Capacity, false}, sim.Refused: {provider.Refused, false},
		sim.WrongState: {provider.Conflict, false}, sim.NotFound: {provider.NotFound, false},
		sim.CrashBefore: {provider.Permanent, true}, sim.CrashAfter: {provider.Permanent, true},
	}
	for _, attachFirst := range []bool{true, false} {
		for _, kind := range sim.DoFaults() {
			for at := range 2 {
				t.Run(fmt.Sprintf("%s at call %d,attachFirst=%v", kind, at+1, attachFirst), func(t *testing.T) {
					w := newWorld(false)
					crashes := 0
					opts := sim.Options{AttachFirst: attachFirst, OnCrash: func() { crashes++ }}
					s := newServer(w, 1, attachFirst)
					next := sim.New(w, opts)
					opts.Faults = func(_ provider.Call, n int) sim.Fault {
						if n == at+1 {
							return sim.Fault{Kind: kind}
						}
						return sim.Fault{}
					}
					p := sim.New(w, opts)
					proof, _ := fence.Prove(s, 0, "", nil, start)
					for n, c := range calls(s, proof, attachFirst) {
						_, err := p.Do(context.Background(), c)
						if n != at {
							if err != nil && crashes == 0 {
								t.Fatal(err)
							}
						} else if class, may := provider.ClassOf(err); err == nil || class != want[kind].class || may != want[kind].may {
							t.Fatalf("error %v, class %s, may %v, want %+v", err, class, may, want[kind])
						}
						if _, err := next.Do(context.Background(), c); err != nil {
							t.Fatalf("the replay: %v", err)
						}
					}
					if crash := kind == sim.CrashBefore || kind == sim.CrashAfter; crash != (crashes == 1) {
						t.Fatalf("%d crashes", crashes)
					} else if _, err := p.Observe(context.Background(), nil); crash != errors.Is(err, sim.ErrCrashed) {
						t.Fatalf("afterwards: %v", err)
					}
					if got := w.Running(s.Name); got[1] != 1 || len(w.Of(s.Name)) != 1 {
						t.Fatalf("running %v, %d objects", got, len(w.Of(s.Name)))
					}
					if v := w.Check(); len(v) > 0 {
						t.Fatal(v)
					}
				})
			}
		}
	}
}

// calls are upCalls in the order of the style.
func calls(s fleet.Server, proof fence.Proof, attachFirst bool) []provider.Call {
	c := upCalls(s, 1, proof)
	if !attachFirst {
		c[0], c[1] = c[1], c[0]
	}
	return c
}

func TestEffectOfTimeouts(t *testing.T) {
	for kind, happens := range map[sim.FaultKind]bool{sim.TimeoutBefore: false, sim.TimeoutAfter: true, sim.LostReply: true, sim.CrashBefore: false, sim.CrashAfter: true} {
		w := newWorld(false)
		s := newServer(w, 1, true)
		p := sim.New(w, sim.Options{AttachFirst: true, Faults: func(provider.Call, int) sim.Fault { return sim.Fault{Kind: kind} }})
		proof, _ := fence.Prove(s, 0, "", nil, start)
		_, _ = p.Do(context.Background(), upCalls(s, 1, proof)[0])
		if got := w.Volume(sim.VolumeID(s, "data")).Holder != ""; got != happens {
			t.Errorf("%s: attached %v, want %v", kind, got, happens)
		}
	}
}

func TestFaultsOfObserve(t *testing.T) {
	w := newWorld(false)
	s := newServer(w, 1, true)
	var fault sim.Fault
	p := sim.New(w, sim.Options{AttachFirst: true, Faults: func(c provider.Call, _ int) sim.Fault {
		if c.Step.Kind == sim.StepObserve {
			return fault
		}
		return sim.Fault{}
	}})
	look := func() (fleet.Observed, error) {
		sweep, err := p.Observe(context.Background(), []fleet.Server{s})
		if err != nil {
			return fleet.Observed{}, err
		}
		return sweep.Servers[0].Observed, nil
	}
	up(t, p, s)
	if _, err := look(); err != nil {
		t.Fatal(err)
	}
	w.Advance(10 * time.Second)
	if err := w.Kill(w.Find(s.Name, 1)); err != nil {
		t.Fatal(err)
	}
	w.Advance(time.Second)
	fault = sim.Fault{Kind: sim.StaleRead, Age: 5 * time.Second}
	if o, err := look(); err != nil || o.Instances[0].State != fleet.InstanceRunning || !o.At.Equal(w.Now()) || !o.Instances[0].At.Equal(w.Now()) {
		t.Fatalf("a stale read: %+v, %v", o, err)
	}
	fault = sim.Fault{Kind: sim.Partial}
	if o, err := look(); err != nil || o.Complete || len(o.Instances) > 0 {
		t.Fatalf("a partial read: %+v, %v", o, err)
	}
	fault = sim.Fault{Kind: sim.NotFound}
	if o, err := look(); err != nil || len(o.Instances) > 0 {
		t.Fatalf("a read that misses: %+v, %v", o, err)
	}
	fault = sim.Fault{Kind: sim.Throttle}
	if _, err := look(); err == nil {
		t.Fatal("a throttled sweep succeeded")
	}
	fault = sim.Fault{}
	if o, err := look(); err != nil || o.Instances[0].State != fleet.InstanceReaped {
		t.Fatalf("a true read: %+v, %v", o, err)
	}
}

func TestQuotaThrottles(t *testing.T) {
	w := newWorld(false)
	w.SetQuota(string(sim.StepObserve), 1, 1)
	p := sim.New(w, sim.Options{})
	for n, want := range []bool{false, true} {
		_, err := p.Observe(context.Background(), nil)
		if class, may := provider.ClassOf(err); (err != nil) != want || err != nil && (class != provider.Retry || may) {
			t.Fatalf("sweep %d: %v", n, err)
		}
	}
}

func TestPowerOffEndsACutOffEpoch(t *testing.T) {
	w := newWorld(false)
	s := newServer(w, 1, true)
	s.Spec.Fence = fleet.FencePower
	p := sim.New(w, sim.Options{AttachFirst: true})
	up(t, p, s)
	if err := w.CutHost("host-1", world.Cut{Control: true, Peers: true}); err != nil {
		t.Fatal(err)
	}
	c := provider.Call{Step: fleet.Step{Kind: fleet.StepPowerOff, Server: s.Name, Epoch: 1, Host: "host-1"}, Server: s}
	if _, err := p.Do(context.Background(), c); err == nil {
		t.Fatal("it was switched off without a device")
	}
	c.Power = &fleet.Power{PowerDevice: fleet.PowerDevice{Plug: "1"}}
	out, err := p.Do(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	if _, missing := fence.Prove(s, 1, "host-1", out.Evidence, w.Now()); len(missing) > 0 {
		t.Fatalf("missing for a proof: %v", missing)
	}
	if got := w.Running(s.Name); len(got) > 0 {
		t.Fatalf("running: %v", got)
	}
}

func TestLateLaunchOfAStoppedEpochIsRefused(t *testing.T) {
	w := newWorld(false)
	s := newServer(w, 1, true)
	p := sim.New(w, sim.Options{AttachFirst: true})
	stop := provider.Call{Step: fleet.Step{Kind: fleet.StepStop, Server: s.Name, Epoch: 1, Host: "host-1"}, Server: s}
	if _, err := p.Do(context.Background(), stop); err == nil {
		t.Fatal("an epoch that never came was stopped")
	}
	proof, _ := fence.Prove(s, 0, "", nil, start)
	_, err := p.Do(context.Background(), upCalls(s, 1, proof)[0])
	if class, _ := provider.ClassOf(err); err == nil || class != provider.Refused {
		t.Fatalf("it arrived late and: %v", err)
	}
}

func TestRetryAndPacingOnAWorld(t *testing.T) {
	w := newWorld(false)
	s := newServer(w, 1, true)
	inner := sim.New(w, sim.Options{AttachFirst: true, Faults: func(_ provider.Call, n int) sim.Fault {
		if n%2 == 1 {
			return sim.Fault{Kind: sim.TimeoutAfter}
		}
		return sim.Fault{}
	}})
	clock := sim.Clock(w)
	limits := provider.Limits{
		APIs: []pace.API{{Name: "attach", Requests: pace.Bucket{PerSecond: 1, Burst: 1}}},
		Uses: func(c provider.Call) []string {
			if c.Step.Kind == fleet.StepAttach {
				return []string{"attach"}
			}
			return nil
		},
	}
	p := provider.WithRetry(provider.WithPacing(inner, limits, clock),
		provider.Retries{Base: time.Second, Max: time.Second, Jitter: func() float64 { return 0.5 }}, clock)
	proof, _ := fence.Prove(s, 0, "", nil, start)
	for _, c := range upCalls(s, 1, proof) {
		c.Step.Within = fleet.Duration(time.Minute)
		if _, err := p.Do(context.Background(), c); err != nil {
			t.Fatal(err)
		}
	}
	if got, d := w.Running(s.Name), w.Now().Sub(start); got[1] != 1 || d != 1500*time.Millisecond {
		t.Fatalf("running %v after %s", got, d)
	}
}

func BenchmarkObserve(b *testing.B) {
	w := newWorld(false)
	for n := range 334 {
		w.AddHost(world.Host{Name: fmt.Sprintf("big-%03d", n), Parent: "zone-a", Units: 10})
	}
	var servers []fleet.Server
	p := sim.New(w, sim.Options{AttachFirst: true})
	for n := range 1000 {
		s := newServer(w, n, true)
		servers = append(servers, s)
		proof, _ := fence.Prove(s, 0, "", nil, start)
		for _, c := range upCalls(s, 1, proof) {
			c.Step.Host = fmt.Sprintf("big-%03d", n/3)
			if _, err := p.Do(context.Background(), c); err != nil {
				b.Fatal(err)
			}
		}
	}
	for b.Loop() {
		if _, err := p.Observe(context.Background(), servers); err != nil {
			b.Fatal(err)
		}
	}
}
