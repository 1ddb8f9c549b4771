package decide

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"relight/internal/core/fence"
	"relight/internal/core/fleet"
)

// adopt takes over a running instance of a later epoch than the store knows: the
// store was restored from an old backup, the resources were not (S3). A recovery
// that the backup remembers ends with it: it would fence a server that works. It need
// not have seen every host: the one that is missing is mostly the dead one, and
// whoever does not adopt what runs goes on to end it. Where the platform keeps a machine
// that is stopped, or is starting one, that counts as well: what the store knows is no more,
// and nobody would ever tell anything of it.
func adopt(v View, now time.Time) (Decision, bool) {
	for _, i := range v.Observed.Instances {
		stands := !v.Traits.Places && (i.State == fleet.InstanceStopped || i.State == fleet.InstancePending)
		if i.Epoch > v.Status.Epoch && (i.State == fleet.InstanceRunning || stands) && now.Sub(i.At) <= staleAfter(v) && !overtaken(v, i.Epoch) {
			is := "runs"
			if stands {
				is = "is " + string(i.State)
			}
			d := record(v, fleet.StepAdopt, fmt.Sprintf("epoch %d %s on %s, the store knows only %d; it counts as healed once its own checks pass", i.Epoch, is, orUnknown(i.Host), v.Status.Epoch))
			d.Step.Epoch, d.Step.Host = i.Epoch, i.Host
			d.Written = writtenBy(v, i.Epoch)
			return d, true
		}
	}
	return knownLast(v, now)
}

// overtaken reports that anything has seen a later epoch than this one, or that its
// volumes are shut to it: it was fenced, and stays so.
func overtaken(v View, epoch fleet.Epoch) bool {
	last, _ := lastEpoch(v)
	return last > epoch || shutByArray(v.Status) >= epoch || slices.ContainsFunc(v.Observed.Volumes, func(vol fleet.VolumeState) bool { return vol.Sealed >= epoch })
}

// adopted reports that the present epoch was taken over and never verified.
func adopted(st fleet.Status) bool {
	return st.Epoch != 0 && st.Phase == fleet.PhaseRunning && st.Recovery == nil && st.VerifiedAt.IsZero()
}

// verifyAdopted closes once the server's own checks have passed since it was
// taken over: what is said of its state before belongs to another epoch (S14).
func verifyAdopted(v View, now time.Time) Decision {
	if lack := lacks(v); lack != "" {
		return held(GateVerdict, fmt.Sprintf("epoch %d was adopted and is not healed: %s", v.Status.Epoch, lack), true)
	}
	if who := contestWhy(v, now); who != "" {
		return held(GateVerdict, fmt.Sprintf("epoch %d was adopted and is not verified while %s", v.Status.Epoch, who), true)
	}
	if seenAfter(v, v.Status.LaunchedAt) {
		return guarded(v, now, record(v, fleet.StepClose, fmt.Sprintf("epoch %d, which was adopted, is verified: %s", v.Status.Epoch, v.Finding.Reason)))
	}
	return held(GateVerdict, fmt.Sprintf("epoch %d was adopted and is not verified yet: it waits for its own checks since then", v.Status.Epoch), false)
}

// waitingLeftover is a leftover whose stop waits for its back-off.
type waitingLeftover struct {
	reason string
	due    time.Time
}

// leftover finds what is left of an older epoch and can be ended: an instance that
// was fenced, yet answers stale reads and holds an address; a map or session that an
// array lists again; one that somebody hears answer for an address of the server; or a map
// of the present epoch that an array has forgotten. If all of them were seen to lately it
// returns the one that is due next.
//
// It takes no budget and a storm does not hold it: the epoch was proved dead for
// writes before the present one started, no server depends on it, and the stop
// only makes two copies one. People's stops (freeze, pause, window, observe) hold; observe
// does not if a person has asked for the epoch that replaced it.
func leftover(v View, now time.Time) (*Decision, *waitingLeftover) {
	return dueLeftover(v, now, slices.Concat(oldInstances(v, now), oldMaps(v, now), lostMaps(v, now), answering(v, now)))
}

// inTheWay finds an instance of a replaced epoch that lives after all, while the new
// one is refused what it should be given: a person was wrong who stated that it is
// dead, or its host has come back. So it is with one that was shut out of its volumes and
// runs on where the new one finds no room: it keeps that for ever. All tries of the ladder
// would wait for it in vain.
func inTheWay(v View, now time.Time) *Decision {
	r := v.Status.Recovery
	if r.To == 0 || r.Last == nil || r.Last.State != fleet.StepFailed {
		return nil
	}
	found := oldInstances(v, now)
	switch last := r.Last; {
	case last.Class == classConflict && last.Step.Kind.NeedsProof(): // a primary interface comes with the launch
	case last.Class == classCapacity && last.Step.Kind.NeedsProof():
		found = slices.DeleteFunc(found, func(d Decision) bool { return d.Step.Host != last.Step.Host })
	default:
		return nil
	}
	d, _ := dueLeftover(v, now, found)
	return d
}

// neverToRun finds an instance of a replaced epoch that was prepared and never started,
// while the recovery is held: a call that came late, or one that a dead host slept over.
// It would keep its place and its volumes for as long as the recovery waits for a person
// (S8). One that runs is left to the end of the recovery, or until it is in the way: it
// may be all that still serves.
func neverToRun(v View, now time.Time) *Decision {
	waits := v
	waits.Observed.Instances = slices.DeleteFunc(slices.Clone(v.Observed.Instances), func(i fleet.Instance) bool {
		return i.State != fleet.InstancePending
	})
	d, _ := dueLeftover(v, now, oldInstances(waits, now))
	return d
}

// leftRunning says what still runs of replaced epochs and is left while the recovery is held,
// or is empty.
func leftRunning(v View, now time.Time) string {
	said := ""
	for _, d := range oldInstances(v, now) {
		said += "; " + d.Reason + ", and is left to the end of the recovery, for it may be all that still serves"
	}
	return said
}

func dueLeftover(v View, now time.Time, found []Decision) (*Decision, *waitingLeftover) {
	var wait *waitingLeftover
	for _, d := range found {
		step := d.Step
		last := leftoverRecord(v.Status.Leftovers, *step)
		step.Token = leftoverToken(v, *step, last)
		due := leftoverDue(v.Server.Spec.Ladder, last)
		if last.Tries == 0 {
			due = turnOfUnnoted(v.Server.Spec.Ladder, v.Status.Leftovers)
		}
		if !now.Before(due) {
			return &d, nil
		}
		switch {
		case wait != nil && !due.Before(wait.due):
		case last.Tries == 0:
			wait = &waitingLeftover{due: due, reason: fmt.Sprintf("%s: so much is left that each waits for its turn; the next try is at %s", step.Why, clockTime(due))}
		default:
			wait = &waitingLeftover{due: due, reason: fmt.Sprintf("%s: %s %d times (%s); the next try is at %s", step.Why, toldTo(*step), last.Tries, saidOf(last), clockTime(due))}
		}
	}
	return nil, wait
}

// leftoverToken is the token of the next call about a leftover. One that failed, or was
// never answered, is repeated as it was (S7); one that reported its effect in vain is a
// call of its own.
func leftoverToken(v View, step fleet.Step, last fleet.StepRecord) string {
	if last.Step.Token != "" && last.State != fleet.StepDone {
		return last.Step.Token
	}
	return Token(v.Server.Name, step.Epoch, step.Kind, step.Object, step.Host, fmt.Sprintf("leftover/%d", last.Tries))
}

// oldInstances are the ones of replaced epochs that still show life.
func oldInstances(v View, now time.Time) []Decision {
	var out []Decision
	for _, i := range v.Observed.Instances {
		if i.Epoch >= v.Status.Epoch || i.State.Gone() || i.State == fleet.InstanceStopped || i.State == fleet.InstanceStopping {
			continue
		}
		if i.State == fleet.InstanceLost && i.Alive == fleet.No {
			continue // a host that came back remembers it; there is nothing to stop
		}
		if now.Sub(i.At) > staleAfter(v) || contactWith(v, i.Host) != fleet.Yes {
			continue
		}
		life := "still runs"
		if i.State == fleet.InstancePending {
			life = "still waits for its start"
		}
		why := fmt.Sprintf("epoch %d was replaced by %d but %s on %s", i.Epoch, v.Status.Epoch, life, orUnknown(i.Host))
		out = append(out, Decision{Reason: why, Step: &fleet.Step{
			Kind: fleet.StepStop, Server: v.Server.Name, Epoch: i.Epoch, Host: i.Host, Within: stopWithin(v.Server), Why: why,
		}})
	}
	return inOneOrder(out)
}

// oldMaps are what arrays list of replaced epochs: somebody has let one in again, or
// its session was not gone. It is shut out once more.
func oldMaps(v View, now time.Time) []Decision {
	var out []Decision
	for _, seen := range v.Observed.Volumes {
		vol := volumeOf(v.Server, seen.Volume)
		if !vol.OnArray() || seen.Held != fleet.Yes || seen.Epoch == 0 || seen.Epoch >= v.Status.Epoch || now.Sub(seen.At) > staleAfter(v) {
			continue
		}
		why := fmt.Sprintf("epoch %d was replaced by %d and is listed again: %s", seen.Epoch, v.Status.Epoch, shutWhy(vol, seen.Epoch))
		out = append(out, Decision{Reason: why, Step: &fleet.Step{
			Kind: fleet.StepSeal, Server: v.Server.Name, Epoch: seen.Epoch, Object: fleet.Object{Volume: vol.Name},
			Within: fleet.Duration(callWithin), Why: why,
		}})
	}
	return inOneOrder(out)
}

// inOneOrder sorts what is left over, the newest first: whatever order it was seen in, two
// controllers begin with the same.
func inOneOrder(found []Decision) []Decision {
	slices.SortStableFunc(found, func(a, b Decision) int {
		return cmp.Or(cmp.Compare(a.Step.Object.Volume, b.Step.Object.Volume), cmp.Compare(b.Step.Epoch, a.Step.Epoch), cmp.Compare(a.Step.Host, b.Step.Host))
	})
	return found
}

// lostMaps are those of the present epoch that an array lists no more: it has
// restarted and forgotten them. They are made again, with the proof of the epoch
// before.
func lostMaps(v View, now time.Time) []Decision {
	if forgottenBy(v, now) == "" || v.Status.Epoch == 0 || v.Status.Phase != fleet.PhaseRunning || !runsNow(v, now) || v.Status.SetBack || fencedForEver(v) {
		return nil
	}
	proof, proved := startedOn(v, now)
	if !proved {
		return nil
	}
	var out []Decision
	for _, vol := range v.Server.Spec.Identity.Volumes {
		if !lostMap(v, vol, now) {
			continue
		}
		why := fmt.Sprintf("the array of volume %s has forgotten epoch %d: let it in again", vol.Name, v.Status.Epoch)
		out = append(out, Decision{Reason: why, Proof: proof, Step: &fleet.Step{
			Kind: fleet.StepAttach, Server: v.Server.Name, Epoch: v.Status.Epoch, Host: v.Status.Host, Object: fleet.Object{Volume: vol.Name},
			Within: fleet.Duration(callWithin), Why: why,
		}})
	}
	return out
}

// forgottenBy names a volume whose array was asked since the present epoch started and lists
// nobody, or is empty.
func forgottenBy(v View, now time.Time) string {
	for _, vol := range v.Server.Spec.Identity.Volumes {
		if lostMap(v, vol, now) {
			return vol.Name
		}
	}
	return ""
}

// unprovedMap says that an array lists the present epoch no more and that it may not be let
// in again, or is empty: nothing proves the one before dead, or the store was set back to a
// backup and it may be shut out. To let it in again could be a second writer; to say nothing
// leaves a server that answers and has no disk.
func unprovedMap(v View, now time.Time) string {
	lost := forgottenBy(v, now)
	if lost == "" || v.Status.Epoch == 0 || !runsNow(v, now) {
		return ""
	}
	const anew = ", so it is not let in again; to end it and start the next one, ask for a relaunch"
	if v.Status.SetBack {
		return fmt.Sprintf("the array of volume %s does not list epoch %d, and by what the store lost when it was set back it may be shut out", lost, v.Status.Epoch) + anew
	}
	if _, proved := startedOn(v, now); proved {
		return ""
	}
	return fmt.Sprintf("the array of volume %s has forgotten epoch %d, and nothing that is stored proves epoch %d dead", lost, v.Status.Epoch, v.Status.Epoch-1) + anew
}

// onlyLaterMap says that an array lists a later epoch than the present one and the present
// one no more, or is empty. To let it in again could be a second writer beside one that
// the store knows nothing of; to say nothing leaves a server that answers and has no disk.
func onlyLaterMap(v View, now time.Time) string {
	for _, vol := range v.Server.Spec.Identity.Volumes {
		if !vol.OnArray() {
			continue
		}
		later, own := fleet.Epoch(0), false
		for _, seen := range v.Observed.Volumes {
			if seen.Volume != vol.Name || seen.Held != fleet.Yes || now.Sub(seen.At) > staleAfter(v) {
				continue
			}
			own = own || seen.Epoch == v.Status.Epoch
			if seen.Epoch > v.Status.Epoch {
				later = max(later, seen.Epoch)
			}
		}
		if later != 0 && !own {
			return fmt.Sprintf("the array of volume %s lists epoch %d, and epoch %d no more, which runs; to end both, ask for a relaunch", vol.Name, later, v.Status.Epoch)
		}
	}
	return ""
}

// startedOn is the proof on which the present epoch was started. What has perished since
// counts as of then: the epoch runs, and to let it in again lets nobody in who was not
// there before the array forgot it. Without this, a server with fence: power would write
// no more after a restart of its array, and no recovery would be due while it answers.
func startedOn(v View, now time.Time) (fence.Proof, bool) {
	before := v.Status.Epoch - 1
	proof, missing := fence.Prove(v.Server, before, "", v.Status.Evidence, now)
	for n := len(v.Status.Evidence) - 1; n >= 0 && len(missing) > 0; n-- {
		if e := v.Status.Evidence[n]; !e.Method.Final() {
			proof, missing = fence.Prove(v.Server, before, e.Host, v.Status.Evidence, e.At)
		}
	}
	return proof, len(missing) == 0
}

// runsNow reports that the present epoch is seen running.
func runsNow(v View, now time.Time) bool {
	return slices.ContainsFunc(v.Observed.Instances, func(i fleet.Instance) bool {
		return i.Epoch == v.Status.Epoch && i.State == fleet.InstanceRunning && now.Sub(i.At) <= staleAfter(v)
	})
}

// lostMap reports that the array was asked since the epoch started and lists nothing
// of the volume.
func lostMap(v View, vol fleet.Volume, now time.Time) bool {
	asked := false
	if !vol.OnArray() {
		return false
	}
	for _, seen := range v.Observed.Volumes {
		if seen.Volume != vol.Name {
			continue
		}
		if seen.Held != fleet.No || now.Sub(seen.At) > staleAfter(v) || !seen.At.After(v.Status.LaunchedAt) {
			return false
		}
		asked = true
	}
	return asked
}

// ofLeftover reports that a step within a recovery is none of its rung: it stops an
// instance of a replaced epoch.
func ofLeftover(step fleet.Step) bool { return step.Kind == fleet.StepStop && step.Rung == "" }

func toldTo(step fleet.Step) string {
	switch step.Kind {
	case fleet.StepStop:
		return "told to stop"
	default:
		return "the array was told so"
	}
}

// leftoverDue is when a leftover may be told to stop again.
func leftoverDue(l fleet.Ladder, last fleet.StepRecord) time.Time {
	switch last.State {
	case fleet.StepDone:
		return last.Ended.Add(max(last.Step.Within.Std(), fenceBackOff(l, last.Tries)))
	case fleet.StepFailed, fleet.StepUnknown:
		return last.Ended.Add(fenceBackOff(l, last.Tries))
	default: // never told, or by a controller that died before the answer
		return time.Time{}
	}
}

// turnOfUnnoted is when a leftover may be told to stop of which the status carries nothing:
// at once while there is room for its record. If not, one after the other: what was told to
// stop, and gave way in the list to another one, would be told again at once, and all of them
// without a pause (L2).
func turnOfUnnoted(l fleet.Ladder, noted []fleet.StepRecord) time.Time {
	if len(noted) < keepLeftovers {
		return time.Time{}
	}
	var newest time.Time
	for _, rec := range noted {
		newest = latest(newest, latest(rec.Begun, rec.Ended))
	}
	return newest.Add(fenceBackOff(l, 1))
}

func saidOf(last fleet.StepRecord) string {
	switch {
	case last.State != fleet.StepDone:
		return last.Error
	case last.Step.Kind == fleet.StepStop:
		return "it was told so and still runs"
	default:
		return "it said that it did so"
	}
}

func sameLeftover(a, b fleet.Step) bool {
	return a.Kind == b.Kind && a.Epoch == b.Epoch && a.Host == b.Host && a.Object == b.Object
}

// leftoverRecord returns the last such step about the same epoch, or zero.
func leftoverRecord(list []fleet.StepRecord, step fleet.Step) fleet.StepRecord {
	for _, rec := range list {
		if sameLeftover(rec.Step, step) {
			return rec
		}
	}
	return fleet.StepRecord{}
}

// keepLeftovers bounds the stops of leftovers that a status carries with it. One that is left
// out is told to stop as if for the first time: with a bound of 8 a dozen that could not be
// ended was told so all the time (L2). From fewLeftovers on, what was not told to stop for
// longer than any back-off makes room: mostly it has gone.
const (
	keepLeftovers  = 64
	fewLeftovers   = 8
	leftoverIsGone = time.Hour
)

// noteLeftover journals the intent to stop a leftover.
func noteLeftover(list []fleet.StepRecord, rec fleet.StepRecord) []fleet.StepRecord {
	last := leftoverRecord(list, rec.Step)
	rec.Tries = last.Tries + 1
	list = slices.DeleteFunc(list, func(o fleet.StepRecord) bool { return sameLeftover(o.Step, rec.Step) })
	if len(list) >= fewLeftovers {
		list = slices.DeleteFunc(list, func(o fleet.StepRecord) bool { return rec.Begun.Sub(latest(o.Begun, o.Ended)) > leftoverIsGone })
	}
	if len(list) >= keepLeftovers {
		list = list[1:]
	}
	return append(list, rec)
}

// endLeftover records how the stop of a leftover ended.
func endLeftover(list []fleet.StepRecord, step fleet.Step, res Result, now time.Time) {
	for i := range list {
		if list[i].Step.Token == step.Token {
			list[i].State, list[i].Class, list[i].Error, list[i].Ended = res.State, res.Class, res.Error, now
		}
	}
}
