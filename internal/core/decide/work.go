package decide

import (
	"fmt"
	"slices"
	"time"

	"relight/internal/core/fence"
	"relight/internal/core/fleet"
)

// Limits of one try. They bound how long a rung can hang on one step.
const (
	// callWithin is how long a call may take before its outcome is unknown.
	callWithin = 20 * time.Second
	// stepTries is how often one step is replayed before the rung counts as failed.
	stepTries = 5
	// firstPause is the wait before a failed step is replayed; it doubles.
	firstPause = 200 * time.Millisecond
	// fencePause is the least wait before a source of proof is asked once more, and
	// how soon it is seen that one has come within reach.
	fencePause = time.Second
	// progressPause is how soon an effect under way is looked at again.
	progressPause = time.Second
	// wholePause is how soon it is asked again whether a look has seen the whole, after the
	// store was set back.
	wholePause = 10 * time.Second
)

// work decides the next step of the recovery in the view, guards aside.
func work(v View, now time.Time) Decision {
	r := v.Status.Recovery
	if d, off := callOff(v); off {
		return d
	}
	if cameBack(v) {
		if two := twice(v); two != "" {
			return held(GateVerdict, "it works again, but "+two, true)
		}
		if onlyRemembered(v, now) {
			return pending("it worked when it was seen last; it is looked at anew before anything is done", now.Add(progressPause))
		}
		how := "it came back by itself: "
		if r.Last != nil && r.Last.State == fleet.StepIntended {
			how = fmt.Sprintf("it works, and nobody heard what became of %s: ", r.Last.Step.Kind)
		}
		return record(v, fleet.StepClose, how+v.Finding.Reason)
	}
	if stop := inTheWay(v, now); stop != nil {
		return *stop
	}
	if now.Before(r.NotBefore) && r.Lack != nil {
		return waitsForRoom(v, now, r.NotBefore)
	}
	if now.Before(r.NotBefore) {
		return pending(fmt.Sprintf("the next try of %s waits for its back-off", r.Rung), r.NotBefore)
	}
	switch {
	case r.Rung == "":
		return Decision{Reason: "no rung is left"}
	case inPlaceRung(r.Rung, v.Traits):
		return workInPlace(v, now)
	case r.To == 0:
		return workFence(v, now)
	default:
		return workBuild(v, now)
	}
}

// cameBack reports that the old epoch is healthy again before anything was done
// to it, or that a try which was given up works at last. Once fenced it stays fenced,
// whatever it says.
func cameBack(v View) bool {
	r := v.Status.Recovery
	if v.Finding.Verdict != fleet.Healthy || r.Requested != "" || r.To != 0 || fencedForEver(v) || shutting(v) || lacks(v) != "" {
		return false
	}
	if pastReturn(r) && !seenAfter(v, lastEffect(v).Add(settles(v))) {
		return false // a yes of before the last call is no answer to it (S14)
	}
	return r.Last == nil || (r.Last.State != fleet.StepIntended || soonSeen(r.Last.Step)) && len(r.Done) == 0
}

// settles is how long after a call whose answer is lost a yes may still be one of before its
// effect: a platform takes its time to stop a machine that answers meanwhile.
func settles(v View) time.Duration {
	last := v.Status.Recovery.Last
	if v.Traits.Places || last == nil || last.State != fleet.StepIntended || last.Step.Kind != fleet.StepStop {
		return 0
	}
	return cloudEnds
}

// soonSeen reports of a step whose answer is lost that its effect shows at once. If the
// server is seen to work after it, it has had none, or has done what it was for: to repeat
// it, or to go on, would only end what works (S4).
func soonSeen(step fleet.Step) bool {
	switch step.Kind {
	case fleet.StepStop, fleet.StepPowerOff:
		return true
	case fleet.StepSeal:
		return step.Via != ""
	default:
		return mendsInPlace(step.Kind)
	}
}

// mendsInPlace reports that the step leaves the instance where it is.
func mendsInPlace(k fleet.StepKind) bool { return k == fleet.StepRestartApp || k == fleet.StepReboot }

// shutting reports that an array was told to shut the present epoch out, and may have
// begun to: what is half out of its disks loses them at the next fault of its path.
func shutting(v View) bool {
	r := v.Status.Recovery
	if slices.ContainsFunc(r.Fences, func(t fleet.FenceTry) bool { return t.Shut && t.Epoch == v.Status.Epoch }) {
		return true
	}
	return r.Last != nil && r.Last.State == fleet.StepIntended && shuts(r.Last.Step)
}

// lastEffect is when the recovery last did something to the server, or may have.
func lastEffect(v View) time.Time {
	at := latest(v.Status.LaunchedAt, v.Status.Recovery.ActedAt)
	for _, m := range v.Status.Recovery.Marks {
		at = latest(at, latest(m.Begun, m.Ended))
	}
	return at
}

// fencedForEver reports that final evidence exists about the current epoch.
func fencedForEver(v View) bool {
	for _, e := range v.Status.Evidence {
		if e.Epoch == v.Status.Epoch && e.Method.Final() && v.Status.Epoch != 0 {
			return true
		}
	}
	return false
}

func record(v View, kind fleet.StepKind, why string) Decision {
	if kind == fleet.StepClose {
		why = withLoss(why, v.Status.Recovery)
	}
	step := fleet.Step{Kind: kind, Server: v.Server.Name, Epoch: v.Status.Epoch, Host: v.Status.Host, Why: why}
	try := ""
	if r := v.Status.Recovery; r != nil {
		step.Rung, try = r.Rung, tryKey(r)
	}
	step.Token = Token(step.Server, step.Epoch, kind, fleet.Object{}, step.Host, try)
	return Decision{Step: &step, Reason: why}
}

// tryKey distinguishes the tries of a recovery, so that a second restart of the
// same epoch is not mistaken for a replay of the first.
func tryKey(r *fleet.Recovery) string {
	return r.ID + "/" + r.RungBegun.UTC().Format(time.RFC3339Nano)
}

// workInPlace restarts the application or resets the instance; its epoch stays.
func workInPlace(v View, now time.Time) Decision {
	r := v.Status.Recovery
	kind, why := fleet.StepReboot, "reset the instance in place"
	if r.Rung == fleet.RestartApp {
		kind, why = fleet.StepRestartApp, "restart the application where it runs"
	}
	if v.Finding.Verdict == fleet.Down {
		return climb(v, now, "the instance is gone: "+v.Finding.Reason, upward)
	}
	if lack := lacks(v); lack != "" {
		return climb(v, now, lack, upward)
	}
	if two := twice(v); two != "" && r.Requested != "" {
		return held(GateVerdict, two, true)
	} else if two != "" {
		return climb(v, now, two, upward)
	}
	step := newStep(v, kind, v.Status.Epoch, v.Status.Host, fleet.Object{}, why)
	if d, waiting := replay(v, now, step); waiting {
		return d
	}
	return verify(v, now)
}

func newStep(v View, kind fleet.StepKind, epoch fleet.Epoch, host string, o fleet.Object, why string) fleet.Step {
	r := v.Status.Recovery
	return fleet.Step{
		Kind: kind, Server: v.Server.Name, Epoch: epoch, Host: host, Object: o, Rung: r.Rung, Why: why,
		Within: fleet.Duration(callWithin),
		Token:  Token(v.Server.Name, epoch, kind, o, host, tryKey(r)),
	}
}

// The error classes as the journal holds them; package provider gives them.
const (
	classRetry     = "retry"
	classCapacity  = "capacity"
	classQuota     = "quota"
	classConflict  = "conflict"
	classRefused   = "refused"
	classPermanent = "permanent"
)

// afterClass says where a step that failed for good sends the recovery.
func afterClass(class string) onward {
	switch class {
	case classCapacity, classQuota, classRefused, classConflict:
		return elsewhere
	case classPermanent:
		return upward
	default:
		return later
	}
}

// final reports whether a class makes a replay pointless.
func final(class string) bool {
	return class == classCapacity || class == classQuota || class == classRefused || class == classPermanent
}

func done(r *fleet.Recovery, token string) bool {
	for _, t := range r.Done {
		if t == token {
			return true
		}
	}
	return false
}

func pending(reason string, at time.Time) Decision {
	d := held(GateProgress, reason, false)
	d.LookAgainAt = at
	return d
}

// workBuild gives the new epoch its volumes and addresses and starts it.
func workBuild(v View, now time.Time) Decision {
	r := v.Status.Recovery
	if seen, _ := lastEpoch(v); seen > r.To {
		// The store was restored from a backup made in the middle of a recovery: what
		// came after it must be proved dead, and its epochs are used up (S3).
		return climb(v, now, fmt.Sprintf("epoch %d was seen, which is later than %d", seen, r.To), elsewhere)
	}
	if contactWith(v, r.Host) == fleet.No {
		return hostFellSilent(v, now)
	}
	if gone(v, r.To) {
		return climb(v, now, fmt.Sprintf("epoch %d ended before it was verified", r.To), later)
	}
	proof, missing := fence.Prove(v.Server, r.From, r.FromHost, evidenceFor(v, r.From), now)
	steps := buildSteps(v)
	for n, step := range steps {
		if seenDone(v, step) {
			continue
		}
		d, waiting := release(v, now, step)
		if !waiting {
			d, waiting = replay(v, now, step)
		}
		if !waiting && step.Kind != fleet.StepAttach {
			d, waiting = booting(v, now, steps[n+1:])
		}
		if !waiting {
			continue
		}
		if r.SetBack && d.Step != nil && d.Step.Kind.NeedsProof() {
			return climb(v, now, fmt.Sprintf("the store was set back while epoch %d was made, and nobody knows what became of that since", r.To), elsewhere)
		}
		if d.Step != nil && (d.Step.Kind.NeedsProof() || d.Step.Force) && len(missing) > 0 {
			// Perishable evidence has aged: look, and fence again if need be.
			return nextFence(v, now, r.From, r.FromHost, missing)
		}
		if d.Step != nil && d.Step.Kind.NeedsProof() {
			if first, runs := beside(v, now, proof, step); runs {
				return first
			}
		}
		d.Proof = proof
		if d.Step != nil {
			d.Written = written(v, *d.Step)
		}
		return d
	}
	return verify(v, now)
}

// hostFellSilent looks elsewhere once the verdict says that the new epoch is dead or
// cut off. The silence alone is one vantage point's word: after a stall of its own
// the controller would end an instance that works (S4).
func hostFellSilent(v View, now time.Time) Decision {
	r := v.Status.Recovery
	silent := "its new host " + r.Host + " fell silent"
	switch v.Finding.Verdict {
	case fleet.Down, fleet.Isolated:
		return climb(v, now, silent, elsewhere)
	default:
		due := verifyDue(v)
		if now.Before(due) {
			return pending(silent+", and nobody else says that the new epoch is dead: "+v.Finding.Reason, due)
		}
		return undecided(v, now, silent+", and nobody can tell whether the new epoch is dead: "+v.Finding.Reason, due)
	}
}

// buildSteps lists what makes the new epoch, in the provider's order.
func buildSteps(v View) []fleet.Step {
	r := v.Status.Recovery
	var attach []fleet.Step
	for _, o := range identityOf(v.Server) {
		step := newStep(v, fleet.StepAttach, r.To, r.Host, o, fmt.Sprintf("give %s to epoch %d", o, r.To))
		attach = append(attach, withFresh(v, withLUNs(v, step)))
	}
	kind := fleet.StepLaunch
	if r.Rung == fleet.Recover {
		kind = fleet.StepRecover
	}
	where := r.Host
	if where == "" {
		where = "the provider's choice"
	}
	why := fmt.Sprintf("start epoch %d on %s", r.To, where)
	if a := v.Status.Away; a != nil && a.Epoch == r.To {
		why += " " + a.Loss()
	}
	start := newStep(v, kind, r.To, r.Host, fleet.Object{}, why)
	if v.Traits.AttachFirst {
		return append(attach, start)
	}
	return append([]fleet.Step{start}, attach...)
}

// seenDone reports that the observation already shows the step's effect.
func seenDone(v View, s fleet.Step) bool {
	switch {
	case s.Object != fleet.Object{}:
		return holds(v, s.Object, s.Epoch) && !olderListed(v, s)
	default:
		for _, i := range v.Observed.Instances {
			if i.Epoch == s.Epoch && i.State == fleet.InstanceRunning {
				return true
			}
		}
	}
	return false
}

// olderListed reports that the array of the step's volume lists an epoch before the step's.
// A map that a person made by hand says nothing of those: only our own attach sees to it
// first that nothing of theirs is inside any more (S2).
func olderListed(v View, s fleet.Step) bool {
	if !volumeOf(v.Server, s.Object.Volume).OnArray() {
		return false
	}
	return slices.ContainsFunc(v.Observed.Volumes, func(o fleet.VolumeState) bool {
		return o.Volume == s.Object.Volume && o.Held == fleet.Yes && o.Epoch != 0 && o.Epoch < s.Epoch
	})
}

func gone(v View, epoch fleet.Epoch) bool {
	for _, i := range v.Observed.Instances {
		if i.Epoch == epoch && i.State.Gone() && !v.Observed.Outlived(i) {
			return true
		}
	}
	return false
}

// verifyFrom is from when on a yes counts for the present rung: its last effect, or
// its begin while it had none.
func verifyFrom(v View) time.Time {
	return latest(v.Status.Recovery.EffectAt, v.Status.Recovery.RungBegun)
}

// verifyDue is until when the new epoch may take to be verified.
func verifyDue(v View) time.Time {
	return verifyFrom(v).Add(v.Server.Spec.Ladder.VerifyWithin.Std())
}

// verify waits for the server's own checks at the present epoch (S14).
func verify(v View, now time.Time) Decision {
	if two := twice(v); two != "" && v.Finding.Verdict == fleet.Healthy {
		return held(GateVerdict, "it passes its own check, but "+two, true)
	}
	r := v.Status.Recovery
	if d, is := answeredElsewhere(v, now); is {
		return d
	}
	seen, due := seenAfter(v, verifyFrom(v)), verifyDue(v)
	if v.Finding.Verdict == fleet.Healthy && onlyRemembered(v, now) && (seen || !now.Before(due)) {
		return lookAnew(now)
	}
	if v.Finding.Verdict == fleet.Healthy && seen {
		return record(v, fleet.StepClose, fmt.Sprintf("epoch %d is verified: %s", v.Status.Epoch, v.Finding.Reason))
	}
	if !now.Before(due) && unseen(v, now) {
		// Nobody has seen whether it works: that is no reason to end it (S4).
		return undecided(v, now, "it waits for the server's own checks, of which nobody can tell: "+v.Finding.Reason, due)
	}
	if !now.Before(due) {
		to := upward
		if f := v.Finding.Verdict; (f == fleet.Down || f == fleet.Impaired) && !inReach(v, now, r.Rung) {
			to = later // nothing harsher is left, and a boot that hung may not hang again
		}
		return climb(v, now, fmt.Sprintf("it was not verified within %s: %s", v.Server.Spec.Ladder.VerifyWithin, v.Finding.Reason), to)
	}
	return pending("it waits for the server's own checks: "+v.Finding.Reason, due)
}

// unseen reports that no look of late shows the epoch and no source speaks against it. That
// its own beat is not heard is no word: a look that finds nothing at all, such as one that a
// platform answers before it knows of the new instance, and one silence are no failed
// check, and a word that it lives even less (S4). Nor is what a look showed before the
// controller was cut off, and stood still.
func unseen(v View, now time.Time) bool {
	against := func(s fleet.Signal) bool { return s.Answer == fleet.No && s.Source.Channel != fleet.ChannelBeat }
	shown := func(i fleet.Instance) bool { return i.Epoch == v.Status.Epoch && now.Sub(i.At) <= staleAfter(v) }
	f := v.Finding
	return f.Verdict == fleet.Unknown ||
		f.Verdict == fleet.Suspect && !slices.ContainsFunc(f.Evidence, against) && !slices.ContainsFunc(v.Observed.Instances, shown)
}

// onlyRemembered reports that the server passes for healthy by what was seen of it
// before the controller itself stood still: nothing may be done to it for that, and it
// may not be called healed for that either (S14).
func onlyRemembered(v View, now time.Time) bool {
	asked, old := checked(v), false
	for _, s := range v.Finding.Evidence {
		if s.Question != asked || s.Answer != fleet.Yes {
			continue
		}
		if now.Sub(s.At) <= v.Server.Spec.Health.SuspectAfter.Std() {
			return false
		}
		old = true
	}
	return old
}

func lookAnew(now time.Time) Decision {
	return pending("it worked when it was seen last; it is looked at anew before it counts as healed", now.Add(progressPause))
}

// checked is what a healthy server must answer with yes.
func checked(v View) fleet.Question {
	if v.Server.Spec.Health.Check.IsZero() {
		return fleet.Alive
	}
	return fleet.Works
}

// seenAfter asks for an observation of this very epoch that is younger than the
// last effect: the yes of a moment before says nothing about what was done since,
// and a probe from afar may have met the old instance.
func seenAfter(v View, since time.Time) bool {
	asked := checked(v)
	for _, s := range v.Finding.Evidence {
		if s.Question == asked && s.Epoch == v.Status.Epoch && s.At.After(since) && s.Answer == fleet.Yes {
			return true
		}
	}
	return false
}
