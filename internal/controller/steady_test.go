package controller

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"relight/internal/core/fleet"
	"relight/internal/provider/sim"
)

// manyServers returns n names.
func manyServers(n int) []string {
	var names []string
	for i := range n {
		names = append(names, fmt.Sprintf("server-%02d", i))
	}
	return names
}

// A pass over a healthy server is what nearly all passes are: a million of them may
// allocate neither much nor more in a larger fleet.
func TestPassOverHealthyServerIsCheap(t *testing.T) {
	const most = 24
	per := map[int]float64{}
	for _, n := range []int{1, 8} {
		r := newRig(t, processStyle(), manyServers(n)...)
		r.until(30*time.Second, "all are launched and verified", func() bool { return r.healthy(manyServers(n)...) })
		rev := r.live.state.latest()
		per[n] = testing.AllocsPerRun(100, func() {
			if _, err := r.live.healer.Pass(context.Background(), "server-00"); err != nil {
				t.Error(err)
			}
		})
		if got := r.live.state.latest(); got != rev {
			t.Fatalf("a pass over a healthy server wrote to the store: revision %d, was %d", got, rev)
		}
	}
	t.Logf("allocations of a pass: %v", per)
	if per[1] > most || per[8] > per[1] {
		t.Errorf("a pass over a healthy server allocates %v times alone and %v among 8, want at most %d and no more among many", per[1], per[8], most)
	}
}

// A sweep that brings nothing new is what nearly all sweeps are.
func TestSweepWithoutNewsAllocatesNothingPerServer(t *testing.T) {
	names := manyServers(8)
	r := newRig(t, processStyle(), names...)
	r.until(30*time.Second, "all are launched and verified", func() bool { return r.healthy(names...) })
	sweep, err := r.live.provider.Observe(t.Context(), r.live.state.Servers())
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		r.live.collector.Take(sweep)
	}
	if got := testing.AllocsPerRun(100, func() { r.live.collector.Take(sweep) }); got >= float64(len(names)) {
		t.Errorf("a sweep over %d servers that brings nothing new allocates %v times", len(names), got)
	}
}

// The tally follows every kind of write: after each it must be a fresh count.
func TestTallyFollowsTheState(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		r := newRig(t, sim.Options{}, "a", "b", "c")
		s := r.live.state
		for range rapid.IntRange(1, 12).Draw(rt, "writes") {
			name := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(rt, "server")
			var err error
			switch rapid.IntRange(0, 5).Draw(rt, "kind of write") {
			case 0:
				err = applyText(r.live.journal, r.clock.Now(), serverYAML(name, "127.0.9.9"))
			case 1:
				err = r.live.journal.Do(t.Context(), r.clock.Now(), func(tx *Tx) error {
					tx.Delete(kindServer, name)
					return nil
				})
			case 2:
				parent := rapid.SampledFrom([]string{"rack-1", "rack-2"}).Draw(rt, "parent")
				err = applyText(r.live.journal, r.clock.Now(), "apiVersion: relight/v1alpha1\nkind: Site\nmetadata: {name: host-1}\nspec: {kind: host, parent: "+parent+"}\n")
			default:
				st := fleet.Status{
					Server: name, Host: rapid.SampledFrom([]string{"", "host-1", "host-2"}).Draw(rt, "host"),
					Verdict: rapid.SampledFrom([]fleet.Verdict{fleet.Healthy, fleet.Down, fleet.Isolated}).Draw(rt, "verdict"),
					Cause:   "host host-1", VerdictSince: r.clock.Now().Add(time.Duration(rapid.IntRange(0, 2).Draw(rt, "since"))),
				}
				err = r.live.journal.Do(t.Context(), r.clock.Now(), func(tx *Tx) error {
					tx.Put(kindStatus, name, st)
					return nil
				})
			}
			if err != nil {
				rt.Fatal(err)
			}
			if rapid.Bool().Draw(rt, "looked at") {
				s.settle()
			}
			if s.unsettled {
				continue // the next look counts afresh
			}
			if diff := cmp.Diff(s.recount().Sum(), s.tally.Sum()); diff != "" {
				rt.Fatalf("the tally differs from a fresh count:\n%s", diff)
			}
		}
		s.settle()
		if diff := cmp.Diff(s.recount().Sum(), s.tally.Sum()); diff != "" {
			rt.Fatalf("the tally differs from a fresh count:\n%s", diff)
		}
	})
}

// Parts that servers share must not make one look like another.
func TestDeclaredServersAreWhatTheirDocumentsSay(t *testing.T) {
	docs := documents{}
	rapid.Check(t, func(t *rapid.T) {
		s := fleet.Server{Name: "s", Labels: map[string]string{"app": "x"}}
		s.Spec.Provider = rapid.SampledFrom([]string{"sim", "onprem"}).Draw(t, "provider")
		s.Spec.Priority = rapid.IntRange(0, 40).Draw(t, "priority")
		s.Spec.Health.Check.HTTP = fmt.Sprintf("http://127.0.0.%d/", rapid.IntRange(1, 40).Draw(t, "check"))
		s.Spec.Identity.Volumes = []fleet.Volume{{Name: rapid.SampledFrom([]string{"data", "log"}).Draw(t, "volume"), Reach: fleet.ReachMachine}}
		s.Spec.Template.Sim = &fleet.SimTemplate{Size: rapid.SampledFrom([]string{"", "large"}).Draw(t, "size")}
		docs.names = newShared()
		if diff := cmp.Diff(s, docs.declare(s).server()); diff != "" {
			t.Fatalf("the server changed:\n%s", diff)
		}
	})
}
