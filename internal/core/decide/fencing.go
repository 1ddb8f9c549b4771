package decide

import (
	"fmt"
	"slices"
	"time"

	"relight/internal/core/fence"
	"relight/internal/core/fleet"
)

// workFence proves the old epoch dead and then takes the next one.
func workFence(v View, now time.Time) Decision {
	r := v.Status.Recovery
	epoch, host := lastEpoch(v)
	if epoch == 0 {
		epoch = Fenced(v.Status)
	}
	proof, missing := fence.Prove(v.Server, epoch, host, evidenceFor(v, epoch), now)
	if len(missing) > 0 {
		return workProof(v, now, epoch, host, missing)
	}
	if d, onward := notYet(v, now, epoch, host, proof); onward {
		return d
	}
	if d, waits := unsureOfLast(v, now); waits {
		return d
	}
	proof = skip(v, passOver(v, proof, host, now), host, now)
	next := v
	taken := *r
	next.Status.Recovery = &taken
	var candidates []Candidate
	if v.Traits.Places {
		taken.Host, candidates = place(v)
		if d, onward := noPlace(v, now, taken.Host, candidates); onward {
			d.Candidates = candidates
			return d
		}
		if taken.Host == "" {
			return homeless(v, now, candidates)
		}
		if d, waits := yields(v, now, candidates); waits {
			d.Proof = proof
			return d
		}
	}
	if d, waits := snapshots(v, now, epoch, host); waits {
		d.Proof, d.Candidates = proof, candidates
		return d
	}
	next.Status.Away = awayOf(v)
	if onEC2(v) && r.Rung == fleet.Move {
		to, why := otherZone(v, now, proof.Epoch()+1)
		if why != "" {
			return climb(v, now, "it cannot start in another zone: "+why, anew)
		}
		taken.Host, next.Status.Away = to.Place(), to
	}
	room := Takes{Host: taken.Host, Units: max(v.Server.Spec.Placement.Units, 1)}
	if !v.Traits.Places {
		room.Host = "" // a zone's room is the platform's matter
	}
	taken.From, taken.FromHost, taken.To = proof.Epoch(), host, proof.Epoch()+1
	steps := buildSteps(next)
	first := steps[0]
	if d, runs := beside(v, now, proof, first); runs {
		return d
	}
	return Decision{
		Step: &first, Proof: proof, FromHost: host, Reason: first.Why, Candidates: candidates, Away: next.Status.Away,
		Written: written(next, first), Takes: room,
		Gates: []Gate{{Name: GateProof, Pass: true, Value: proof.String()}},
	}
}

// notYet decides what comes before the next epoch is taken though the one before is proved
// dead: its end, where the proof leaves it its volumes or it lives all the same, or another
// rung.
func notYet(v View, now time.Time, epoch fleet.Epoch, host string, proof fence.Proof) (Decision, bool) {
	r := v.Status.Recovery
	if livesAgainstWord(v, epoch, proof) {
		return nextFence(v, now, epoch, host, []fence.Need{{Reason: fmt.Sprintf("a person says that epoch %d is dead, and it is seen to live: %s", epoch, v.Finding.Reason)}}), true
	}
	if lives, is := livesAgainstRecord(v, proof); is {
		return nextFence(v, now, lives, host, []fence.Need{{Reason: fmt.Sprintf("epoch %d was seen to have ended, and an instance that carries it runs", lives)}}), true
	}
	ran, where := fence.Last(v.Server.Name, epoch, host, v.Status.Evidence)
	if reachedAgain(v, now, ran, where, proof) {
		return nextFence(v, now, epoch, host, []fence.Need{{Reason: fmt.Sprintf("epoch %d counts as dead, and runs on %s, which is in reach", ran, where)}}), true
	}
	if keepsVolumes(v, ran, where, proof) {
		return nextFence(v, now, epoch, host, []fence.Need{{Reason: fmt.Sprintf("epoch %d is only stopped: it keeps its volumes, and can be started again", ran)}}), true
	}
	if r.Rung == fleet.Recover && goneForEver(v) {
		return climb(v, now, "the instance is gone for ever and cannot be started again", upward), true
	}
	if r.Rung == fleet.Recover && onEC2(v) && attestedAlone(proof) {
		return climb(v, now, "a person says that the instance is dead, and nobody saw it stopped, so it cannot be started again", upward), true
	}
	if r.Rung == fleet.Recover && onEC2(v) && shutOutAlone(proof) {
		return climb(v, now, "it is shut out of its volumes, and nobody saw it stopped, so it cannot be started again", upward), true
	}
	return leavesZone(v, now)
}

// passOver makes the proof of what ran one of the highest epoch that an array was made to
// shut out, if each epoch up to it is proved dead too: somebody else had let it in, and what
// was shut out once is never let in again (S2). No try of ours had its number, as of one that
// was given up before a call had an effect, so that the proof goes on to stand on what ran.
// Where one of them is not proved the number is tried: the array refuses it, and then that is
// known.
func passOver(v View, proof fence.Proof, host string, now time.Time) fence.Proof {
	over, evidence := proof, proof.Evidence()
	for epoch := proof.Epoch() + 1; epoch <= Fenced(v.Status); epoch++ {
		if _, missing := fence.Prove(v.Server, epoch, "", v.Status.Evidence, now); len(missing) > 0 {
			return proof
		}
		evidence = append(evidence, fleet.Evidence{
			Method: fleet.NeverStarted, Server: v.Server.Name, Epoch: epoch, Host: host, By: "the journal", At: now,
			Detail: "an array was made to shut it out before its time",
		})
		over, _ = fence.Prove(v.Server, epoch, host, evidence, now)
	}
	return over
}

// skip makes the proof one of the last number that may have been used since the backup to
// which the store was set back. An epoch that was started and shut out again in that time
// leaves no trace on an array; if its number was used once more, whoever still carries it
// would be let in with the new one (S2, S3). A first start keeps its number: what is made
// or formatted then is made for no other.
func skip(v View, proof fence.Proof, host string, now time.Time) fence.Proof {
	if proof.Epoch() == 0 || proof.Epoch() >= v.Status.Skip {
		return proof
	}
	evidence := append(proof.Evidence(), fleet.Evidence{
		Method: fleet.Skipped, Server: v.Server.Name, First: proof.Epoch() + 1, Epoch: v.Status.Skip, Host: host, By: "the journal", At: now,
	})
	skipped, missing := fence.Prove(v.Server, v.Status.Skip, host, evidence, now)
	if len(missing) > 0 {
		return proof // it has aged since it was made
	}
	return skipped
}

// workProof gets what is missing for the proof, unless the recovery is to wait or to go on
// with another rung.
func workProof(v View, now time.Time, epoch fleet.Epoch, host string, missing []fence.Need) Decision {
	if d, waits := doubted(v, now); waits {
		d.Missing = missing
		return d
	}
	if d, waits := unsureOfLast(v, now); waits && epoch > v.Status.Epoch {
		d.Missing = missing
		return d // it may work where no look reaches: nothing that was said was said of it
	}
	if d, waits := provedOnce(v, now, epoch, host); waits {
		return d
	}
	if d, waits := endsInVain(v, now); waits {
		d.Missing = missing
		return d
	}
	if d, onward := unstoppable(v, now, epoch, host); onward {
		return d
	}
	return nextFence(v, now, epoch, host, missing)
}

// homeless holds a recovery for which there is no place. A person can make one; it
// goes on by itself if one comes.
func homeless(v View, now time.Time, candidates []Candidate) Decision {
	d := held(GatePlacement, "no host can take it", true)
	d.Reason = "no host can take it: " + refusals(candidates)
	d.Hold.Reason, d.Candidates = d.Reason, candidates
	d.LookAgainAt = inCrowd(v, roomShare, now, now.Add(progressPause))
	return d
}

// endsInVain holds a recovery that would end what still serves, though there is no
// place for the next epoch: a host that has lost its storage is no better after a
// restart, and half a server is more than none.
func endsInVain(v View, now time.Time) (Decision, bool) {
	serves := v.Finding.Verdict == fleet.Healthy || v.Finding.Verdict == fleet.Impaired
	if !v.Traits.Places || !serves || pastReturn(v.Status.Recovery) || fencedForEver(v) {
		return Decision{}, false
	}
	to, candidates := place(v)
	if to != "" {
		return Decision{}, false
	}
	if d, onward := noPlace(v, now, to, candidates); onward {
		d.Candidates = candidates
		return d, true
	}
	return homeless(v, now, candidates), true
}

// provedOnce holds a recovery that had its proof once, and lets it age, while there is
// no place for the next epoch: to switch a host off again and again that a person
// switches on would keep away the very place that is missing.
func provedOnce(v View, now time.Time, epoch fleet.Epoch, host string) (Decision, bool) {
	ran, _ := fence.Last(v.Server.Name, epoch, host, v.Status.Evidence)
	proved := func(t fleet.FenceTry) bool { return t.Epoch == ran && t.Done > 0 && t.Failed == 0 }
	if !v.Traits.Places || v.Status.Recovery.Planned != nil || !slices.ContainsFunc(v.Status.Recovery.Fences, proved) {
		return Decision{}, false
	}
	if to, candidates := place(v); to == "" {
		return homeless(v, now, candidates), true
	}
	return Decision{}, false
}

// doubted holds a recovery that has ended nothing yet and whose reason has gone: no
// server is fenced that would not be if the recovery began now (S4, S16).
func doubted(v View, now time.Time) (Decision, bool) {
	r := v.Status.Recovery
	if r.Requested != "" || pastReturn(r) && !longUnanswered(r, now) || fencedForEver(v) {
		return Decision{}, false
	}
	v.Request = nil // a wish that waits is no consent to what was begun without it
	switch v.Finding.Verdict {
	case fleet.Suspect, fleet.Unknown:
		return undecided(v, now, fmt.Sprintf("nothing was ended yet, and now it is %s: %s", v.Finding.Verdict, v.Finding.Reason), r.RungBegun), true
	case fleet.Isolated:
		return isolatedWait(v, now)
	default:
		return Decision{}, false
	}
}

// pastReturn reports that the recovery has ended or replaced an instance, or may
// have: from here on it is finished, for half a recovery is worse than either end.
func pastReturn(r *fleet.Recovery) bool {
	return !r.ActedAt.IsZero() || r.To != 0 ||
		r.Last != nil && r.Last.State == fleet.StepIntended && r.Last.Step.Kind.Destructive()
}

// longUnanswered reports that all that may have been done is one call of a while ago,
// whose answer nobody heard and whose effect would be seen: a controller that comes back
// after that long looks first, as if the recovery began now (S4).
func longUnanswered(r *fleet.Recovery, now time.Time) bool {
	return r.ActedAt.IsZero() && r.To == 0 && r.Last != nil && r.Last.State == fleet.StepIntended &&
		soonSeen(r.Last.Step) && now.Sub(r.Last.Begun) > callWithin
}

// lastEpoch is the highest epoch that the store or any resource has seen, and
// where it ran. A store restored from an old backup knows less than the volumes
// themselves (S3).
func lastEpoch(v View) (fleet.Epoch, string) {
	epoch, host := v.Status.Epoch, v.Status.Host
	for _, i := range v.Observed.Instances {
		if i.Epoch > epoch {
			epoch, host = i.Epoch, i.Host
		}
	}
	for _, vol := range v.Observed.Volumes {
		// The volume tells which epoch it has seen, not where that one ran.
		if seen := max(vol.Epoch, vol.Holder, vol.Sealed); seen > epoch {
			epoch, host = seen, ""
		}
	}
	return epoch, host
}

// keepsVolumes reports that the epoch is proved dead by no more than that it is
// stopped, and that this rung has not ended it yet. A platform lets a stopped machine
// keep its volumes and its place: only a recover, which starts that very machine, can
// leave it so.
func keepsVolumes(v View, epoch fleet.Epoch, host string, proof fence.Proof) bool {
	r := v.Status.Recovery
	if r.Rung == fleet.Recover || v.Traits.Places {
		return false
	}
	last := fenceTry(r, sourceName(stopStep(v, epoch, host)), epoch)
	if last.State == fleet.StepDone && last.At.After(r.RungBegun) {
		return false
	}
	stopped := func(i fleet.Instance) bool { return i.Epoch == epoch && i.State == fleet.InstanceStopped }
	return slices.ContainsFunc(proof.Evidence(), func(e fleet.Evidence) bool { return e.Method == fleet.Stopped }) ||
		slices.ContainsFunc(v.Observed.Instances, stopped) // though a person's word on a later epoch is proof enough
}

// neverRan reports that no call for any epoch had an effect: there is no machine that
// a recover could start again.
func neverRan(v View) bool {
	epoch, host := lastEpoch(v)
	ran, _ := fence.Last(v.Server.Name, epoch, host, v.Status.Evidence)
	return ran == 0
}

// goneForEver reports that the instance that a recover would start again has ended
// for ever.
func goneForEver(v View) bool {
	epoch, host := lastEpoch(v)
	ran, _ := fence.Last(v.Server.Name, epoch, host, v.Status.Evidence)
	for _, e := range evidenceFor(v, epoch) {
		if e.Epoch == ran && e.Method.EndsInstance() && e.Method != fleet.Attested {
			return true
		}
	}
	return false
}

// evidenceFor joins the stored evidence about an epoch, and about that one that ran
// before it if nothing of it was ever started, with what the last look shows.
func evidenceFor(v View, epoch fleet.Epoch) []fleet.Evidence {
	out := slices.Clone(v.Status.Evidence)
	ran, _ := fence.Last(v.Server.Name, epoch, "", v.Status.Evidence)
	out = append(out, observedEvidence(v, epoch)...)
	if ran != epoch {
		out = append(out, observedEvidence(v, ran)...)
	}
	return out
}

// observedEvidence is what the last look shows of an epoch. That an instance has ended is no
// evidence while another of the same epoch is seen that has not.
func observedEvidence(v View, epoch fleet.Epoch) []fleet.Evidence {
	var out []fleet.Evidence
	for _, i := range v.Observed.Instances {
		if i.Epoch != epoch || v.Observed.Outlived(i) {
			continue
		}
		e := fleet.Evidence{Server: v.Server.Name, Epoch: epoch, By: byHost(i.Host, v.Traits), At: i.At, Detail: i.Detail}
		switch i.State {
		case fleet.InstanceReaped:
			e.Method = fleet.Reaped
		case fleet.InstanceTerminated:
			e.Method = fleet.Terminated
		case fleet.InstanceStopped:
			e.Method = fleet.Stopped
		default:
			continue
		}
		out = append(out, e)
	}
	for _, vol := range v.Observed.Volumes {
		// Where no epoch ever was it is another directory, such as an empty mount point.
		if vol.Sealed >= epoch && epoch > 0 && vol.Epoch > 0 {
			out = append(out, fleet.Evidence{Method: fleet.Sealed, Server: v.Server.Name, Epoch: epoch, Volume: vol.Volume, By: byHost(vol.Host, v.Traits), At: vol.At})
		}
	}
	return out
}

func byHost(host string, t fleet.Traits) string {
	if host == "" {
		return t.Provider
	}
	return "the agent of " + host
}

// nextFence chooses the gentlest way that can still give the missing proof: end
// the instance through its own host, seal its volumes from another, switch its host off
// (see ways for another order). A source that gave nothing is asked again after a back-off
// of its own (L2), so that one that fails at once keeps nobody from the others. Where none
// is due it holds and says when which is, and what a person can do.
func nextFence(v View, now time.Time, epoch fleet.Epoch, host string, missing []fence.Need) Decision {
	epoch, host = fence.Last(v.Server.Name, epoch, host, v.Status.Evidence)
	if at, waiting := stopping(v, now, epoch, host); waiting {
		d := pending(fmt.Sprintf("epoch %d was told to stop; it waits until that is seen", epoch)+inLostZone(v, now, epoch), at)
		d.Missing = missing
		return d
	}
	var (
		said          []string
		next, askable *source
	)
	for _, way := range ways(v.Server) {
		s, why := way(v, epoch, host, missing)
		switch {
		case s == nil:
			said = append(said, why)
			continue
		case !now.Before(s.due) && (askable == nil || s.gaveEvidence() && !askable.gaveEvidence() || inVain(v, askable) && s.last.At.IsZero()):
			askable = s
		}
		said = append(said, s.lastTry())
		if next == nil || s.due.Before(next.due) {
			next = s
		}
	}
	if askable != nil {
		return Decision{Step: &askable.step, Reason: askable.step.Why, Missing: missing}
	}
	reason := fmt.Sprintf("epoch %d cannot be proved dead yet: %s", epoch, join(said))
	due := inCrowd(v, roomShare, now, now.Add(fencePause))
	if next != nil {
		due = next.due
		reason += fmt.Sprintf("; the next try is %s at %s", next.name, clockTime(due))
	}
	reason += inLostZone(v, now, epoch)
	// Who cannot be reached may answer again, a lock may become free; but nothing
	// that we can do now makes it so.
	d := held(GateProof, reason, true)
	d.Missing = missing
	d.LookAgainAt = due
	return d
}

// stopping reports that a stop was accepted a moment ago: a cloud takes its time
// until the instance is seen as stopped, and nothing harsher helps meanwhile.
func stopping(v View, now time.Time, epoch fleet.Epoch, host string) (time.Time, bool) {
	step := stopStep(v, epoch, host)
	last := fenceTry(v.Status.Recovery, sourceName(step), epoch)
	due := last.At.Add(endsWithin(v, step))
	if last.State != fleet.StepDone || last.Failed == 0 || !now.Before(due) {
		return time.Time{}, false
	}
	next := now.Add(progressPause)
	if due.Before(next) {
		next = due
	}
	return next, true
}

// cloudEnds is how long EC2 mostly takes to end an instance whose guest is well.
const cloudEnds = time.Minute

// endsWithin is how long the end of an instance is awaited. Where an array could shut it
// out meanwhile it gets the time that EC2 takes: its guest may be about to write what it
// still holds.
func endsWithin(v View, stop fleet.Step) time.Duration {
	if onEC2(v) && slices.ContainsFunc(v.Server.Spec.Identity.Volumes, fleet.Volume.OnArray) {
		return max(stop.Within.Std(), cloudEnds)
	}
	return stop.Within.Std()
}

// inVain reports that EC2 took a stop and did not carry it out within its time, as behind
// the cut link of an Outpost: what was never asked comes before another such stop.
func inVain(v View, s *source) bool {
	return onEC2(v) && s.step.Kind == fleet.StepStop && s.last.State == fleet.StepDone && s.last.Failed > 0
}

// clockTime names a moment for people; the same moment reads the same at each look.
func clockTime(at time.Time) string { return at.UTC().Format("15:04:05") + " UTC" }

func orUnknown(host string) string {
	if host == "" {
		return "an unknown host"
	}
	return host
}

func refusals(list []Candidate) string {
	if len(list) == 0 {
		return "no host is known"
	}
	var parts []string
	for _, c := range list {
		parts = append(parts, c.Host+": "+c.Refused)
	}
	return join(parts)
}
