package decide_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"relight/internal/core/decide"
	"relight/internal/core/fence"
	"relight/internal/core/fleet"
)

// forAll checks a promise about the decision on any view that can be reached.
func forAll(t *testing.T, promise func(t *rapid.T, v decide.View, now time.Time, d decide.Decision)) {
	rapid.Check(t, func(t *rapid.T) {
		v, now := drawReached(t)
		promise(t, v, now, decide.Next(v, now))
	})
}

// harmful reports whether the decision acts on the world.
func harmful(d decide.Decision) bool { return d.Step != nil && d.Step.Kind.Destructive() }

// leftover reports whether the step ends an epoch that was replaced already, outside
// of a recovery: it was fenced, so that this only cleans up.
func leftover(v decide.View, d decide.Decision) bool {
	if d.Step == nil || v.Status.Recovery != nil || d.Begins != nil {
		return false
	}
	shuts := d.Step.Kind == fleet.StepSeal && d.Step.Via == "" && onArray(v, d.Step.Object.Volume)
	return (d.Step.Kind == fleet.StepStop || shuts) && d.Step.Epoch < v.Status.Epoch || givesAgain(v, d)
}

// givesAgain reports whether the step lets the present epoch in on an array that has
// forgotten it.
func givesAgain(v decide.View, d decide.Decision) bool {
	return d.Step != nil && v.Status.Recovery == nil && d.Begins == nil && d.Step.Kind == fleet.StepAttach &&
		d.Step.Epoch == v.Status.Epoch && onArray(v, d.Step.Object.Volume)
}

func onArray(v decide.View, volume string) bool {
	return slices.ContainsFunc(v.Server.Spec.Identity.Volumes, func(o fleet.Volume) bool {
		return o.Name == volume && o.Reach == fleet.ReachArray
	})
}

// dead is a second opinion on whether an epoch can write no more, made without
// package fence: the rules of invariant S2 as they are written there.
func dead(v decide.View, epoch fleet.Epoch, now time.Time) bool {
	if epoch == 0 {
		return true
	}
	fresh := func(at time.Time) bool { return now.Sub(at).Abs() <= fence.PerishableFor }
	ended, sealed, shut := false, map[string]bool{}, map[string]bool{}
	for _, e := range v.Status.Evidence {
		if e.Server != v.Server.Name || e.Epoch != epoch {
			continue
		}
		switch e.Method {
		case fleet.NeverStarted, fleet.Attested:
			return true
		case fleet.Reaped, fleet.Terminated:
			ended = true
		case fleet.Stopped:
			ended = ended || fresh(e.At)
		case fleet.PoweredOff:
			ended = ended || fresh(e.At) && slices.Contains(ranOn(v, epoch), e.Host)
		case fleet.Sealed:
			sealed[e.Volume] = true
		case fleet.InitiatorRemoved:
			shut[e.Volume] = true
		}
	}
	for _, i := range v.Observed.Instances {
		if i.Epoch == epoch && (i.State.Gone() || i.State == fleet.InstanceStopped && fresh(i.At)) {
			ended = true
		}
	}
	for _, vol := range v.Observed.Volumes {
		sealed[vol.Volume] = sealed[vol.Volume] || vol.Sealed >= epoch
	}
	both := v.Server.Spec.Fence == fleet.FenceBoth
	if ended != both {
		return ended
	}
	for _, vol := range v.Server.Spec.Identity.Volumes {
		if both && (vol.Reach == fleet.ReachShared || vol.Reach == fleet.ReachZone) {
			continue // it cannot refuse
		}
		refuses := sealed[vol.Name]
		if vol.Reach == fleet.ReachArray {
			refuses = shut[vol.Name]
		}
		if !refuses || vol.Reach == fleet.ReachShared || vol.Reach == fleet.ReachZone {
			return false
		}
	}
	return both || len(v.Server.Spec.Identity.Volumes) > 0 && v.Server.Spec.Fence != fleet.FencePower
}

// ranOn lists the hosts on which an epoch is known to have run.
func ranOn(v decide.View, epoch fleet.Epoch) []string {
	var out []string
	if v.Status.Epoch == epoch {
		out = append(out, v.Status.Host)
	}
	if r := v.Status.Recovery; r != nil && r.From == epoch {
		out = append(out, r.FromHost)
	}
	for _, i := range v.Observed.Instances {
		if i.Epoch == epoch {
			out = append(out, i.Host)
		}
	}
	return out
}

func TestFenceBeforeStart(t *testing.T) { // S2
	forAll(t, func(t *rapid.T, v decide.View, now time.Time, d decide.Decision) {
		if d.Step == nil || !d.Step.Kind.NeedsProof() {
			return
		}
		if !d.Proof.Covers(v.Server.Name, d.Step.Epoch) {
			t.Fatalf("%s of epoch %d comes with %s", d.Step.Kind, d.Step.Epoch, d.Proof)
		}
		if !dead(v, d.Step.Epoch-1, now) {
			t.Fatalf("%s of epoch %d, but nothing shows that epoch %d is dead (%s)", d.Step.Kind, d.Step.Epoch, d.Step.Epoch-1, d.Proof)
		}
	})
}

func highestSeen(v decide.View) fleet.Epoch {
	top := v.Status.Epoch
	for _, i := range v.Observed.Instances {
		top = max(top, i.Epoch)
	}
	for _, vol := range v.Observed.Volumes {
		top = max(top, vol.Epoch, vol.Holder, vol.Sealed)
	}
	return top
}

func TestEpochsRise(t *testing.T) { // S3
	forAll(t, func(t *rapid.T, v decide.View, _ time.Time, d decide.Decision) {
		if d.Step == nil || !d.Step.Kind.NeedsProof() {
			return
		}
		top := highestSeen(v)
		if givesAgain(v, d) {
			return
		}
		if r := v.Status.Recovery; r != nil && r.To != 0 {
			if d.Step.Epoch != r.To || d.Step.Epoch < top {
				t.Fatalf("%s of epoch %d while %d is being made and %d was seen", d.Step.Kind, d.Step.Epoch, r.To, top)
			}
			return
		}
		if d.Step.Epoch <= top {
			t.Fatalf("%s takes epoch %d, but %d was seen", d.Step.Kind, d.Step.Epoch, top)
		}
	})
}

func TestUnknownIsNotDead(t *testing.T) { // S4
	forAll(t, func(t *rapid.T, v decide.View, now time.Time, d decide.Decision) {
		calm := v.Finding.Verdict == fleet.Unknown || v.Finding.Verdict == fleet.Suspect || v.Finding.Verdict == fleet.Healthy
		if calm && v.Status.Recovery == nil && v.Request == nil && harmful(d) && !leftover(v, d) {
			t.Fatalf("it is %s, and yet %s", v.Finding.Verdict, d.Step.Kind)
		}
		// What is not seen is no evidence: a look that shows less never allows more.
		v.Observed = fleet.Observed{Server: v.Server.Name, At: now}
		v.Status.Recovery = nil
		blind := decide.Next(v, now)
		if blind.Step != nil && blind.Step.Kind.NeedsProof() && !dead(v, blind.Step.Epoch-1, now) {
			t.Fatalf("%s of epoch %d out of an empty look", blind.Step.Kind, blind.Step.Epoch)
		}
	})
}

func TestBlastRadius(t *testing.T) { // S5
	forAll(t, func(t *rapid.T, v decide.View, now time.Time, d decide.Decision) {
		if d.Step == nil || d.Begins == nil {
			return
		}
		if v.Around.Storm != nil && v.Request == nil {
			t.Fatalf("%s begins in a storm", d.Begins.Rung)
		}
		for _, dom := range v.Around.Domains {
			used := 0
			for _, b := range dom.Begun {
				if now.Sub(b.At) < dom.Budget.Window.Std() {
					used += b.Count
				}
			}
			if first := d.Begins.From == 0 && d.Step.Epoch == 1 && d.Step.Kind.NeedsProof(); first {
				if len(d.Takes.Budgets) > 0 {
					t.Fatalf("a first start, which destroys nothing, takes of %v", d.Takes.Budgets)
				}
				continue
			}
			if dom.Budget.Steps > 0 && (used >= dom.Budget.Steps || !slices.Contains(d.Takes.Budgets, dom.Name)) {
				t.Fatalf("%s: %d of %d begun, taken from %v", dom.Name, used, dom.Budget.Steps, d.Takes.Budgets)
			}
			if v.Finding.Verdict == fleet.Healthy && dom.Budget.KeepAlive > 0 && dom.Healthy-1 < dom.Budget.KeepAlive {
				t.Fatalf("%s keeps %d alive, has %d", dom.Name, dom.Budget.KeepAlive, dom.Healthy)
			}
			if v.Finding.Verdict == fleet.Healthy && dom.Budget.KeepAlive > 0 && !slices.Contains(d.Takes.Lives, dom.Name) {
				t.Fatalf("%s must keep %d alive, and the transaction counts only %v again", dom.Name, dom.Budget.KeepAlive, d.Takes.Lives)
			}
		}
	})
}

func TestEmptyScopeGuardsNothing(t *testing.T) { // S5
	forAll(t, func(t *rapid.T, v decide.View, now time.Time, d decide.Decision) {
		guarded := v
		guarded.Guards.Windows = append(slices.Clone(v.Guards.Windows), window(""), window("site "), window("site nowhere"), window("server other"), window("server "))
		guarded.Guards.Pauses = append(slices.Clone(v.Guards.Pauses), fleet.Pause{By: "kim"}, fleet.Pause{Server: "other", By: "kim"})
		// That a window holds nobody is told, and changes nothing.
		told := cmp.FilterPath(func(p cmp.Path) bool { return p.Last().String() == ".Value" }, cmp.Comparer(func(a, b string) bool {
			return strings.HasPrefix(b, a) || strings.HasPrefix(a, b)
		}))
		if diff := cmp.Diff(d, decide.Next(guarded, now), cmpProof, told); diff != "" {
			t.Fatalf("guards of nothing change the decision:\n%s", diff)
		}
	})
}

func window(scope string) fleet.Maintenance {
	return fleet.Maintenance{ID: "mw", Scope: scope, Owner: "lee", From: noon.Add(-time.Hour), Until: noon.Add(time.Hour)}
}

func TestConsent(t *testing.T) { // S10, S11
	forAll(t, func(t *rapid.T, v decide.View, now time.Time, d decide.Decision) {
		if d.Step == nil {
			return
		}
		g := v.Guards
		if g.StoreTrouble != "" || !now.Before(g.Authority.Until) {
			t.Fatalf("%s without a lease or a store", d.Step.Kind)
		}
		if !harmful(d) {
			return
		}
		if g.Freeze != nil || slices.ContainsFunc(g.Pauses, func(p fleet.Pause) bool { return p.Server == v.Server.Name }) {
			t.Fatalf("%s while frozen or paused", d.Step.Kind)
		}
		for _, w := range g.Windows {
			if w.Covers(now) && slices.Contains(scopesOf(v), w.Scope) {
				t.Fatalf("%s in a window for %q", d.Step.Kind, w.Scope)
			}
		}
		asked := v.Request != nil || v.Status.Recovery != nil && v.Status.Recovery.Requested != ""
		if modeOf(g.Modes) == fleet.Observe && (!asked || leftover(v, d)) {
			t.Fatalf("%s in mode observe", d.Step.Kind)
		}
		if modeOf(g.Modes) == fleet.Ask && d.Begins != nil {
			approved(t, v, now, d.Begins.Rung)
		}
	})
}

// scopesOf lists the scopes that hold the server.
func scopesOf(v decide.View) []string {
	scopes := []string{"fleet", "server " + v.Server.Name}
	for _, d := range v.Around.Domains {
		scopes = append(scopes, "site "+d.Name)
	}
	return scopes
}

// modeOf is a second opinion on which mode holds: none or a nonsensical one is observe.
func modeOf(list []fleet.ModeSetting) fleet.Mode {
	mode := fleet.Mode("")
	for _, m := range list {
		switch {
		case m.Mode == "":
		case m.Mode == fleet.Auto:
			if mode == "" {
				mode = fleet.Auto
			}
		case m.Mode == fleet.Ask && mode != fleet.Observe:
			mode = fleet.Ask
		case m.Mode != fleet.Ask:
			mode = fleet.Observe
		}
	}
	if mode == "" {
		return fleet.Observe
	}
	return mode
}

func approved(t *rapid.T, v decide.View, now time.Time, rung fleet.Rung) {
	by, plan := map[string]bool{}, decide.PlanHash(v, rung)
	for _, a := range v.Guards.Approvals {
		if a.Server != v.Server.Name || a.Plan != plan || a.Epoch != v.Status.Epoch || !now.Before(a.Until) {
			continue
		}
		if a.Denied {
			t.Fatalf("%s begins though %s denied it", rung, a.By)
		}
		by[a.By] = true
	}
	need := max(v.Server.Spec.Approvals, 1)
	if v.Request != nil {
		delete(by, v.Request.By)
		if need == 1 {
			return
		}
	}
	if len(by) < need {
		t.Fatalf("%s begins with %d of %d approvals", rung, len(by), need)
	}
}

func TestPlacement(t *testing.T) { // S15
	forAll(t, func(t *rapid.T, v decide.View, _ time.Time, d decide.Decision) {
		if d.Step == nil || d.Takes.Host == "" {
			return
		}
		for _, c := range d.Candidates {
			if c.Chosen != (c.Host == d.Takes.Host) || c.Chosen && c.Refused != "" {
				t.Fatalf("%s is taken, but %+v", d.Takes.Host, c)
			}
		}
		h := hostOf(&v, d.Takes.Host)
		if h == nil || h.InContact != fleet.Yes || h.Closed != "" || h.UsedUnits+max(1, v.Server.Spec.Placement.Units) > h.Units {
			t.Fatalf("%s is no place: %+v", d.Takes.Host, h)
		}
		for _, vol := range v.Server.Spec.Identity.Volumes {
			if !slices.Contains(h.Reaches, vol.Name) {
				t.Fatalf("%s does not reach %s", h.Name, vol.Name)
			}
		}
		if v.Server.Labels != nil && len(v.Server.Spec.Placement.Apart) > 0 && slices.Contains(h.Apart, "app=lic") {
			t.Fatalf("%s runs another app=lic", h.Name)
		}
		sites := v.Server.Spec.Placement.Sites
		if len(sites) > 0 && !slices.ContainsFunc(sites, func(s string) bool { return s == h.Name || slices.Contains(h.Sites, s) }) {
			t.Fatalf("%s is in none of %v", h.Name, sites)
		}
	})
}

// cmpProof compares decisions; a Proof by what it says.
var cmpProof = cmp.Options{
	cmp.Transformer("proof", func(p fence.Proof) string { return p.String() }), cmpopts.EquateEmpty(),
}

func TestSameViewSameDecision(t *testing.T) {
	forAll(t, func(t *rapid.T, v decide.View, now time.Time, d decide.Decision) {
		before := jsonOf(v)
		again := decide.Next(v, now)
		if diff := cmp.Diff(d, again, cmpProof); diff != "" {
			t.Fatalf("the same view leads elsewhere:\n%s", diff)
		}
		if after := jsonOf(v); after != before {
			t.Fatalf("the decision changed its view:\n%s", cmp.Diff(before, after))
		}
		if d.Step == nil && d.Reason == "" {
			t.Fatal("a decision without a reason")
		}
		if d.Step != nil && d.Hold != nil {
			t.Fatalf("both a step and a hold: %s", d.Reason)
		}
	})
}

// outcome is what must not depend on the order in which things were seen.
func outcome(d decide.Decision) string {
	var parts []string
	if s := d.Step; s != nil {
		parts = append(parts, fmt.Sprint(s.Kind, s.Epoch, s.Host, s.Object, s.Via, s.Rung, s.Token, s.Pause))
	}
	if d.Hold != nil {
		parts = append(parts, d.Hold.Gate, fmt.Sprint(d.Hold.NeedsPerson), d.Hold.Plan)
	}
	parts = append(parts, fmt.Sprint(d.Takes), d.LookAgainAt.String())
	return strings.Join(parts, " ")
}

func TestOrderDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v, now := drawReached(t)
		d := decide.Next(v, now)
		v.Hosts = shuffled(t, "hosts", v.Hosts)
		v.Observed.Instances = shuffled(t, "instances", v.Observed.Instances)
		v.Observed.Volumes = shuffled(t, "volumes", v.Observed.Volumes)
		v.Status.Evidence = shuffled(t, "evidence", v.Status.Evidence)
		v.Guards.Approvals = shuffled(t, "approvals", v.Guards.Approvals)
		v.Guards.Windows = shuffled(t, "windows", v.Guards.Windows)
		v.Guards.Modes = shuffled(t, "modes", v.Guards.Modes)
		if a, b := outcome(d), outcome(decide.Next(v, now)); a != b {
			t.Fatalf("in another order:\n%s\n%s", a, b)
		}
	})
}

func shuffled[T any](t *rapid.T, label string, list []T) []T {
	if len(list) == 0 {
		return list
	}
	return rapid.Permutation(list).Draw(t, label+" shuffled")
}

func jsonOf(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(text)
}

func TestJournalKeepsEpochAndInput(t *testing.T) { // S3, S6
	forAll(t, func(t *rapid.T, v decide.View, now time.Time, d decide.Decision) {
		before := jsonOf(v.Status)
		intended := decide.Intend(v.Status, d, now)
		if jsonOf(v.Status) != before {
			t.Fatalf("Intend changed the status that it was given")
		}
		if intended.Epoch < v.Status.Epoch {
			t.Fatalf("Intend lowers epoch %d to %d", v.Status.Epoch, intended.Epoch)
		}
		if d.Step == nil {
			return
		}
		mid := jsonOf(intended)
		after := decide.Record(intended, *d.Step, drawResult(t, *d.Step, now), now)
		if jsonOf(intended) != mid {
			t.Fatalf("Record changed the status that it was given")
		}
		if after.Epoch != intended.Epoch {
			t.Fatalf("Record turns epoch %d into %d", intended.Epoch, after.Epoch)
		}
		if d.Step.Kind.NeedsProof() && intended.Epoch < d.Step.Epoch {
			t.Fatalf("epoch %d is started but not taken", d.Step.Epoch)
		}
	})
}

// TestAnythingGoes feeds recoveries that no run of the decider would leave behind,
// as a damaged or hand-edited store could: nothing may panic.
func TestAnythingGoes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := drawView(t)
		r := &fleet.Recovery{
			Rung: pick(t, "any rung", append(fleet.Rungs(), "", "nonsense")...), From: v.Status.Epoch, To: fleet.Epoch(rapid.IntRange(0, 6).Draw(t, "any to")),
			FromHost: pick(t, "any from", append(hostNames, "")...), Host: pick(t, "any host", append(hostNames, "")...), Refused: some(t, "refused", 4, func(t *rapid.T, l string) string { return pick(t, l, hostNames...) }),
		}
		v.Status.Recovery, v.Status.Phase = r, fleet.PhaseRecovering
		for range 4 {
			d := decide.Next(v, noon)
			decide.Foresee(v, noon, 8)
			v.Status = decide.Intend(v.Status, d, noon)
			if d.Step != nil {
				v.Status = decide.Record(v.Status, *d.Step, drawResult(t, *d.Step, noon), noon)
			}
		}
	})
}
