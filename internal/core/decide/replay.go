package decide

import (
	"fmt"
	"slices"
	"time"

	"relight/internal/core/fleet"
)

const (
	// attachWithin is how long an attach is asked for again that something is in the
	// way of: it outlasts the lease of a file server's lock, and what a platform takes
	// for a detach.
	attachWithin = 2 * time.Minute
	// placesAtOnce is how many hosts may refuse a server with no wait between. After
	// that it is hardly a matter of the host, and a large fleet that has no room must
	// not be gone through as fast as it can answer (L2).
	placesAtOnce = 4
	// placePause is the wait before each of the others is asked.
	placePause = 5 * time.Second
	// attachPause is the longest wait between two of these calls.
	attachPause = 5 * time.Second
)

// replay brings a step to its end: it returns the decision to do or wait, and
// false once the step is done. An intent without an outcome (a controller died)
// and an unknown outcome (a reply was lost) are both answered by the identical
// call, which leaves one effect (S7).
func replay(v View, now time.Time, step fleet.Step) (Decision, bool) {
	r := v.Status.Recovery
	if done(r, step.Token) {
		return Decision{}, false
	}
	last := lastCall(r, step.Token)
	if last == nil || last.State == fleet.StepIntended {
		return Decision{Step: &step, Reason: step.Why}, true
	}
	if due := nextPlaceDue(r, last); now.Before(due) {
		return pending(fmt.Sprintf("%d hosts refused one after the other, at last: %s; it goes on at %s", len(r.Refused), last.Error, clockTime(due)), due), true
	}
	if step.Create && waitsForLUN(last) {
		return awaitLUN(v, now, step, last), true
	}
	if lacksRoom(last) {
		return noRoom(v, now, step, last), true
	}
	if passes(v, last) && now.Before(last.Since.Add(attachWithin)) {
		due := last.Ended.Add(min(callPause(last.Tries), attachPause))
		if now.Before(due) {
			return pending(fmt.Sprintf("%s waits until %s: %s", step.Why, clockTime(last.Since.Add(attachWithin)), last.Error), due), true
		}
		return Decision{Step: &step, Reason: step.Why}, true
	}
	// What may have happened all the same is settled by the same call alone,
	// whatever kind of error came instead of the reply.
	if last.Tries >= stepTries || (last.State == fleet.StepFailed && final(last.Class)) {
		return climb(v, now, fmt.Sprintf("%s failed %s: %s", step.Kind, times(last.Tries), last.Error), afterClass(last.Class)), true
	}
	due := last.Ended.Add(callPause(last.Tries))
	if now.Before(due) {
		return pending(fmt.Sprintf("%s failed (%s); it is tried again at once", step.Kind, last.Error), due), true
	}
	return Decision{Step: &step, Reason: step.Why}, true
}

// callPause is the wait before a step that failed so often is replayed.
func callPause(tries int) time.Duration { return firstPause << min(max(tries-1, 0), 16) }

// passes reports that what is in the way of an attach passes by itself: the epoch
// before is proved dead, and who still names it as the holder forgets it (a lock's
// lease, a detach under way). Another place would meet the same. Where a machine runs
// before it is given anything, giving up a call that was throttled would end it.
func passes(v View, last *fleet.StepRecord) bool {
	switch {
	case last.Step.Kind != fleet.StepAttach:
		return false
	case last.State == fleet.StepFailed && last.Class == classConflict:
		return true
	default:
		return !v.Traits.AttachFirst && (last.State == fleet.StepUnknown || last.Class == classRetry)
	}
}

// lacksRoom reports that a call was refused for want of room, there or in the account.
func lacksRoom(last *fleet.StepRecord) bool {
	return last != nil && last.State == fleet.StepFailed && (last.Class == classCapacity || last.Class == classQuota) && last.Step.Kind.NeedsProof()
}

// nextPlaceDue is when a refusal may be followed by the next host, zero for at once.
func nextPlaceDue(r *fleet.Recovery, last *fleet.StepRecord) time.Time {
	if last.State != fleet.StepFailed || len(r.Refused) < placesAtOnce || r.Refused[len(r.Refused)-1] != last.Step.Host {
		return time.Time{}
	}
	return last.Ended.Add(placePause)
}

// noRoom decides what becomes of a step for which there was no room. It is no fault of
// the rung: other places and later rungs come first, and then it is asked again with
// longer and longer pauses for as long as the server is down, for room returns.
func noRoom(v View, now time.Time, step fleet.Step, last *fleet.StepRecord) Decision {
	why := fmt.Sprintf("there is no room (%s)", last.Error)
	if v.Status.Recovery.Planned != nil {
		return climb(v, now, why, elsewhere)
	}
	after := v
	after.Request, after.Finding.Verdict, after.Status = nil, climbVerdict(v), abandon(clone(v.Status), now)
	r := after.Status.Recovery
	if v.Traits.Places && placeable(after, r.Rung, r.Refused) {
		return climb(v, now, why, elsewhere)
	}
	if last.Class != classQuota && anotherZone(after, now) {
		return climb(v, now, why, elsewhere)
	}
	for rung, _ := pickRung(after, now, r.Rung); rung != ""; rung, _ = pickRung(after, now, rung) {
		if leavesUnasked(v, now, rung, last) {
			return Decision{Step: &step, Reason: step.Why}
		}
		if !v.Traits.Places || placeable(after, rung, r.Refused) {
			return climbTo(v, why, rung, 0)
		}
	}
	if first, _ := pickRung(after, now, fleet.Reboot); first != "" && first != r.Rung || len(r.Refused) > 1 {
		return climb(v, now, why, anew)
	}
	if due := roomDue(v); now.Before(due) {
		return waitsForRoom(v, now, due)
	}
	return Decision{Step: &step, Reason: step.Why}
}

// askedLately is how old the refusal of a zone may be on which it is left.
const askedLately = 30 * time.Second

// leavesUnasked reports that a server would leave its zone on a refusal of a while ago:
// room may have come back since, and the data with it, so that it is asked once more.
func leavesUnasked(v View, now time.Time, rung fleet.Rung, last *fleet.StepRecord) bool {
	return onEC2(v) && rung == fleet.Move && lostZone(v) == nil && now.Sub(last.Ended) > askedLately
}

// roomDue is when a place that had no room is asked again; zero if all had.
func roomDue(v View) time.Time {
	lack := v.Status.Recovery.Lack
	if lack == nil {
		return time.Time{}
	}
	return lack.At.Add(max(backOff(v.Server.Spec.Ladder, lack.Rounds), progressPause))
}

// waitsForRoom holds a recovery until it asks for room again. After as long as the
// ladder looks back a person is asked, who can make room; it is tried on all the same.
func waitsForRoom(v View, now, due time.Time) Decision {
	r := v.Status.Recovery
	ends := r.Lack.Since.Add(v.Server.Spec.Ladder.Window.Std())
	reason := fmt.Sprintf("there is no room since %s: refused %s, at last: %s; %s is tried again at %s", clockTime(r.Lack.Since), times(r.Lack.Refusals), r.Lack.Error, r.Rung, clockTime(due))
	if why := whyNotElsewhere(v, now); why != "" {
		reason += "; move: " + why
	} else if next, st := pickRung(v, now, fleet.Relaunch); onEC2(v) && next == "" && len(st.skipped) > 0 {
		reason += "; " + join(st.skipped)
	}
	d := held(GatePlacement, reason, !now.Before(ends))
	d.Gates[0].ClearsAt = due
	d.LookAgainAt = due
	if now.Before(ends) {
		d.LookAgainAt = earliest(due, ends)
	}
	return d
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

// noteRoom records whether there was room for the new epoch.
func noteRoom(r *fleet.Recovery, rec fleet.StepRecord, now time.Time) {
	switch {
	case lacksRoom(&rec):
		lack := fleet.Lack{Since: now}
		if r.Lack != nil {
			lack = *r.Lack
		}
		lack.Refusals, lack.At, lack.Error, lack.Quota = lack.Refusals+1, now, rec.Error, rec.Class == classQuota
		noteRound(&lack, string(rec.Step.Rung)+" "+rec.Step.Host)
		r.Lack = &lack
	case rec.State == fleet.StepDone && (rec.Step.Kind == fleet.StepLaunch || rec.Step.Kind == fleet.StepRecover):
		r.Lack = nil
	}
}

// noteRound counts a place that had no room. A place that refuses once more begins the
// next round: many small hosts are no reason to wait longer for any of them.
func noteRound(lack *fleet.Lack, place string) {
	if lack.Rounds == 0 || slices.Contains(lack.Asked, place) {
		lack.Rounds, lack.Asked = lack.Rounds+1, nil
	}
	lack.Asked = append(slices.Clone(lack.Asked), place)
}

// forRoom reports that the present try ends for want of room alone, so that it uses up
// nothing of its rung. A proof may have been read back since the refusal.
func forRoom(r *fleet.Recovery) bool {
	if r.Lack == nil || r.To == 0 {
		return false
	}
	if r.Last != nil && r.Last.Step.Kind.NeedsProof() {
		return lacksRoom(r.Last)
	}
	for i := len(r.Failed) - 1; i >= 0; i-- {
		if r.Failed[i].Step.Kind.NeedsProof() {
			return lacksRoom(&r.Failed[i])
		}
	}
	return false
}

// booting holds the attaches until the machine that was started is seen running: no
// platform gives anything to one that boots. Its time is that of the verification.
func booting(v View, now time.Time, rest []fleet.Step) (Decision, bool) {
	r := v.Status.Recovery
	given := func(s fleet.Step) bool { return done(r, s.Token) || lastCall(r, s.Token) != nil || seenDone(v, s) }
	if v.Traits.AttachFirst || !slices.ContainsFunc(rest, func(s fleet.Step) bool { return !given(s) }) {
		return Decision{}, false
	}
	within := v.Server.Spec.Ladder.VerifyWithin
	due := verifyDue(v)
	waits := fmt.Sprintf("it waits until epoch %d is seen running", r.To)
	switch {
	case now.Before(due):
		return pending(waits, due), true
	case v.Finding.Verdict == fleet.Unknown || !v.Observed.Complete || now.Sub(v.Observed.At) > staleAfter(v):
		// Nobody has seen of late whether it runs: that is no reason to end it (S4).
		return undecided(v, now, waits+", of which nobody can tell", due), true
	default:
		return climb(v, now, fmt.Sprintf("epoch %d was not seen running within %s", r.To, within), later), true
	}
}
