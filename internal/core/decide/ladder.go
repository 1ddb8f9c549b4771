package decide

import (
	"fmt"
	"slices"
	"time"

	"relight/internal/core/fleet"
)

// ladderState is what the ladder says about the next rung.
type ladderState struct {
	// skipped says, for each rung that was passed over, why.
	skipped []string
	// notBefore is the end of the rung's back-off.
	notBefore time.Time
	// frees is when a rung that is used up has a try again; zero if none is.
	frees time.Time
	tries string
}

// pickRung returns the first rung after the given one ("" for the first) that
// suits the verdict, that the provider has, and that has tries left.
func pickRung(v View, now time.Time, after fleet.Rung) (fleet.Rung, ladderState) {
	var st ladderState
	if asksMove(v) {
		return v.Request.Rung, ladderState{tries: "a planned move takes no try of the ladder"}
	}
	order := fleet.Rungs()
	for _, spec := range v.Server.Spec.Ladder.Rungs {
		if after != "" && slices.Index(order, spec.Rung) <= slices.Index(order, after) {
			continue
		}
		if v.Request != nil && v.Request.Rung != "" && spec.Rung != v.Request.Rung && v.Status.Recovery == nil {
			continue
		}
		if why := unsuited(v, spec.Rung); why != "" {
			st.skipped = append(st.skipped, fmt.Sprintf("%s: %s", spec.Rung, why))
			continue
		}
		if why, due := notElsewhere(v, spec.Rung, now); why != "" {
			st.skipped = append(st.skipped, fmt.Sprintf("%s: %s", spec.Rung, why))
			st.frees = earliest(st.frees, due)
			continue
		}
		used, first, last := tried(v, spec.Rung, now)
		if used >= spec.Tries && v.Request == nil {
			st.skipped = append(st.skipped, fmt.Sprintf("%s: %d of %d tries within %s used", spec.Rung, used, spec.Tries, v.Server.Spec.Ladder.Window))
			st.frees = earliest(st.frees, first.Add(v.Server.Spec.Ladder.Window.Std()))
			continue
		}
		st.tries = fmt.Sprintf("%s, try %d of %d within %s", spec.Rung, used+1, spec.Tries, v.Server.Spec.Ladder.Window)
		if used > 0 && v.Request == nil {
			st.notBefore = last.Add(backOff(v.Server.Spec.Ladder, used))
		}
		return spec.Rung, st
	}
	return "", st
}

// unsuited says why a rung cannot help here, or is empty.
func unsuited(v View, rung fleet.Rung) string {
	if !slices.Contains(v.Traits.Rungs, rung) {
		return fmt.Sprintf("provider %s has none", v.Traits.Provider)
	}
	inPlace := inPlaceRung(rung, v.Traits)
	switch {
	case v.Status.Epoch == 0 && rung != fleet.Relaunch:
		return "it was never started"
	case v.Status.Epoch == 0:
		return ""
	case inPlace && v.Finding.Verdict == fleet.Down:
		return "the instance is gone"
	case inPlace && v.Finding.Verdict == fleet.Isolated:
		return "its host cannot be reached"
	case rung == fleet.RestartApp && contactWith(v, v.Status.Host) != fleet.Yes:
		return "its host cannot be reached"
	case rung == fleet.Recover && neverRan(v):
		return "nothing of it was ever started"
	case rung == fleet.Recover && goneForEver(v):
		return "the instance is gone for ever"
	case fencedForEver(v) && inPlace:
		return "the epoch is fenced"
	case inPlace && lacks(v) != "":
		return lacks(v)
	case rung == fleet.Move && onEC2(v):
		return staysInZone(v)
	case rung == fleet.Move:
		return stays(v)
	default:
		return ""
	}
}

// stays says why a server cannot move, or is empty.
func stays(v View) string {
	if volume := staysOnHost(v); volume != "" {
		return "volume " + volume + " never leaves its host"
	}
	return staysInSite(v)
}

// staysOnHost names a volume that no other host can use, or is empty.
func staysOnHost(v View) string {
	for _, vol := range v.Server.Spec.Identity.Volumes {
		if vol.Reach == fleet.ReachHost {
			return vol.Name
		}
	}
	return ""
}

// staysInSite says why a move could lead nowhere else, or is empty: a rung that no host
// can ever serve would hold the recovery for ever instead of asking a person, and one
// that ends in the place that failed is no move.
func staysInSite(v View) string {
	allowed := v.Server.Spec.Placement.Sites
	if !v.Traits.Places {
		// The platform chooses, within the zone of the volumes and what the spec allows.
		for _, vol := range v.Server.Spec.Identity.Volumes {
			if vol.Reach == fleet.ReachZone {
				return "volume " + vol.Name + " never leaves its zone"
			}
		}
		if len(allowed) < 2 {
			return "the spec names no other site for " + v.Traits.Provider
		}
		return ""
	}
	ran := origin(v)
	if ran == "" {
		return "it is not known to have run in any site"
	}
	from := hostByName(v.Hosts, ran)
	if from == nil || len(from.Sites) == 0 {
		return "the site of " + ran + " is not declared"
	}
	for _, h := range v.Hosts {
		if len(allowed) > 0 && preference(allowed, h) == len(allowed) {
			continue
		}
		if len(h.Sites) > 0 && h.Sites[0] != from.Sites[0] {
			return ""
		}
	}
	return "there is no other site"
}

// inPlaceRung reports whether the rung keeps the epoch.
func inPlaceRung(r fleet.Rung, t fleet.Traits) bool {
	return r == fleet.Reboot || (r == fleet.RestartApp && !t.AppIsInstance)
}

// tried counts the attempts of a rung within the ladder's window, and says when the
// first and the last of them were.
func tried(v View, rung fleet.Rung, now time.Time) (n int, first, last time.Time) {
	for _, a := range v.Status.Attempts {
		if a.Rung == rung && now.Sub(a.At) < v.Server.Spec.Ladder.Window.Std() {
			n++
			first, last = earliest(first, a.At), a.At
		}
	}
	return n, first, last
}

// backOff doubles with each attempt: BackOff, 2×, 4× …, at most MaxBackOff.
func backOff(l fleet.Ladder, used int) time.Duration {
	d := l.BackOff.Std()
	for range used - 1 {
		if d >= l.MaxBackOff.Std() {
			break
		}
		d *= 2
	}
	if l.MaxBackOff > 0 && d > l.MaxBackOff.Std() {
		d = l.MaxBackOff.Std()
	}
	return d
}

// ladder asks whether a rung is left and its back-off is over.
func (g *gatekeeper) ladder(rung fleet.Rung, st ladderState) {
	if rung == "" {
		g.stop(Gate{Name: GateLadder, Value: "no rung left", ClearsAt: st.frees},
			Hold{Reason: "no rung of the ladder is left: " + join(st.skipped), NeedsPerson: true})
		return
	}
	if g.now.Before(st.notBefore) {
		g.stop(Gate{Name: GateLadder, Value: st.tries + ", backing off", ClearsAt: st.notBefore},
			Hold{Reason: fmt.Sprintf("%s was tried lately; the next try waits for the back-off", rung)})
		return
	}
	g.pass(GateLadder, st.tries)
}

// onward says where to go from a try that failed.
type onward int

const (
	// upward: the rung did what it can; only the next one may help.
	upward onward = iota
	// elsewhere: the place failed, not the rung: the same rung on another host, at once.
	elsewhere
	// later: the same rung may work after its back-off.
	later
	// anew: neither this rung nor a later one has a place; an earlier one may.
	anew
)

// climb records that the present try failed and names the rung of the next one.
func climb(v View, now time.Time, why string, to onward) Decision {
	r := v.Status.Recovery
	if r.Planned != nil {
		return climbPlanned(v, now, why)
	}
	counted := v
	counted.Request, counted.Status = nil, abandon(clone(v.Status), now)
	free := forRoom(r)
	if !free {
		counted.Status.Attempts = append(counted.Status.Attempts, fleet.Attempt{Rung: r.Rung, At: now})
	}
	// The rung that failed may have fenced the instance; it is gone either way.
	counted.Finding.Verdict = climbVerdict(v)
	from := r.Rung
	if to == elsewhere && (r.Rung == fleet.RestartApp || r.Rung == fleet.Reboot) {
		// These have one place only; to ask it again at once would be a hot loop.
		if to = later; inReach(counted, now, r.Rung) {
			to = upward
		}
	}
	switch to {
	case upward:
	case anew:
		from = fleet.Reboot // what is before that has one place only
	default:
		from = previous(r.Rung)
	}
	next, st := pickRung(counted, now, from)
	if next == "" {
		return climbTo(v, fmt.Sprintf("%s; no rung is left: %s", why, join(st.skipped)), "", 0)
	}
	var until time.Time
	if to == later && next == r.Rung || to == anew {
		until = st.notBefore
	}
	if free && to != upward && to != elsewhere {
		until = latest(until, roomDue(v))
	}
	return climbTo(v, why, next, max(until.Sub(now), 0))
}

// climbTo records that the present try failed; the next one is of the given rung, or
// nobody's if it is empty.
func climbTo(v View, why string, next fleet.Rung, pause time.Duration) Decision {
	r := v.Status.Recovery
	step := fleet.Step{Kind: fleet.StepClimb, Server: v.Server.Name, Epoch: v.Status.Epoch, Rung: next, Why: fmt.Sprintf("%s failed: %s", r.Rung, why), Pause: fleet.Duration(pause)}
	if next == "" {
		step.Kind = fleet.StepGiveUp
	}
	step.Token = Token(step.Server, step.Epoch, step.Kind, fleet.Object{}, string(next), r.RungBegun.UTC().Format(time.RFC3339Nano))
	return Decision{Step: &step, Reason: step.Why}
}

// noPlace decides what becomes of a try for which no host is left: a later rung
// that has a place is taken up, and a host that refused a moment ago is asked
// again after the back-off. Holding would wait for ever for a host that is dead
// while another could start the server, or for room that has come back since.
func noPlace(v View, now time.Time, host string, candidates []Candidate) (Decision, bool) {
	if host != "" {
		return Decision{}, false
	}
	r := v.Status.Recovery
	why := "no host can take it: " + refusals(candidates)
	if r.Planned != nil {
		return climb(v, now, why, elsewhere), true
	}
	// A wish allows a try too many of the rung that it names. Where the next one leads is
	// asked without it, as by the climb, or that finds the rung used up and gives up.
	v.Request = nil
	for rung, _ := pickRung(v, now, r.Rung); rung != ""; rung, _ = pickRung(v, now, rung) {
		if !inPlaceRung(rung, v.Traits) && placeable(v, rung, r.Refused) {
			return climb(v, now, why, upward), true
		}
	}
	if len(r.Refused) > 0 && placeable(v, r.Rung, nil) {
		return climb(v, now, why, later), true
	}
	if rung, _ := pickRung(v, now, fleet.Reboot); rung != "" && rung != r.Rung && placeable(v, rung, nil) {
		return climb(v, now, why, anew), true
	}
	return Decision{}, false
}

// placeable reports whether a rung would find a host, those refused left out.
func placeable(v View, rung fleet.Rung, refused []string) bool {
	other := *v.Status.Recovery
	other.Rung, other.Refused = rung, refused
	v.Status.Recovery = &other
	host, _ := place(v)
	return host != ""
}

// inReach reports whether a rung after the given one is left.
func inReach(v View, now time.Time, after fleet.Rung) bool {
	next, _ := pickRung(v, now, after)
	return next != ""
}

// climbVerdict is the verdict to climb with: once a new epoch was tried, the old
// instance is dead whatever the signals about it said.
func climbVerdict(v View) fleet.Verdict {
	if v.Status.Recovery.To != 0 || fencedForEver(v) {
		return fleet.Down
	}
	return v.Finding.Verdict
}

// previous returns the rung before r, so that "after it" includes r itself.
func previous(r fleet.Rung) fleet.Rung {
	order := fleet.Rungs()
	if i := slices.Index(order, r); i > 0 {
		return order[i-1]
	}
	return ""
}

// roundEnds reports that a climb ends the round over the places, so that those which
// refused are asked again. A later rung that is taken up at once is of the same round,
// or a fleet without room would be asked host by host once for each rung (L2).
func roundEnds(r *fleet.Recovery, climb fleet.Step) bool {
	order := fleet.Rungs()
	hadRoom := r.To != 0 && !slices.Contains(r.Refused, r.Host)
	return climb.Pause > 0 || slices.Index(order, climb.Rung) < slices.Index(order, r.Rung) || r.Rung != climb.Rung && hadRoom
}

func join(list []string) string {
	if len(list) == 0 {
		return "the spec lists none"
	}
	out := list[0]
	for _, s := range list[1:] {
		out += "; " + s
	}
	return out
}
