package oracle

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"relight/internal/core/event"
	"relight/internal/core/fleet"
)

// S11, consent. From what people did, in the order of the store:
//
//   - once the product has acknowledged a freeze, a pause of the server or a window
//     over it, no destructive step is announced for it until that is lifted or over
//     (a window counts for 98 % of its time, for clocks that drift); what was
//     announced before goes out within the controller's lease of the first of the stops
//     that are in force, or not at all;
//   - in mode observe (of the server, of a site above its host) no destructive step
//     is announced that no person has asked for; the end of what their wish replaced is
//     part of it, however late;
//   - in mode ask, the first step of a recovery, and the first after each climb, is
//     announced only if as many different people as the spec wants have approved for
//     the epoch that the status had just then, the requester not among them, and
//     nobody's last word is a denial; one who asked for it needs no approval by others
//     if one would be enough. Each plan that was spoken of is counted by itself, and
//     one that is approved is enough. The way back of a planned move needs no approval of
//     its own: it is part of the plan that was approved, and the server is down until then.
//
// That an approval is for this very plan is seen by the epoch and by the order only:
// the plan's hash is the product's own.

// people is what people did.
type people struct {
	frozen    bool
	paused    map[string]bool
	windows   []Act
	approvals []Act
	// unsure is what got no answer and was not seen in the store.
	unsure    []Act
	attested  map[string]map[fleet.Epoch]bool
	requester map[string]string
	// goals are where people last asked each server to be moved to.
	goals map[string]string
	// guarded is since when the fleet is frozen, by "", or a server is paused, by its name.
	guarded map[string]time.Time
}

func newPeople() people {
	return people{paused: map[string]bool{}, attested: map[string]map[fleet.Epoch]bool{}, requester: map[string]string{}, goals: map[string]string{}, guarded: map[string]time.Time{}}
}

func (p *people) attests(server string, e fleet.Epoch) bool { return p.attested[server][e] }

// act takes an act. One that lifts a guard counts even if no answer came, for it may
// have happened; one that sets a guard counts if it was acknowledged.
func (o *Oracle) act(a Act) {
	p := &o.people
	if a.Maybe && o.mayComeLate(a) {
		p.unsure = append(p.unsure, a)
		return
	}
	if a.Verb == "confirms" {
		o.confirmed(a)
	}
	if !a.Accepted {
		return
	}
	o.actIsDurable(a)
	if s := o.servers[a.Server]; s != nil && a.Epoch == 0 {
		a.Epoch = s.status.Epoch
	}
	switch a.Verb {
	case "heals", "moves":
		o.asksFor(a)
	case "unfreezes":
		p.frozen = false
	case "resumes":
		p.paused[a.Server] = false
	case "goes-on":
		o.goesOn = a.At
	case "freezes":
		if !p.frozen {
			p.guarded[""] = a.At
		}
		p.frozen = true
	case "pauses":
		if !p.paused[a.Server] {
			p.guarded[a.Server] = a.At
		}
		p.paused[a.Server] = true
	case "maintains":
		p.windows = append(p.windows, a)
	case "ends":
		p.windows = slices.DeleteFunc(p.windows, func(w Act) bool { return w.Scope == a.Scope })
	case "approves", "denies":
		a.Plan = o.planOf(a)
		p.approvals = append(p.approvals, a)
	}
}

// asksFor notes what a person wants done with a server, once the store has it.
func (o *Oracle) asksFor(a Act) {
	s := o.servers[a.Server]
	if s == nil {
		return
	}
	if wish, waits := o.wish(s); waits && wish.By == a.By && (wish.Host == a.Host || a.Host == "back") {
		s.asked = true
		o.people.requester[a.Server] = a.By
		o.people.goals[a.Server] = a.Host
	}
}

// mayComeLate reports of an act without an answer that the store does not have it yet: a
// member may hold it that comes to lead.
func (o *Oracle) mayComeLate(a Act) bool {
	needed := []string{"approves", "denies", "heals", "moves", "confirms"}
	return slices.Contains(needed, a.Verb) && !o.entered(a)
}

// heldAllAlong takes the word of a person that nobody had seen in the store until another
// member led.
func (o *Oracle) heldAllAlong(e entry) {
	p := &o.people
	n := slices.IndexFunc(p.unsure, func(a Act) bool { return a.By == e.ev.By && a.Server == e.ev.Server })
	if n < 0 {
		return
	}
	a := p.unsure[n]
	p.unsure = slices.Delete(p.unsure, n, n+1)
	a.Maybe = false
	o.act(a)
}

// planOf is the plan that the store says was spoken of last by that person.
func (o *Oracle) planOf(a Act) string {
	var last fleet.Approval
	for key, value := range o.ledger.records { // the newest: the order is all one
		if !strings.HasPrefix(key, approvalKeys) {
			continue
		}
		var one fleet.Approval
		if json.Unmarshal(value, &one) == nil && one.Server == a.Server && one.By == a.By && one.At.After(last.At) {
			last = one
		}
	}
	return last.Plan
}

// confirmed takes a person's word on the epoch that the store says was spoken of:
// also if no answer came, for it may have happened.
func (o *Oracle) confirmed(a Act) {
	l, p, now := &o.ledger, &o.people, o.w.Now()
	for n := len(l.entries) - 1; n >= 0 && !l.entries[n].at.Before(now); n-- {
		ev := l.entries[n].ev
		if ev.Kind != event.FenceAttested || ev.Server != a.Server || ev.By != a.By {
			continue
		}
		if p.attested[a.Server] == nil {
			p.attested[a.Server] = map[fleet.Epoch]bool{}
		}
		p.attested[a.Server][ev.Epoch] = true
	}
}

func (o *Oracle) actIsDurable(a Act) {
	if a.Maybe {
		return
	}
	if o.entered(a) {
		return
	}
	switch a.Verb {
	case "freezes", "pauses", "maintains", "approves", "denies", "confirms":
		o.Violate("S9", a.By, "%s was acknowledged and left no entry in the store", a.Verb)
	}
}

// entered reports that the store has taken something from that person just now: a word
// whose answer got lost, such as when the controller dies with the commit, is given all
// the same (S11).
func (o *Oracle) entered(a Act) bool {
	l, now := &o.ledger, o.w.Now()
	for n := len(l.entries) - 1; n >= 0 && !l.entries[n].at.Before(now); n-- {
		if l.entries[n].ev.By == a.By {
			return true
		}
	}
	return false
}

// guard says what a person has put before the server, or is empty.
func (o *Oracle) guard(s *server) string {
	why, _ := o.stopped(s)
	return why
}

// mayBeGuarded reports that a person has stopped what is done to the server, or that the
// store says so: one of whose word to lift it no answer came may not have been heard.
func (o *Oracle) mayBeGuarded(s *server) bool {
	_, frozen := o.ledger.records[freezeKey]
	_, paused := o.ledger.records[pauseKeys+s.name]
	return frozen || paused || o.guard(s) != ""
}

// stopped is as guard, with the time of the first of all stops that are in force.
func (o *Oracle) stopped(s *server) (why string, since time.Time) {
	p := &o.people
	holds := func(what string, at time.Time) {
		if why == "" {
			why, since = what, at
		}
		if at.Before(since) {
			since = at
		}
	}
	if p.frozen {
		holds("the fleet is frozen", p.guarded[""])
	}
	if p.paused[s.name] {
		holds("it is paused", p.guarded[s.name])
	}
	now := o.w.Now()
	for _, w := range p.windows {
		whole := w.Until.Sub(w.At)
		if now.Before(w.At.Add(whole-whole/50)) && o.inScope(s, w.Scope) {
			holds("a maintenance window is open for "+w.Scope, w.At)
		}
	}
	return why, since
}

func (o *Oracle) inScope(s *server, scope string) bool {
	if scope == "fleet" || scope == "server "+s.name {
		return true
	}
	site, ok := strings.CutPrefix(scope, "site ")
	return ok && s.status.Host != "" && s.newest != nil && s.newest.host == s.status.Host && slices.Contains(o.path(s.status.Host), site)
}

// intended looks at the announcement of a step.
func (o *Oracle) intended(s *server, e entry) {
	if !e.ev.Destructive || e.ev.Step == nil {
		return
	}
	step := e.ev.Step.Step
	if step.Kind.NeedsProof() {
		s.demand = s.spec.Spec.Fence
		if _, known := s.demanded[step.Epoch-1]; !known {
			if s.demanded == nil {
				s.demanded = map[fleet.Epoch]fleet.FenceDemand{}
			}
			s.demanded[step.Epoch-1] = s.demand
		}
	}
	if step.Kind == fleet.StepStop && plannedOf(s) != nil {
		s.stopTold = s.status.Recovery.ID
	}
	if why := o.guard(s); why != "" {
		o.Violate("S11", s.name, "%s of epoch %d is announced though %s", step.Kind, step.Epoch, why)
	}
	requested := s.asked || s.status.Recovery != nil && s.status.Recovery.Requested != ""
	if requested && step.Kind.NeedsProof() {
		s.wished = max(s.wished, step.Epoch)
	}
	switch o.mode(s) {
	case fleet.Observe:
		if !requested && step.Epoch >= s.wished {
			o.Violate("S11", s.name, "%s of epoch %d is announced in mode observe", step.Kind, step.Epoch)
		}
	case fleet.Ask:
		o.approved(s, e, step)
	default: // auto asks nobody
	}
}

// mode is the strictest of those that the spec and the sites set.
func (o *Oracle) mode(s *server) fleet.Mode {
	rank := map[fleet.Mode]int{fleet.Observe: 1, fleet.Ask: 2, fleet.Auto: 3}
	mode := s.spec.Spec.Mode
	unknown := !o.rewound.IsZero() && s.was.Host == "" // a store that was set back does not know where it runs
	if s.newest != nil && !unknown {
		for _, site := range o.path(s.newest.host) {
			if m := o.sites[site].Spec.Mode; m != "" && s.newest.host == s.status.Host && rank[m] < rank[mode] {
				mode = m
			}
		}
	}
	return mode
}

// approved counts the approvals of the first step of a try.
func (o *Oracle) approved(s *server, e entry, step fleet.Step) {
	if !o.firstOfTry(s, e) {
		return
	}
	if p := plannedOf(s); p != nil && p.Back != "" {
		return
	}
	requester := ""
	if r := s.status.Recovery; r != nil {
		requester = r.Requested
	}
	need := max(s.spec.Spec.Approvals, 1)
	if requester != "" && need == 1 {
		return
	}
	most := word{}
	for _, plan := range o.plans(s) {
		w := o.words(s, plan, requester)
		if w.given >= need && w.denied == 0 {
			return
		}
		if w.given >= most.given {
			most = w
		}
	}
	o.Violate("S11", s.name, "%s of epoch %d is announced in mode ask with %d of %d approvals for epoch %d, and %d deny it", step.Kind, step.Epoch, most.given, need, s.was.Epoch, most.denied)
}

// word is how many people approve of a plan, the requester not among them, and how
// many deny it.
type word struct{ given, denied int }

// words counts what people have said last of a plan for the server's epoch.
func (o *Oracle) words(s *server, plan, requester string) word {
	last := map[string]string{}
	for _, a := range o.people.approvals {
		if a.Server == s.name && a.Epoch == s.was.Epoch && a.Plan == plan {
			last[a.By] = a.Verb
		}
	}
	var w word
	for by, verb := range last { // sums: the order is all one
		switch {
		case verb == "denies":
			w.denied++
		case by != requester:
			w.given++
		}
	}
	return w
}

// plans are those of which anybody has spoken for the server's epoch.
func (o *Oracle) plans(s *server) []string {
	var plans []string
	for _, a := range o.people.approvals {
		if a.Server == s.name && a.Epoch == s.was.Epoch && !slices.Contains(plans, a.Plan) {
			plans = append(plans, a.Plan)
		}
	}
	return plans
}

// firstOfTry reports that the entry announces the first step since the recovery
// began or climbed. A stop of a replaced epoch is no try.
func (o *Oracle) firstOfTry(s *server, e entry) bool {
	if e.ev.Recovery == "" {
		return false
	}
	l := &o.ledger
	passed := false
	for n := len(l.entries) - 1; n >= 0; n-- {
		ev := l.entries[n].ev
		switch {
		case ev.Server != s.name:
		case !passed:
			passed = l.entries[n].raw == e.raw
		case ev.Kind == event.StepIntended && ev.Recovery == e.ev.Recovery:
			return false
		case ev.Kind == event.RecoveryBegun, ev.Kind == event.RecoveryClimbed:
			return true
		}
	}
	return true
}

// sentWithConsent holds the time between announcement and call against guards.
func (o *Oracle) sentWithConsent(c Call, s *server) {
	why, since := o.stopped(s)
	if why == "" {
		return
	}
	if limit := o.ledger.leaseFor; limit > 0 && o.w.Now().Sub(since) > limit {
		o.Violate("S11", s.name, "%s of epoch %d goes out %s after a person stopped it: %s", c.Call.Step.Kind, c.Call.Step.Epoch, o.w.Now().Sub(since), why)
	}
}
