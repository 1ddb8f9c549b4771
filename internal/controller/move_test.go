package controller

import (
	"errors"
	"strings"
	"testing"
	"time"

	"relight/internal/api/client"
	"relight/internal/core/event"
	"relight/internal/core/fleet"
	"relight/internal/provider"
	"relight/internal/provider/sim"
)

// backend is what people ask of the living controller.
func (r *rig) backend() *Backend {
	l := r.live
	loops := &Loops{Clock: r.clock, State: l.state, Deadlines: NewDeadlines()}
	return &Backend{Journal: l.journal, State: l.state, Viewer: l.viewer, Collector: l.collector, Healer: l.healer, Chronicle: l.chronicle, Clock: r.clock, Loops: loops}
}

func (r *rig) kinds(since time.Time) map[event.Kind]int {
	count := map[event.Kind]int{}
	for _, rec := range r.live.chronicle.Latest(1000, func(e event.Event) bool { return e.At.After(since) }) {
		count[rec.Event.Kind]++
	}
	return count
}

// A working server goes where a person wants it, and back; nobody takes it for a failure.
func TestPlannedMoveAndBack(t *testing.T) {
	r := newRig(t, processStyle(), "db", "web")
	r.until(30*time.Second, "both are launched", func() bool { return r.healthy("db", "web") })
	begun, home := r.clock.Now(), r.status("db").Host
	to := map[string]string{"host-1": "host-2", "host-2": "host-3", "host-3": "host-1"}[home]

	plan, err := r.backend().Plan(t.Context(), "db", client.PlanQuery{Host: to})
	if err != nil || len(plan.Steps) == 0 || plan.Steps[0].Step.Kind != fleet.StepStop || plan.Host != to {
		t.Fatalf("the plan is %+v (%v), want a stop first", plan, err)
	}
	if _, err := r.backend().Move(t.Context(), "ann", "db", client.MoveRequest{To: to, Reason: "new memory"}); err != nil {
		t.Fatal(err)
	}
	r.until(30*time.Second, "it runs over there", func() bool { return r.status("db").Epoch == 2 && r.healthy("db") })
	if st := r.status("db"); st.Host != to || st.CameFrom != home || len(st.Attempts) != 0 || st.Incident != "" {
		t.Errorf("after the move it is on %s, came from %s, with attempts %v and incident %q", st.Host, st.CameFrom, st.Attempts, st.Incident)
	}
	if _, err := r.backend().Move(t.Context(), "ann", "db", client.MoveRequest{Back: true}); err != nil {
		t.Fatal(err)
	}
	r.until(30*time.Second, "it runs at home", func() bool { return r.status("db").Epoch == 3 && r.healthy("db") })
	if st := r.status("db"); st.Host != home {
		t.Errorf("it came back to %s, want %s", st.Host, home)
	}
	count := r.kinds(begun)
	if count[event.IncidentOpened] != 0 || count[event.RecoveryHealed] != 2 || count[event.VerdictChanged] != 0 {
		t.Errorf("the moves were taken for failures: %v", count)
	}
	r.verifyAudit()
}

// What cannot be is refused with its reason, and leaves no wish in wait.
func TestPlannedMoveIsRefused(t *testing.T) {
	r := newRig(t, processStyle(), "db")
	r.until(30*time.Second, "it is launched", func() bool { return r.healthy("db") })
	home := r.status("db").Host
	r.world.Lock()
	r.mustWorld(r.world.KillHost("host-3"))
	r.world.Unlock()
	r.until(10*time.Second, "the loss is seen", func() bool {
		for _, h := range r.live.viewer.View("db", r.clock.Now()).Hosts {
			if h.Name == "host-3" {
				return h.InContact == fleet.No
			}
		}
		return false
	})
	for _, c := range []struct {
		req  client.MoveRequest
		want string
	}{
		{client.MoveRequest{To: home}, "already"},
		{client.MoveRequest{To: "host-3"}, "its agent is silent"},
		{client.MoveRequest{To: "host-9"}, "there is no host"},
		{client.MoveRequest{Back: true}, "no other host"},
		{client.MoveRequest{}, "needs a host"},
		{client.MoveRequest{To: "host-2", Back: true}, "not both"},
	} {
		_, err := r.backend().Move(t.Context(), "ann", "db", c.req)
		var p *client.Problem
		if !errors.As(err, &p) || !strings.Contains(p.Detail, c.want) || len(p.Next) == 0 {
			t.Errorf("%+v: %v, want %q and a next command", c.req, err, c.want)
		}
	}
	if _, waits := Get[fleet.Request](r.live.state, kindRequest, "db"); waits || r.status("db").Epoch != 1 {
		t.Error("a refused move was kept, or done")
	}
}

// The place refuses it once the server was stopped: it goes back to where it was.
func TestPlannedMoveGoesBack(t *testing.T) {
	opts := processStyle()
	opts.Faults = func(call provider.Call, _ int) sim.Fault {
		if call.Step.Kind == fleet.StepLaunch && call.Step.Epoch == 2 {
			return sim.Fault{Kind: sim.Refused}
		}
		return sim.Fault{}
	}
	r := newRig(t, opts, "db")
	r.until(30*time.Second, "it is launched", func() bool { return r.healthy("db") })
	home := r.status("db").Host
	to := map[string]string{"host-1": "host-2", "host-2": "host-3", "host-3": "host-1"}[home]
	if _, err := r.backend().Move(t.Context(), "ann", "db", client.MoveRequest{To: to}); err != nil {
		t.Fatal(err)
	}
	r.until(60*time.Second, "it runs at home again", func() bool { return r.status("db").Epoch == 3 && r.healthy("db") })
	if st := r.status("db"); st.Host != home || st.CameFrom != "" {
		t.Errorf("it is on %s and came from %q, want %s as before the move", st.Host, st.CameFrom, home)
	}
	r.verifyAudit()
}

// While a planned move ends a server where it works, nothing else takes its place over
// there (S15): it would have been ended for nothing.
func TestPlannedMoveHoldsItsPlace(t *testing.T) {
	r := newRig(t, processStyle(), "db", "web")
	r.until(30*time.Second, "both are launched", func() bool { return r.healthy("db", "web") })
	home := r.status("db").Host
	to := map[string]string{"host-1": "host-2", "host-2": "host-3", "host-3": "host-1"}[home]
	used := func(server string) int {
		for _, h := range r.live.viewer.View(server, r.clock.Now()).Hosts {
			if h.Name == to {
				return h.UsedUnits
			}
		}
		return -1
	}
	before, own := used("web"), used("db")
	r.mustWorld(r.live.journal.Do(t.Context(), r.clock.Now(), func(tx *Tx) error {
		st := r.status("db")
		st.Phase, st.Recovery = fleet.PhaseRecovering, &fleet.Recovery{Rung: fleet.Relaunch, From: 1, FromHost: home, Planned: &fleet.Planned{To: to, Home: home}}
		tx.Put(kindStatus, "db", st)
		return nil
	}))
	if got := used("web"); got != before+1 {
		t.Errorf("on the way there %d units of %s are taken for others, want %d", got, to, before+1)
	}
	if got := used("db"); got != own {
		t.Errorf("on the way there %d units of %s are taken for itself, want %d", got, to, own)
	}
	r.until(30*time.Second, "it is found to work where it is", func() bool { return r.status("db").Recovery == nil })
	if got := used("web"); got != before {
		t.Errorf("once it stays %d units of %s are taken, want %d", got, to, before)
	}
}
