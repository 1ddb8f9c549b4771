package controller

import (
	"fmt"
	"testing"
	"time"

	"relight/internal/api/client"
	"relight/internal/core/fleet"
	"relight/internal/provider"
	"relight/internal/provider/sim"
	"relight/internal/store"
	"relight/internal/store/mem"
	"relight/internal/world"
)

// A story is a failure and the recovery that answers it, to be cut at each point.
type story struct {
	name  string
	opts  sim.Options
	harm  func(*rig)
	ended func(*rig) bool
}

func stories() []story {
	return []story{
		{
			name: "relaunch after a dead host", opts: processStyle(),
			harm:  func(r *rig) { r.mustWorld(r.world.KillHost(r.status("db").Host)) },
			ended: func(r *rig) bool { return r.status("db").Epoch > 1 && r.healthy("db") },
		},
		{
			name: "restart of a dead process", opts: processStyle(),
			harm:  func(r *rig) { r.mustWorld(r.world.Kill(r.instanceOf("db"))) },
			ended: func(r *rig) bool { return r.status("db").Epoch > 1 && r.healthy("db") },
		},
		{
			name: "power fence of a host that is cut off", opts: processStyle(),
			harm:  func(r *rig) { r.mustWorld(r.world.CutHost(r.status("db").Host, world.Cut{Control: true})) },
			ended: func(r *rig) bool { return r.status("db").Epoch > 1 && r.healthy("db") },
		},
		{
			name: "reboot of a machine that hangs", opts: sim.Options{Rungs: []fleet.Rung{fleet.Reboot, fleet.Relaunch}},
			harm: func(r *rig) { r.world.SetApp(r.instanceOf("db"), world.AppMute) },
			ended: func(r *rig) bool {
				return r.status("db").Phase == fleet.PhaseRunning && len(r.status("db").Attempts) > 0 && r.healthy("db")
			},
		},
		{
			name: "relaunch of a machine that was terminated", opts: sim.Options{Rungs: []fleet.Rung{fleet.Relaunch}},
			harm:  func(r *rig) { r.mustWorld(r.world.Terminate(r.instanceOf("db"))) },
			ended: func(r *rig) bool { return r.status("db").Epoch > 1 && r.healthy("db") },
		},
		{
			name: "planned move of a working server", opts: processStyle(),
			harm: func(r *rig) { r.wantsMove("db") },
			ended: func(r *rig) bool { // done, or called off because it could not be stopped
				_, waits := Get[fleet.Request](r.live.state, kindRequest, "db")
				return !waits && r.status("db").Recovery == nil && r.healthy("db")
			},
		},
	}
}

// wantsMove asks for a planned move until a controller has taken the wish.
func (r *rig) wantsMove(name string) {
	r.world.Unlock()
	defer r.world.Lock()
	to := map[string]string{"host-1": "host-2", "host-2": "host-3", "host-3": "host-1"}[r.status(name).Host]
	for {
		_, err := r.backend().Move(r.t.Context(), "ann", name, client.MoveRequest{To: to})
		if !r.dead(err) {
			return // done, or a controller that died has taken it
		}
		r.start()
		r.until(10*time.Second, "it is seen again", func() bool { return r.status(name).Epoch > 1 || r.healthy(name) })
	}
}

func (r *rig) mustWorld(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// tell plays a story. Points are counted from the failure on; at each one, cut
// says what happens there.
func (s story) tell(t *testing.T, cut func(point string, n int) cutKind) (points []string) {
	r := newRig(t, s.opts, "db")
	r.until(30*time.Second, "db is launched", func() bool { return r.healthy("db") })
	n := 0
	at := func(point string) cutKind {
		n++
		points = append(points, point)
		return cut(point, n)
	}
	r.hooks = mem.Hooks{
		BeforeCommit: func(store.Txn) error { return killIf(at("before a write") == cutHere) },
		AfterCommit:  func(store.Txn) error { return killIf(at("after a write") == cutHere) },
	}
	r.opts.Faults = func(call provider.Call, _ int) sim.Fault {
		if call.Step.Kind == sim.StepObserve {
			return sim.Fault{}
		}
		before := at("before " + string(call.Step.Kind))
		after := at("after " + string(call.Step.Kind) + ", before its reply")
		switch {
		case before == cutHere:
			return sim.Fault{Kind: sim.CrashBefore}
		case after == cutHere:
			return sim.Fault{Kind: sim.CrashAfter}
		}
		return sim.Fault{}
	}
	r.restartWithFaults()
	r.world.Lock()
	s.harm(r)
	r.world.Unlock()
	r.until(3*time.Minute, "the story ends well", func() bool { return s.ended(r) })
	r.hooks, r.opts.Faults = mem.Hooks{}, nil
	r.endState()
	return points
}

// restartWithFaults gives the living controller a provider that knows the faults.
func (r *rig) restartWithFaults() {
	inner := sim.New(r.world, r.opts)
	r.live.provider = provider.WithAuthority(inner, r.live.reign.Allowed)
	r.live.healer.Providers = map[string]provider.Provider{"sim": r.live.provider}
}

type cutKind int

const (
	goOn cutKind = iota
	cutHere
)

func killIf(cut bool) error {
	if cut {
		return errCrash
	}
	return nil
}

// endState is what must be true after every story, whatever was cut.
func (r *rig) endState() {
	r.t.Helper()
	r.check()
	r.verifyAudit()
	r.world.Lock()
	defer r.world.Unlock()
	running := r.world.Running("db")
	epoch := r.status("db").Epoch
	if len(running) != 1 || running[epoch] != 1 {
		r.t.Fatalf("the world runs %v, the store says epoch %d", running, epoch)
	}
	if st := r.status("db"); st.Recovery != nil || st.Incident != "" {
		r.t.Fatalf("the recovery is not over: %+v", st)
	}
}

// Crash at every step: the points are found by a run without a crash, and then
// each one is cut. A new controller takes over and the story must end the same.
func TestCrashAtEveryPoint(t *testing.T) {
	for _, s := range stories() {
		t.Run(s.name, func(t *testing.T) {
			points := s.tell(t, func(string, int) cutKind { return goOn })
			if len(points) < 6 {
				t.Fatalf("only %d points were found: %v", len(points), points)
			}
			for i := range points {
				t.Run(fmt.Sprintf("%02d %s", i+1, points[i]), func(t *testing.T) {
					cut := false
					s.tell(t, func(_ string, n int) cutKind {
						if n == i+1 {
							cut = true
							return cutHere
						}
						return goOn
					})
					if !cut {
						t.Fatal("the point was never reached")
					}
				})
			}
			t.Logf("%d points cut", len(points))
		})
	}
}

// A second crash while the first is being recovered from, at every distance.
func TestCrashTwice(t *testing.T) {
	s := stories()[0]
	points := s.tell(t, func(string, int) cutKind { return goOn })
	for i := range points {
		for gap := 1; gap <= 6; gap++ {
			s.tell(t, func(_ string, n int) cutKind {
				if n == i+1 || n == i+1+gap {
					return cutHere
				}
				return goOn
			})
		}
	}
}

// Error at every call: each step of a story meets each fault once, and each
// observation of the recovery too.
func TestErrorAtEveryCall(t *testing.T) {
	for _, s := range stories() {
		t.Run(s.name, func(t *testing.T) {
			for _, target := range []struct {
				observing bool
				faults    []sim.FaultKind
			}{{false, sim.DoFaults()}, {true, sim.ObserveFaults()}} {
				calls := s.tellFaulty(t, target.observing, 0, sim.Fault{})
				if calls == 0 {
					t.Fatal("the story made no call")
				}
				for n := 1; n <= calls; n++ {
					for _, kind := range target.faults {
						if kind == sim.CrashBefore || kind == sim.CrashAfter {
							continue // TestCrashAtEveryPoint
						}
						t.Run(fmt.Sprintf("call %d %s", n, kind), func(t *testing.T) {
							t.Parallel()
							s.tellFaulty(t, target.observing, n, sim.Fault{Kind: kind, Age: time.Second})
						})
					}
				}
			}
		})
	}
}

// tellFaulty plays a story in which the n-th step, or the n-th observation of the
// recovery, goes wrong; it returns how many there were.
func (s story) tellFaulty(t *testing.T, observing bool, n int, f sim.Fault) (calls int) {
	r := newRig(t, s.opts, "db")
	r.until(30*time.Second, "db is launched", func() bool { return r.healthy("db") })
	r.opts.Faults = func(call provider.Call, _ int) sim.Fault {
		isObserve := call.Step.Kind == sim.StepObserve
		if isObserve != observing || (isObserve && r.status("db").Recovery == nil) {
			return sim.Fault{}
		}
		calls++
		if calls == n {
			return f
		}
		return sim.Fault{}
	}
	r.restartWithFaults()
	r.world.Lock()
	s.harm(r)
	r.world.Unlock()
	r.until(3*time.Minute, "the story ends well", func() bool { return s.ended(r) })
	r.opts.Faults = nil
	r.endState()
	return calls
}
