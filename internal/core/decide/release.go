package decide

import (
	"fmt"
	"slices"
	"time"

	"relight/internal/core/fleet"
)

// attachTries bounds the calls for one volume that a platform calls free and refuses
// none the less.
const attachTries = 100

// release gets a volume of EC2 out of the hands of an epoch that is proved dead, when
// the new one was refused it: the end of an instance frees its volumes, but an
// attachment can hang. The ordinary detach comes first and has its time; force comes
// only after that and where the spec allows it, for what the dead instance had not
// flushed is lost. Another instance would meet the same volume, so that none is tried.
func release(v View, now time.Time, attach fleet.Step) (Decision, bool) {
	r := v.Status.Recovery
	last := lastCall(r, attach.Token)
	if !onEC2(v) || attach.Object.Volume == "" || last == nil || done(r, attach.Token) || last.State != fleet.StepFailed || last.Class != classConflict {
		return Decision{}, false
	}
	seen := volumeSeen(v, attach.Object.Volume)
	inTime := now.Before(last.Since.Add(attachWithin))
	switch {
	case seen == nil || seen.At.Before(last.Begun):
		return Decision{}, false // what was seen before the refusal does not explain it
	case seen.Held == fleet.No && !inTime && last.Tries < attachTries:
		return freed(attach, last, now)
	case seen.Held != fleet.Yes || seen.Holder == 0 || seen.Holder > r.From || livesStill(v, seen.Holder):
		return Decision{}, false // a stranger's, or one that must end first
	}
	step := newStep(v, fleet.StepDetach, seen.Holder, r.FromHost, attach.Object,
		fmt.Sprintf("have epoch %d, which is dead, let go of %s", seen.Holder, attach.Object))
	told, d, asks := ask(v, now, step)
	switch {
	case asks:
		return d, true
	case inTime:
		return Decision{}, false // the attach itself tells best whether it is free
	case told.Done == 0:
		return stuck(v, now, told, seen.Holder, attach, "EC2 was never told to detach it"), true
	}
	return force(v, now, step, told)
}

// freed asks once more for a volume that is free at last.
func freed(attach fleet.Step, last *fleet.StepRecord, now time.Time) (Decision, bool) {
	due := last.Ended.Add(attachPause)
	if now.Before(due) {
		return pending(attach.Object.String()+" is free again; it is asked for anew", due), true
	}
	return Decision{Step: &attach, Reason: attach.Why}, true
}

// force takes the volume by force once that is allowed and due.
func force(v View, now time.Time, ordinary fleet.Step, told fleet.FenceTry) (Decision, bool) {
	allowed := volumeOf(v.Server, ordinary.Object.Volume).ForceDetach
	if allowed == nil {
		return stuck(v, now, told, ordinary.Epoch, ordinary, "the spec does not allow to take it by force (forceDetach)"), true
	}
	if due := told.At.Add(allowed.After.Std()); now.Before(due) {
		return pending(fmt.Sprintf("%s still hangs at epoch %d since it was told to detach; it is taken by force at %s", ordinary.Object, ordinary.Epoch, clockTime(due)), due), true
	}
	step := ordinary
	step.Force = true
	step.Why = fmt.Sprintf("take %s by force from epoch %d, which is proved dead and did not let go of it within %s; its file system is checked before it is mounted", step.Object, step.Epoch, allowed.After)
	step.Token = Token(step.Server, step.Epoch, step.Kind, step.Object, step.Host, tryKey(v.Status.Recovery)+"/force")
	forced, d, asks := ask(v, now, step)
	if asks {
		return d, true
	}
	return stuck(v, now, forced, step.Epoch, ordinary, "it was taken by force, and EC2 does not show it"), true
}

// ask sends a detach until its effect was reported, each time after a longer pause, and
// tells how that went.
func ask(v View, now time.Time, step fleet.Step) (fleet.FenceTry, Decision, bool) {
	t := fenceTry(v.Status.Recovery, sourceName(step), step.Epoch)
	if t.Done > 0 || !t.At.IsZero() && now.Before(t.At.Add(fenceBackOff(v.Server.Spec.Ladder, t.Failed))) {
		return t, Decision{}, false
	}
	return t, Decision{Step: &step, Reason: step.Why}, true
}

// stuck holds a recovery whose volume hangs at a dead epoch: a person can free it, and
// it goes on by itself when it is free.
func stuck(v View, now time.Time, told fleet.FenceTry, holder fleet.Epoch, attach fleet.Step, why string) Decision {
	id := inUse(awayOf(v), volumeOf(v.Server, attach.Object.Volume))
	reason := fmt.Sprintf("%s (%s) hangs at epoch %d, which is dead, and %s", attach.Object, id, holder, why)
	if told.Done == 0 && told.Error != "" {
		reason += ": " + told.Error
	}
	reason += fmt.Sprintf("; next, if its instance is really gone: aws ec2 detach-volume --force --volume-id %s, and check its file system before it is used", id)
	d := held(GateProgress, reason, true)
	d.LookAgainAt = now.Add(attachPause)
	return d
}

// volumeSeen is how a volume was seen last, or nil.
func volumeSeen(v View, name string) *fleet.VolumeState {
	n := slices.IndexFunc(v.Observed.Volumes, func(o fleet.VolumeState) bool { return o.Volume == name })
	if n < 0 {
		return nil
	}
	return &v.Observed.Volumes[n]
}

// livesStill reports that an instance of the epoch is seen that runs or may begin to:
// a person was wrong about it, and what runs is ended before anything is taken from it.
func livesStill(v View, epoch fleet.Epoch) bool {
	return slices.ContainsFunc(v.Observed.Instances, func(i fleet.Instance) bool {
		return i.Epoch == epoch && (i.State == fleet.InstanceRunning || i.State == fleet.InstancePending)
	})
}
