package decide

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"relight/internal/core/fleet"
)

// gatekeeper asks the gates in their order and remembers the first that holds,
// so that why can show all of them though one is enough to stop.
type gatekeeper struct {
	v     View
	now   time.Time
	gates []Gate
	hold  *Hold
	// look is when a gate that holds is asked again; zero if somebody tells when it
	// clears.
	look time.Time
	// waits is the domain whose budget holds, for want of units.
	waits string
}

// aroundPause is how soon a gate is asked again that what is around the server
// closes: nobody tells each server of it when that changes. The passing of a storm
// is told besides, for it may concern all.
const aroundPause = 5 * time.Second

func (g *gatekeeper) pass(name, value string) {
	g.gates = append(g.gates, Gate{Name: name, Pass: true, Value: value})
}

func (g *gatekeeper) stop(gate Gate, hold Hold) {
	gate.Pass = false
	hold.Gate = gate.Name
	g.gates = append(g.gates, gate)
	if g.hold == nil {
		g.hold = &hold
	}
	if gate.Name != GateBudget { // many may wait for one unit of it: see velocity
		g.look = earliest(g.look, gate.ClearsAt)
	}
}

// authority asks whether this controller may act at all (S9, S10).
func (g *gatekeeper) authority() {
	a := g.v.Guards.Authority
	switch {
	case g.v.Guards.StoreTrouble != "":
		g.stop(Gate{Name: GateAuthority, Value: g.v.Guards.StoreTrouble},
			Hold{Reason: "the store takes no writes (" + g.v.Guards.StoreTrouble + "), so nothing destructive starts", NeedsPerson: true})
	case !g.now.Before(a.Until):
		g.stop(Gate{Name: GateAuthority, Value: fmt.Sprintf("lease of term %d has ended", a.Term)},
			Hold{Reason: "this controller's lease has ended; it starts nothing destructive until it has a new term"})
	default:
		g.pass(GateAuthority, fmt.Sprintf("term %d", a.Term))
	}
}

// freeze, pause and maintenance are people's stops; they also hold a recovery
// that is under way, before its next destructive step (S11).
func (g *gatekeeper) consent() {
	if f := g.v.Guards.Freeze; f != nil {
		g.stop(Gate{Name: GateFreeze, Value: "frozen: " + f.Reason, SetBy: f.By},
			Hold{Reason: fmt.Sprintf("the fleet is frozen by %s: %s", f.By, f.Reason), NeedsPerson: true})
	} else {
		g.pass(GateFreeze, "not frozen")
	}
	g.pause()
	g.maintenance()
}

func (g *gatekeeper) pause() {
	if r := g.v.Status.Restore; r != nil {
		g.stop(Gate{Name: GateRestore, Value: "snapshot " + r.Snapshot + " is being put back", SetBy: r.By},
			Hold{Reason: fmt.Sprintf("snapshot %s, which %s has put back, is not on all volumes yet: they may be of two moments", r.Snapshot, r.By), NeedsPerson: true})
	}
	for _, p := range g.v.Guards.Pauses {
		if p.Server == g.v.Server.Name {
			g.stop(Gate{Name: GatePause, Value: "paused: " + p.Reason, SetBy: p.By},
				Hold{Reason: fmt.Sprintf("%s paused it: %s", p.By, p.Reason), NeedsPerson: true})
			return
		}
	}
	g.pass(GatePause, "not paused")
}

func (g *gatekeeper) maintenance() {
	for _, w := range g.v.Guards.Windows {
		if w.Covers(g.now) && g.inScope(w.Scope) {
			g.stop(Gate{Name: GateMaintenance, Value: fmt.Sprintf("%s: %s", w.ID, w.Reason), SetBy: w.Owner, ClearsAt: w.Until},
				Hold{Reason: fmt.Sprintf("maintenance window %s of %s (%s) is open for %s", w.ID, w.Owner, w.Reason, w.Scope), Of: w.ID})
			return
		}
	}
	value := "no window open"
	for _, w := range g.v.Guards.Windows {
		if w.Covers(g.now) && HoldsNoHost(w.Scope, g.v.Hosts) {
			value += fmt.Sprintf("; window %s is open for %s, where no document places a host", w.ID, w.Scope)
		}
	}
	g.pass(GateMaintenance, value)
}

// HoldsNoHost reports that a scope is a site in which none of the known hosts is:
// what is set for it does nothing, and who set it believes otherwise. Where no host
// is known nobody can tell.
func HoldsNoHost(scope string, hosts []fleet.Host) bool {
	site, ok := strings.CutPrefix(scope, "site ")
	return ok && len(hosts) > 0 && !slices.ContainsFunc(hosts, func(h fleet.Host) bool {
		return h.Name == site || slices.Contains(h.Sites, site)
	})
}

// inScope reports whether the scope ("fleet", "site X", "server X") holds the
// server. An empty or unknown scope holds nothing (S5).
func (g *gatekeeper) inScope(scope string) bool {
	if scope == "fleet" || scope == "server "+g.v.Server.Name {
		return true
	}
	for _, d := range g.v.Around.Domains {
		if d.Name != "fleet" && scope == "site "+d.Name {
			return true
		}
	}
	return false
}

// Strictest returns the strictest of the modes with the scope that set it; with
// none set it is observe, the careful reading.
func Strictest(modes []fleet.ModeSetting) fleet.ModeSetting {
	rank := map[fleet.Mode]int{fleet.Observe: 0, fleet.Ask: 1, fleet.Auto: 2}
	best, found := fleet.ModeSetting{Scope: "default", Mode: fleet.Observe}, false
	for _, m := range modes {
		r, known := rank[m.Mode]
		if m.Mode == "" {
			continue
		}
		if !known {
			return fleet.ModeSetting{Scope: m.Scope, Mode: fleet.Observe, By: m.By}
		}
		if !found || r < rank[best.Mode] {
			best, found = m, true
		}
	}
	return best
}

// mode asks how far Relight may go by itself. A person's own request needs no
// further consent than mode ask would, but observe stays observe.
func (g *gatekeeper) mode(plan string, epoch fleet.Epoch) {
	m := Strictest(g.v.Guards.Modes)
	value := fmt.Sprintf("%s (set for %s)", m.Mode, m.Scope)
	switch m.Mode {
	case fleet.Auto:
		g.pass(GateMode, value)
		return
	case fleet.Ask:
		g.pass(GateMode, value)
		g.approval(plan, epoch)
		return
	default: // observe, and whatever is not known
	}
	if g.v.Request != nil {
		g.pass(GateMode, value+", but "+g.v.Request.By+" asked for it")
		return
	}
	g.stop(Gate{Name: GateMode, Value: value, SetBy: m.By},
		Hold{Reason: fmt.Sprintf("mode is observe (set for %s): I only say what I would do", m.Scope), Plan: plan, NeedsPerson: true, Of: m.Scope})
}

// approval counts different people, none of them the requester, for this very
// plan and epoch (S11).
func (g *gatekeeper) approval(plan string, epoch fleet.Epoch) {
	need := max(g.v.Server.Spec.Approvals, 1)
	var by []string
	requester, ofOther := Requester(g.v), false
	for _, a := range g.v.Guards.Approvals {
		if a.Server != g.v.Server.Name || a.Epoch != epoch || !g.now.Before(a.Until) {
			continue
		}
		if a.Plan != plan {
			ofOther = true
			continue
		}
		if a.Denied {
			g.stop(Gate{Name: GateApproval, Value: "denied: " + a.Reason, SetBy: a.By, ClearsAt: a.Until},
				Hold{Reason: fmt.Sprintf("%s denied it: %s", a.By, a.Reason), Plan: plan, NeedsPerson: true, Of: plan + " denied"})
			return
		}
		if a.By != requester && !contains(by, a.By) {
			by = append(by, a.By)
		}
	}
	if requester != "" && need == 1 {
		g.pass(GateApproval, requester+" asked for it")
		return
	}
	value := fmt.Sprintf("%d of %d", len(by), need)
	if len(by) < need {
		g.stop(Gate{Name: GateApproval, Value: value},
			Hold{Reason: fmt.Sprintf("it waits for approval: %s given", value), Plan: plan, NeedsPerson: true, Of: plan + " " + value})
		if ofOther {
			// What they approved may be due again once a host is back, and nobody tells of that.
			g.look = earliest(g.look, g.now.Add(planPause))
		}
		return
	}
	g.pass(GateApproval, value+" given")
}

// planPause is how soon a server is looked at again of which people have approved another
// plan than is due.
const planPause = 5 * time.Second

// Requester is who asked for what is to be done, or is being done, and whose approval
// counts for nothing; empty if nobody did.
func Requester(v View) string {
	switch {
	case v.Status.Recovery != nil:
		return v.Status.Recovery.Requested
	case v.Request != nil:
		return v.Request.By
	default:
		return ""
	}
}

// stormPause is how soon a server that a storm holds is looked at again, should
// nobody have told that it passed: it may be the whole fleet.
const stormPause = 30 * time.Second

// storm holds everything while more fails than one host explains (S5).
func (g *gatekeeper) storm() {
	if t := g.v.Around.Storm; t != nil {
		if g.v.Request != nil && !asksMove(g.v) {
			g.pass(GateStorm, t.Cause+", but "+g.v.Request.By+" asked for it")
			return
		}
		g.stop(Gate{Name: GateStorm, Value: t.Cause}, Hold{Reason: t.Reason, NeedsPerson: true})
		g.look = earliest(g.look, g.now.Add(stormPause))
		return
	}
	g.pass(GateStorm, "none")
}

// budget asks each domain for one unit, and whether it can spare a server that still
// runs. It returns what is taken from which.
func (g *gatekeeper) budget(takesLife bool) Takes {
	var takes Takes
	for _, d := range g.v.Around.Domains {
		if d.Budget.Steps != 0 {
			takes.Budgets = append(takes.Budgets, d.Name)
			if g.velocity(d) {
				return Takes{}
			}
		}
		if !takesLife || d.Budget.KeepAlive <= 0 {
			continue
		}
		takes.Lives = append(takes.Lives, d.Name)
		if d.Healthy <= d.Budget.KeepAlive {
			g.stop(Gate{Name: GateBudget, Value: fmt.Sprintf("%s: %d of %d healthy, keep %d", d.Name, d.Healthy, d.Total, d.Budget.KeepAlive)},
				Hold{Reason: fmt.Sprintf("it still runs, and %s must keep %d servers alive but has %d healthy", d.Name, d.Budget.KeepAlive, d.Healthy), NeedsPerson: true, Of: d.Name})
			g.look = earliest(g.look, inCrowd(g.v, lookShare, g.now, g.now.Add(aroundPause)))
			return Takes{}
		}
	}
	g.pass(GateBudget, fmt.Sprintf("%d domains allow it", len(g.v.Around.Domains)))
	return takes
}

// velocity asks one domain's cap on recoveries per window; it reports true if it holds.
func (g *gatekeeper) velocity(d fleet.Domain) bool {
	if d.Budget.Window <= 0 || d.Budget.Steps < 0 {
		// Counted within no time, nothing is ever used up: that is no budget but a
		// mistake, and must not read as "as many as you like" (S5).
		is := fmt.Sprintf("%d recoveries within %s", d.Budget.Steps, d.Budget.Window)
		g.stop(Gate{Name: GateBudget, Value: d.Name + ": " + is + " is no budget"},
			Hold{Reason: fmt.Sprintf("the budget of %s makes no sense (%s): nothing may begin until its spec is corrected", d.Name, is), NeedsPerson: true})
		return true
	}
	used, frees := Used(d.Begun, d.Budget.Window.Std(), g.now)
	left := d.Budget.Steps - used
	ahead := aheadOf(d, g.v.Server.Spec.Priority, g.now)
	if left > ahead {
		return false
	}
	value := fmt.Sprintf("%s: %d of %d recoveries begun within %s", d.Name, used, d.Budget.Steps, d.Budget.Window)
	reason := fmt.Sprintf("the budget of %s is used up: %d recoveries began within %s", d.Name, used, d.Budget.Window)
	due := frees
	switch {
	case left > 0:
		reason = fmt.Sprintf("the budget of %s has %d left, and %d servers that go first wait for it", d.Name, left, ahead)
		due = g.now.Add(aroundPause)
	case !frees.IsZero():
		reason += "; the next may begin at " + clockTime(frees)
	}
	// Those that go no later share the looks: whoever looks first takes the unit.
	turn := time.Duration(ahead+inTurn(d, g.v.Server.Spec.Priority)) * lookShare
	g.look = earliest(g.look, latest(due, g.now.Add(turn)))
	g.waits = d.Name
	g.stop(Gate{Name: GateBudget, Value: value, ClearsAt: frees}, Hold{Reason: reason, Of: d.Name})
	return true
}

// starveWindows is after how many windows of a budget a server that waits for it
// goes before those of higher priority: by then they have had that many turns (L4).
const starveWindows = 10

// aheadOf counts the servers that take a unit of the domain's budget before one of
// the given priority: those of higher priority, and those that have waited for so
// long that only their age counts, of which the oldest goes first.
func aheadOf(d fleet.Domain, priority int, now time.Time) int {
	starved := func(since time.Time) bool {
		return !since.IsZero() && now.Sub(since) >= starveWindows*d.Budget.Window.Std()
	}
	ahead := 0
	for _, w := range d.Waiting {
		switch {
		case starved(d.Waits):
			if starved(w.Since) && w.Since.Before(d.Waits) {
				ahead++
			}
		case w.Priority > priority:
			ahead += w.Servers
		case starved(w.Since):
			ahead++
		}
	}
	return ahead
}

// inTurn counts the servers of the same priority that wait for the domain's budget.
func inTurn(d fleet.Domain, priority int) int {
	for _, w := range d.Waiting {
		if w.Priority == priority {
			return w.Servers
		}
	}
	return 0
}

// Used counts the recoveries begun within the window before now, and says when
// the oldest of them leaves it. Without a window none ever does.
func Used(begun []fleet.Begun, window time.Duration, now time.Time) (n int, frees time.Time) {
	for _, b := range begun {
		if window > 0 && now.Sub(b.At) >= window {
			continue
		}
		n += b.Count
		if window <= 0 {
			continue
		}
		if leaves := b.At.Add(window); frees.IsZero() || leaves.Before(frees) {
			frees = leaves
		}
	}
	return n, frees
}

// begunGrains is into how many parts a window is cut: what begins within one of
// them is kept as one number. A unit is given back by at most that part too late.
const begunGrains = 1000

// Took returns begun with one more recovery at now, without those that have left
// the window.
func Took(begun []fleet.Begun, window time.Duration, now time.Time) []fleet.Begun {
	kept := make([]fleet.Begun, 0, len(begun)+1)
	for _, b := range begun {
		if now.Sub(b.At) < window {
			kept = append(kept, b)
		}
	}
	grain := window / begunGrains
	if n := len(kept); n > 0 && kept[n-1].At.Truncate(grain).Equal(now.Truncate(grain)) {
		last := &kept[n-1]
		last.Count++
		if now.After(last.At) {
			last.At = now
		}
		return kept
	}
	return append(kept, fleet.Begun{At: now, Count: 1})
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}
