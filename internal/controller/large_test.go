package controller

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"relight/internal/core/fleet"
	"relight/internal/provider/sim"
)

// The loops walk the whole fleet many times a minute: between two changes of its
// documents that must make no list anew, and after one it must be right.
func TestNamesAreSortedOnceForEachChange(t *testing.T) {
	r := newRig(t, sim.Options{}, "b", "d")
	s := r.live.state
	check := func(want ...string) {
		t.Helper()
		if got := s.ServerNames(); !slices.Equal(got, want) {
			t.Fatalf("the servers are %q, want %q", got, want)
		}
	}
	check("b", "d")
	if n := testing.AllocsPerRun(100, func() { s.ServerNames() }); n > 0 {
		t.Errorf("the names of an unchanged fleet cost %v allocations", n)
	}
	if err := applyText(r.live.journal, r.clock.Now(), serverYAML("c", "127.0.9.7")); err != nil {
		t.Fatal(err)
	}
	check("b", "c", "d")
	err := r.live.journal.Do(t.Context(), r.clock.Now(), func(tx *Tx) error {
		tx.Delete(kindServer, "b")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	check("c", "d")
	if err := s.Load(t.Context(), r.store); err != nil {
		t.Fatal(err)
	}
	check("c", "d")
}

// A scan of deadlines of which none is due is what nearly all scans are.
func TestScanWithoutDueAllocatesNothing(t *testing.T) {
	d := NewDeadlines()
	now := time.Date(2031, 5, 1, 12, 0, 0, 0, time.UTC)
	for i := range 1000 {
		d.Set(fmt.Sprintf("server-%04d", i), now.Add(time.Hour))
	}
	if n := testing.AllocsPerRun(100, func() { d.Take(now) }); n > 0 {
		t.Errorf("a scan of which nothing is due allocates %v times", n)
	}
}

func TestSweepNextGoesThroughAllServers(t *testing.T) {
	names := manyServers(7)
	r := newRig(t, sim.Options{}, names...)
	s := &Solo{State: r.live.state, Healer: r.live.healer, loops: &Loops{
		State: r.live.state, Collector: r.live.collector, Deadlines: NewDeadlines(), Clock: r.clock,
	}}
	seen := func() (out []string) {
		for name := range r.live.collector.servers { // sorted below
			out = append(out, name)
		}
		slices.Sort(out)
		return out
	}
	for step, want := range []int{3, 3, 1, 3} {
		n, err := s.SweepNext(t.Context(), "sim", 3)
		if err != nil || n != want {
			t.Fatalf("step %d observed %d servers (%v), want %d", step, n, err, want)
		}
	}
	if !slices.Equal(seen(), names) {
		t.Errorf("seen are %q, want all of %q", seen(), names)
	}
}

// The most important is first, and names decide between equals.
func TestDueServersAreOrdered(t *testing.T) {
	s := NewState()
	s.docs.servers = map[string]*declared{}
	for name, priority := range map[string]int{"a": 0, "b": 5, "c": 5, "d": -1} {
		s.docs.servers[name] = &declared{name: name, check: &fleet.Check{}, rest: &fleet.ServerSpec{Priority: priority}}
	}
	l := &Loops{State: s}
	if got := l.byPriority([]string{"gone", "d", "c", "a", "b"}); !slices.Equal(got, []string{"b", "c", "a", "gone", "d"}) {
		t.Errorf("the order is %q", got)
	}
}

// All servers of a zone fail in one moment: their incidents get a name each, and
// the next name must not be searched from the first one on.
func TestIncidentsOfOneMomentAreNumbered(t *testing.T) {
	r := newRig(t, sim.Options{}, "a")
	now := r.clock.Now()
	open := func(n int) {
		t.Helper()
		err := r.live.journal.Do(t.Context(), now, func(tx *Tx) error {
			status := fleet.Status{Server: fmt.Sprintf("s%d", n), Epoch: 1}
			openIncident(tx, &status, fleet.Finding{Verdict: fleet.Down, Cause: "server " + status.Server})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for n := range 200 {
		open(n)
	}
	if n := len(r.live.state.Names(kindIncident)); n != 200 {
		t.Fatalf("200 servers have %d incidents", n)
	}
	r.live.state.named.next = 900
	open(200)
	at900 := func(id string) bool { return strings.HasSuffix(id, "-900") }
	if !slices.ContainsFunc(r.live.state.Names(kindIncident), at900) {
		t.Error("the search for a name did not begin where the last one ended")
	}
}
