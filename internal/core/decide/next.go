package decide

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"relight/internal/core/fleet"
)

// Next is the one decision: the next step for the server, or why nothing is
// done. It is a pure function of the view and the time.
func Next(v View, now time.Time) Decision {
	var d Decision
	v = inOrder(v)
	vain := Vain(v)
	if vain != "" {
		v.Request = nil // what nobody can do must not keep others from what is due
	}
	if v.Status.Recovery != nil {
		d = resume(v, now)
	} else {
		d = start(v, now)
	}
	if vain != "" {
		d.Reason += "; " + vain
	}
	d.LookAgainAt = earliest(d.LookAgainAt, verdictLook(v, d, now))
	return d
}

// earliest returns the earlier of two times of which a zero one is none.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// start decides whether a recovery begins.
func start(v View, now time.Time) Decision {
	if d, ok := adopt(v, now); ok {
		return guarded(v, now, d)
	}
	stop, left := leftover(v, now)
	if stop != nil {
		cleanup := guarded(v, now, *stop)
		if cleanup.Step != nil {
			return cleanup
		}
		// What holds the cleanup must not hide what is due about the server itself.
		if d := startDue(v, now); d.Step != nil || d.Hold != nil {
			return d
		}
		return cleanup
	}
	d := startDue(v, now)
	if left != nil && d.Step == nil {
		d.Reason += "; " + left.reason
		d.LookAgainAt = earliest(d.LookAgainAt, left.due)
	}
	return d
}

// startDue decides whether a recovery of the server itself begins.
func startDue(v View, now time.Time) Decision {
	if d, settled := notDue(v, now); settled {
		return d
	}
	g := &gatekeeper{v: v, now: now}
	g.authority()
	g.pass(GateVerdict, v.Finding.Verdict.String()+": "+v.Finding.Reason)
	rung, ladder := pickRung(v, now, "")
	plan := PlanHash(v, rung)
	g.known()
	g.consent()
	g.mode(plan, v.Status.Epoch)
	g.storm()
	g.order()
	// One that is down or fails its check takes no working server away; an isolated
	// one may still serve.
	var takes Takes
	if firstStart(v) {
		g.pass(GateBudget, "a first start takes none")
	} else {
		takes = g.budget(v.Finding.Verdict != fleet.Down && v.Finding.Verdict != fleet.Impaired)
	}
	g.ladder(rung, ladder)

	begun := begin(v, rung, now)
	tentative := v
	tentative.Status.Recovery = begun
	tentative.Status.Phase = fleet.PhaseRecovering
	d := unbegun(work(tentative, now))
	d.Begins = begun
	d.Takes.Budgets, d.Takes.Lives = takes.Budgets, takes.Lives
	if g.hold != nil {
		d.LookAgainAt = time.Time{} // of what has not begun: first the guards must let it
	}
	return g.close(d)
}

// unbegun holds what would end a recovery with its first step: it has done nothing, so
// nobody is told that it was given up, and a server that works stays where it is.
func unbegun(d Decision) Decision {
	if d.Step == nil || d.Step.Kind != fleet.StepGiveUp && d.Step.Kind != fleet.StepCallOff && d.Step.Kind != fleet.StepClose {
		return d
	}
	out := held(GateLadder, d.Reason, true)
	out.Candidates = d.Candidates
	return out
}

// firstStart reports that nothing of the server was ever started, as far as anybody
// knows. To start it destroys nothing, so it takes no unit of a budget of destructive
// steps, and what has worked at birth has used up no try of its ladder.
func firstStart(v View) bool {
	seen, _ := lastEpoch(v)
	return seen == 0 && Fenced(v.Status) == 0
}

// notDue handles the servers for which nothing is to be done.
func notDue(v View, now time.Time) (Decision, bool) {
	if v.Request != nil && v.Request.Rung != "" {
		return Decision{}, false
	}
	why := v.Finding.Reason
	switch v.Finding.Verdict {
	case fleet.Healthy:
		return healthy(v, now), true
	case fleet.Suspect, fleet.Unknown:
		if two := twice(v); two != "" {
			return held(GateVerdict, fmt.Sprintf("it is %s: %s; and %s", v.Finding.Verdict, why, two), true), true
		}
		if adopted(v.Status) {
			why += fmt.Sprintf("; epoch %d was adopted and waits for its own checks", v.Status.Epoch)
		}
		if epoch, _ := lastEpoch(v); v.Finding.Verdict == fleet.Unknown {
			why += inLostZone(v, now, epoch)
		}
		return undecided(v, now, fmt.Sprintf("it is %s: %s", v.Finding.Verdict, why), v.Status.VerdictSince), true
	case fleet.Isolated:
		if d, waits := isolatedWait(v, now); waits {
			return d, true
		}
	default: // down and impaired are due
		if name := deadVolume(v); name != "" {
			return held(GateVerdict, fmt.Sprintf("volume %s does not answer, and any other instance would meet the same volume, so nothing is ended: %s", name, why), true), true
		}
	}
	if v.Status.Phase == fleet.PhaseNeedsPerson && v.Request == nil {
		return held(GateLadder, v.Status.Message, true), true
	}
	return Decision{}, false
}

// healthy decides about a server that works: mostly nothing, or that it counts as healed; or
// it says what is amiss with it all the same.
func healthy(v View, now time.Time) Decision {
	why := v.Finding.Reason
	if v.Request != nil {
		return held(GateVerdict, "it is healthy; name a rung to act all the same", true)
	}
	if two := twice(v); two != "" {
		return held(GateVerdict, "it passes its own check, but "+two, true)
	}
	if adopted(v.Status) {
		return verifyAdopted(v, now)
	}
	if lack := lacks(v); lack != "" {
		return held(GateVerdict, "it passes its own check, but "+lack+", so it is not healed", true)
	}
	if fencedForEver(v) && fencedForEver(heard(v)) {
		return held(GateVerdict, fmt.Sprintf("it answers, and epoch %d is fenced for good, so it is not healed; to end it and start the next one, ask for a relaunch: %s", v.Status.Epoch, why), true)
	}
	if v.Status.Phase != fleet.PhaseRunning {
		if onlyRemembered(v, now) {
			return lookAnew(now)
		}
		return guarded(v, now, record(v, fleet.StepClose, "it works again: "+why))
	}
	if lost := cmp.Or(onlyLaterMap(v, now), unprovedMap(v, now)); lost != "" {
		return held(GateVerdict, lost+": "+why, true)
	}
	if who := contestWhy(v, now); who != "" {
		return held(GateVerdict, who+": "+why, true)
	}
	d := Decision{Reason: why}
	if v.Status.SetBack {
		d.LookAgainAt = now.Add(wholePause) // until a look is a whole one
	}
	return d
}

// deadVolume names a volume that does not answer by the platform's own word, or is
// empty. It is asked about what serves badly; what is gone for certain is started all
// the same, for the volume may be back before.
func deadVolume(v View) string {
	if v.Finding.Verdict != fleet.Impaired {
		return ""
	}
	for _, vol := range v.Observed.Volumes {
		if vol.Dead == fleet.Yes {
			return vol.Volume
		}
	}
	return ""
}

// patience is how long a server may be suspect or unknown before a person is asked
// to look: by then all sources that there are have said what they know.
func patience(v View) time.Duration {
	h := v.Server.Spec.Health
	return 5*time.Minute + h.StartupGrace.Std() + h.DownAfter.Std()
}

// undecided holds while nobody can tell how the server is, from the given time on.
// That may last for ever, so after a while it says that a person is needed (L1).
func undecided(v View, now time.Time, reason string, since time.Time) Decision {
	ends := since.Add(patience(v))
	switch {
	case v.Finding.NeedsPerson:
		return held(GateVerdict, reason, true)
	case since.IsZero() || v.Status.Recovery == nil && v.Status.Verdict != v.Finding.Verdict:
		return held(GateVerdict, reason, false) // it is so only now
	case !now.Before(ends):
		return held(GateVerdict, reason+"; it has been so for a long time, so a person is needed", true)
	default:
		d := held(GateVerdict, reason, false)
		d.LookAgainAt = ends
		return d
	}
}

// isolatedWait leaves an isolated server running until the policy's time ends.
func isolatedWait(v View, now time.Time) (Decision, bool) {
	wait := v.Server.Spec.IsolatedFor.Std()
	if v.Request != nil {
		return Decision{}, false
	}
	if wait == 0 {
		return held(GateVerdict, "it is isolated and stays running until a person decides (isolatedFor: 0s): "+v.Finding.Reason, true), true
	}
	ends := v.Finding.Since.Add(wait)
	if !now.Before(ends) {
		return Decision{}, false
	}
	d := held(GateVerdict, fmt.Sprintf("it is isolated and stays running for %s: %s", v.Server.Spec.IsolatedFor, v.Finding.Reason), false)
	d.LookAgainAt = ends
	d.Gates = []Gate{{Name: GateVerdict, Value: "isolated", ClearsAt: ends}}
	return d, true
}

func held(gate, reason string, person bool) Decision {
	return Decision{
		Hold:   &Hold{Gate: gate, Reason: reason, NeedsPerson: person},
		Gates:  []Gate{{Name: gate, Value: reason}},
		Reason: reason,
	}
}

// resume decides the next step of a recovery that runs.
func resume(v View, now time.Time) Decision {
	if d, ok := adopt(v, now); ok {
		return guarded(v, now, d)
	}
	d := work(v, now)
	if stop := neverToRun(v, now); stop != nil && d.Step == nil && d.Hold != nil {
		// What holds the cleanup must not hide what holds the recovery.
		if cleanup := guarded(v, now, *stop); cleanup.Step != nil {
			return cleanup
		}
	}
	d = guarded(v, now, d)
	if d.Step == nil && d.Hold != nil {
		d.Reason += leftRunning(v, now)
	}
	return d
}

// guarded puts the gates that also hold a recovery under way before a decision
// that was made already. Records need no consent: they only write down what is so.
func guarded(v View, now time.Time, d Decision) Decision {
	g := &gatekeeper{v: v, now: now}
	// A wish that waits is no consent to what was begun without it.
	g.v.Request = nil
	g.authority()
	if d.Step == nil || d.Step.Kind.Destructive() {
		g.consent()
		g.underWay(d.Step)
	}
	if r := v.Status.Recovery; r != nil && r.Requested == "" && !pastReturn(r) && d.Step != nil && d.Step.Kind.Destructive() {
		g.storm()
	}
	return g.close(d)
}

// underWay asks the mode of what has begun already. What a person asked for goes on in mode
// observe too, to the end of what it replaced: two copies with one address are not what
// they meant. In mode ask their wish is enough only where one approval would be.
func (g *gatekeeper) underWay(step *fleet.Step) {
	r, m := g.v.Status.Recovery, Strictest(g.v.Guards.Modes)
	replaced := r == nil && step != nil && step.Epoch < g.v.Status.AskedFor
	if r == nil || r.Requested == "" {
		if m.Mode == fleet.Observe && !replaced {
			g.mode("", g.v.Status.Epoch)
			return
		}
		g.pass(GateMode, fmt.Sprintf("%s (set for %s)", m.Mode, m.Scope))
	}
	if m.Mode == fleet.Ask && justClimbed(r) {
		g.approval(PlanHash(g.v, r.Rung), g.v.Status.Epoch)
	}
}

// justClimbed reports that the present try has done nothing yet after a climb: what
// people approved was the try before it, so they are asked again (S11). The way back of a
// planned move is part of what they approved: the server is down meanwhile.
func justClimbed(r *fleet.Recovery) bool {
	back := r != nil && r.Planned != nil && r.Planned.Back != ""
	return r != nil && !back && r.Last != nil && r.Last.Step.Kind == fleet.StepClimb
}

// close joins the gates with the decision: the first gate that holds wins, and
// the reason says what would have been done.
func (g *gatekeeper) close(d Decision) Decision {
	d.Gates = append(g.gates, d.Gates...)
	if g.hold == nil {
		return d
	}
	// Until a recovery has begun, its ladder's and proof's own holds matter less
	// than the guard that keeps it from beginning.
	would := d.Reason
	d.Waits = g.waitsAlone(d)
	d.Hold, d.Step, d.Begins, d.Takes = g.hold, nil, nil, Takes{}
	d.Reason = g.hold.Reason
	if would != "" {
		d.Reason += "; otherwise: " + would
	}
	d.LookAgainAt = earliest(d.LookAgainAt, g.look)
	return d
}

// waitsAlone returns the domain whose budget is all that keeps the step from being
// done. Who is held by anything else cannot use a unit, and must not keep one from
// others (L4).
func (g *gatekeeper) waitsAlone(d Decision) string {
	if d.Step == nil {
		return ""
	}
	for _, gate := range d.Gates {
		if !gate.Pass && gate.Name != GateBudget {
			return ""
		}
	}
	return g.waits
}

// begin makes the recovery that the first step would claim.
func begin(v View, rung fleet.Rung, now time.Time) *fleet.Recovery {
	r := &fleet.Recovery{
		ID:   fmt.Sprintf("%s.%d.%d", v.Server.Name, v.Status.Epoch, now.UnixMilli()),
		Rung: rung, From: v.Status.Epoch, FromHost: v.Status.Host, Ran: origin(v),
		Cause: v.Finding.Reason, Verdict: v.Finding.Verdict, Begun: now, DownSince: v.Finding.Since, RungBegun: now,
		Incident: v.Status.Incident,
	}
	if v.Request != nil {
		r.Requested, r.ToSite = v.Request.By, v.Request.To
		r.Cause = fmt.Sprintf("%s asked for %s: %s", v.Request.By, rung, v.Request.Reason)
		if asksMove(v) {
			r.Planned = &fleet.Planned{To: v.Request.Host, Home: v.Status.Host, CameFrom: v.Status.CameFrom, Snapshot: v.Request.Snapshot}
			r.Cause = fmt.Sprintf("%s asked for a move to %s%s: %s", v.Request.By, v.Request.Host, v.Request.With(), v.Request.Reason)
		}
	}
	return r
}

// staleAfter is the age from which an observed instance is no reason to act. What a
// long sweep saw is good for longer: each step begins with a look of its own, and where
// that fails the controller leaves it no room.
func staleAfter(v View) time.Duration { return 10*time.Second + v.Observed.Room() }

func contactWith(v View, host string) fleet.Answer {
	if len(v.Hosts) == 0 || !v.Traits.Places {
		return fleet.Yes // the provider itself reaches its instances
	}
	for _, h := range v.Hosts {
		if h.Name == host {
			return h.InContact
		}
	}
	return fleet.CannotTell
}

// Token is the idempotency token of a step (S7): the same step of the same try
// always has the same one. It fits EC2's 64 characters.
func Token(server string, epoch fleet.Epoch, kind fleet.StepKind, o fleet.Object, host, try string) string {
	parts := []string{server, strconv.FormatUint(uint64(epoch), 10), string(kind), o.Volume, o.Address, host, try}
	if other := o.Interface + o.Group + o.Name + o.Snapshot; other != "" {
		parts = append(parts, o.String())
	}
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return "rl-" + hex.EncodeToString(sum[:16])
}

// PlanHash names exactly what an approval is for.
func PlanHash(v View, rung fleet.Rung) string {
	to := lossPlan(v, rung)
	if v.Request != nil {
		to += v.Request.To + v.Request.By + v.Request.Host + v.Request.With()
	}
	sum := sha256.Sum256([]byte(strings.Join([]string{v.Server.Name, strconv.FormatUint(uint64(v.Status.Epoch), 10), string(rung), to}, "\x00")))
	return hex.EncodeToString(sum[:6])
}
