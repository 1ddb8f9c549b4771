package decide_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"relight/internal/core/decide"
	"relight/internal/core/fleet"
)

// model is a small world behind a view: which epochs really run, which volumes are
// sealed, which hosts are really on. It does the steps with random outcomes, and
// it knows the truth that the decider can only infer.
type model struct {
	v   decide.View
	now time.Time
	// alive says where an epoch really runs; works, whether the current one would
	// pass its check.
	alive  map[fleet.Epoch]string
	off    map[string]bool
	sealed map[string]fleet.Epoch
	// shut are the epochs that the array has shut out: they may run, and write nothing.
	shut  map[fleet.Epoch]bool
	gone  map[fleet.Epoch]string
	works bool
	// calls says when a call was last made with a token.
	calls map[string]time.Time
	// fences says how each source of proof of each recovery did.
	fences map[string]fenced
}

// fenced counts the calls in a row that gave no evidence, and when the last ended.
type fenced struct {
	failed int
	at     time.Time
}

// newModel starts with a verified epoch 3 on host-1 of three hosts.
func newModel(t *rapid.T) *model {
	s := newStory(func(cell) {})
	for _, line := range []string{
		"host host-1 power=yes", "host host-2 power=yes", "host host-3 power=yes sites=rack-2,zone-a", "status epoch=3 host=host-1 verified",
		"server lic-01 rungs=" + pick(t, "ladder", "restartApp:2,relaunch:2,move:1", "relaunch:3", "restartApp:1,reboot:1,recover:1,relaunch:2"),
		"server lic-01 fence=" + pick(t, "fence", "storage", "power") + " volumes=" + pick(t, "volumes", "data:machine", "data:shared", "data:array", ""),
		"traits " + pick(t, "traits", "onprem", "guest"),
	} {
		if err := s.do(line); err != nil {
			t.Fatal(err)
		}
	}
	return &model{
		v: s.v, now: noon, works: true, alive: map[fleet.Epoch]string{3: "host-1"}, gone: map[fleet.Epoch]string{},
		off: map[string]bool{}, sealed: map[string]fleet.Epoch{}, shut: map[fleet.Epoch]bool{}, calls: map[string]time.Time{}, fences: map[string]fenced{},
	}
}

// chaos lets something happen that nobody decided.
func (m *model) chaos(t *rapid.T) {
	h := &m.v.Hosts[rapid.IntRange(0, 2).Draw(t, "which host")]
	switch pick(t, "chaos", "crash", "mute", "host dies", "cut", "joined", "repaired", "full", "empty") {
	case "crash":
		m.end(m.v.Status.Epoch)
	case "mute":
		m.works = false
	case "host dies":
		m.off[h.Name], h.InContact = true, fleet.No
		for e, on := range m.alive {
			if on == h.Name {
				delete(m.alive, e) // nobody reaped it: nothing is known of its end
			}
		}
	case "cut":
		h.InContact = fleet.No
	case "joined":
		h.InContact, m.off[h.Name] = fleet.Yes, false
	case "repaired":
		m.works = true
	case "full":
		h.UsedUnits = h.Units
	case "empty":
		h.UsedUnits = 0
	}
}

// end ends an epoch under its agent's eyes.
func (m *model) end(e fleet.Epoch) {
	if on, ok := m.alive[e]; ok {
		delete(m.alive, e)
		m.gone[e] = on
	}
}

// look makes the view true, as far as hosts in contact can tell.
func (m *model) look() {
	v := &m.v
	v.Observed = fleet.Observed{Server: v.Server.Name, At: m.now, Complete: true}
	for e, on := range m.alive {
		if hostOf(v, on).InContact == fleet.Yes {
			v.Observed.Instances = append(v.Observed.Instances, fleet.Instance{Epoch: e, Host: on, State: fleet.InstanceRunning, At: m.now, Since: m.now, Alive: fleet.Yes})
		}
	}
	for e, on := range m.gone {
		if hostOf(v, on).InContact == fleet.Yes {
			v.Observed.Instances = append(v.Observed.Instances, fleet.Instance{Epoch: e, Host: on, State: fleet.InstanceReaped, At: m.now})
		}
	}
	e := v.Status.Epoch
	on, lives := m.alive[e]
	contact := hostOf(v, v.Status.Host).InContact == fleet.Yes
	f := fleet.Finding{Since: m.now, Reason: "the model says so"}
	switch {
	case !contact && lives:
		f.Verdict, f.Since = fleet.Isolated, m.now.Add(-time.Hour)
	case !lives:
		f.Verdict = fleet.Down
	case !m.works:
		f.Verdict = fleet.Impaired
	default:
		f.Verdict = fleet.Healthy
		f.Evidence = []fleet.Signal{{Source: fleet.Source{Vantage: on}, Question: fleet.Works, Answer: fleet.Yes, Epoch: e, At: m.now, Since: m.now}}
	}
	v.Finding = f
}

// do performs a step with a random outcome.
func (m *model) do(t *rapid.T, step fleet.Step) decide.Result {
	agent := step.Host
	if step.Via != "" {
		agent = step.Via
	}
	array := step.Kind == fleet.StepSeal && step.Via == ""
	if h := hostOf(&m.v, agent); step.Kind != fleet.StepPowerOff && !array && (h == nil || h.InContact != fleet.Yes) {
		return decide.Result{State: fleet.StepUnknown, Class: "retry", Error: "no answer"}
	}
	switch pick(t, "outcome", "done", "done", "done", "done", "done", "lost", "fails") {
	case "fails":
		return decide.Result{State: fleet.StepFailed, Class: pick(t, "class", "retry", "retry", "capacity", "conflict", "refused", "permanent", "notFound"), Error: "it failed"}
	case "lost":
		m.effect(t, step)
		return decide.Result{State: fleet.StepUnknown, Class: "retry", Error: "no reply"}
	}
	return m.effect(t, step)
}

// effect is what the step does to the world, and what its executor saw.
func (m *model) effect(t *rapid.T, step fleet.Step) decide.Result {
	e := fleet.Evidence{Server: step.Server, Epoch: step.Epoch, At: m.now, By: "the model"}
	switch step.Kind {
	case fleet.StepStop:
		if on, lives := m.alive[step.Epoch]; lives && on != step.Host {
			return decide.Result{State: fleet.StepFailed, Class: "notFound", Error: "no such instance"}
		}
		m.end(step.Epoch)
		m.gone[step.Epoch] = step.Host
		e.Method = fleet.Reaped
	case fleet.StepSeal:
		if step.Via == "" { // the array needs nobody's lock
			m.shut[step.Epoch] = true
			e.Method, e.Volume = fleet.InitiatorRemoved, step.Object.Volume
			break
		}
		for other := range m.alive {
			if other <= step.Epoch {
				return decide.Result{State: fleet.StepFailed, Class: "conflict", Error: "the lock is held"}
			}
		}
		m.sealed[step.Object.Volume] = step.Epoch
		e.Method, e.Volume = fleet.Sealed, step.Object.Volume
	case fleet.StepPowerOff:
		m.off[step.Host] = true
		for other, on := range m.alive {
			if on == step.Host {
				delete(m.alive, other)
			}
		}
		e.Method, e.Host = fleet.PoweredOff, step.Host
	case fleet.StepLaunch, fleet.StepRecover:
		m.mustBeAlone(t, step)
		if _, ended := m.gone[step.Epoch]; !ended {
			m.alive[step.Epoch], m.works = step.Host, chance(t, "starts well", 70)
		}
	case fleet.StepReboot, fleet.StepRestartApp:
		m.works = m.works || chance(t, "helps", 50)
	}
	if e.Method == "" {
		return decide.Result{State: fleet.StepDone}
	}
	return decide.Result{State: fleet.StepDone, Evidence: []fleet.Evidence{e}}
}

// mustBeAlone is S1 in the model: no older epoch may write when a new one starts.
func (m *model) mustBeAlone(t *rapid.T, step fleet.Step) {
	for e, on := range m.alive {
		if e != step.Epoch && !m.shut[e] {
			t.Fatalf("epoch %d starts on %s while %d runs on %s", step.Epoch, step.Host, e, on)
		}
	}
}

// decideOnce makes one decision and carries it out; a call takes a millisecond.
func (m *model) decideOnce(t *rapid.T) decide.Decision {
	m.look()
	d := decide.Next(m.v, m.now)
	if d.Step == nil {
		return d
	}
	before := m.v.Status
	m.v.Status = decide.Intend(m.v.Status, d, m.now)
	if m.v.Status.Epoch < before.Epoch {
		t.Fatalf("epoch %d falls to %d", before.Epoch, m.v.Status.Epoch)
	}
	if d.Step.Kind.Record() {
		return d
	}
	if at, ok := m.calls[d.Step.Token]; ok && m.now.Sub(at) < 100*time.Millisecond {
		t.Fatalf("%s is repeated with no pause", d.Step.Kind)
	}
	m.calls[d.Step.Token] = m.now
	m.now = m.now.Add(time.Millisecond)
	source := m.asked(t, *d.Step)
	if !chance(t, "controller dies", 5) {
		res := m.do(t, *d.Step)
		m.v.Status = decide.Record(m.v.Status, *d.Step, res, m.now)
		f := fenced{at: m.now}
		if len(res.Evidence) == 0 {
			f.failed = m.fences[source].failed + 1
		}
		m.fences[source] = f
	} else {
		m.now = m.now.Add(time.Second)
	}
	return d
}

// asked is L2 of fences: a source of proof that gave none is asked again after 10 s,
// 20 s, 40 s and then each minute. It returns the source's name.
func (m *model) asked(t *rapid.T, s fleet.Step) string {
	recovery := "none"
	if r := m.v.Status.Recovery; r != nil {
		recovery = r.ID
	}
	// The stop of a leftover, which is of no rung, has a back-off of its own.
	source := fmt.Sprint(recovery, s.Kind, s.Epoch, s.Host, s.Object, s.Via, s.Rung == "")
	if s.Kind != fleet.StepStop && s.Kind != fleet.StepSeal && s.Kind != fleet.StepPowerOff {
		return source
	}
	if f := m.fences[source]; f.failed > 0 {
		wait := min(10*time.Second<<min(f.failed-1, 4), time.Minute)
		if age := m.now.Sub(f.at); age < wait {
			t.Fatalf("%s failed %d times and is asked again after %s", source, f.failed, age)
		}
	}
	return source
}

// withinLadder is L2: no rung is tried more often within its window than the spec says.
func (m *model) withinLadder(t *rapid.T) {
	for _, spec := range m.v.Server.Spec.Ladder.Rungs {
		n := 0
		for _, a := range m.v.Status.Attempts {
			if a.Rung == spec.Rung && m.now.Sub(a.At) < m.v.Server.Spec.Ladder.Window.Std() {
				n++
			}
		}
		if n > spec.Tries {
			t.Fatalf("%s was tried %d times within %s, %d are allowed", spec.Rung, n, m.v.Server.Spec.Ladder.Window, spec.Tries)
		}
	}
}

// run decides until nothing changes by the clock any more, or for so many rounds.
func (m *model) run(t *rapid.T, rounds int, chaos bool) decide.Decision {
	var d decide.Decision
	steps := 0 // in a row with no wait between
	for range rounds {
		if chaos && chance(t, "something happens", 15) {
			m.chaos(t)
		}
		d = m.decideOnce(t)
		m.withinLadder(t)
		if d.Step != nil {
			if steps++; steps > 40 {
				t.Fatalf("40 steps without a wait, the last one %s: %s", d.Step.Kind, d.Reason)
			}
			continue
		}
		steps = 0
		next := m.now.Add(time.Second)
		if !chaos && d.LookAgainAt.After(next) {
			next = d.LookAgainAt
		}
		m.now = next
	}
	return d
}

// TestRunsEnd lets two hundred decisions meet random outcomes and faults, and then
// stops the faults and repairs every host: the server must end running, or say
// what person or guard it waits for (L1).
func TestRunsEnd(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newModel(t)
		m.run(t, 200, true)
		for i := range m.v.Hosts {
			h := &m.v.Hosts[i]
			h.InContact, h.UsedUnits, m.off[h.Name] = fleet.Yes, 0, false
		}
		for e, on := range m.alive { // what ran on a dead host is gone, and its agent knows
			if m.off[on] {
				m.end(e)
			}
		}
		d := m.run(t, 200, false)
		st := m.v.Status
		waits := d.Hold != nil && d.Hold.NeedsPerson
		if !waits && (st.Phase != fleet.PhaseRunning || m.v.Finding.Verdict != fleet.Healthy) {
			t.Fatalf("it ends in phase %q and %s on %s: %s", st.Phase, m.v.Finding.Verdict, st.Host, d.Reason)
		}
		if !slices.Contains([]fleet.Phase{fleet.PhaseRunning, fleet.PhaseNeedsPerson}, st.Phase) && !waits {
			t.Fatalf("it rests in phase %q: %s", st.Phase, d.Reason)
		}
	})
}
