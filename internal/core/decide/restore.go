package decide

import (
	"fmt"
	"slices"
	"time"

	"relight/internal/core/fence"
	"relight/internal/core/fleet"
)

// Refusal says why a person's wish cannot be carried out now, and what to type next.
type Refusal struct{ Why, Next string }

// NoRestore says why no snapshot of the server can be put back now, or proves that no
// epoch of it can write any more: what is written since the snapshot is lost, and an
// epoch that lives on would write into old data.
func NoRestore(v View, now time.Time) (fence.Proof, *Refusal) {
	if no := noDeed(v); no != nil {
		return fence.Proof{}, no
	}
	name := v.Server.Name
	if f := v.Guards.Freeze; f != nil {
		return fence.Proof{}, &Refusal{fmt.Sprintf("the fleet is frozen by %s: %s", f.By, f.Reason), "relight unfreeze"}
	}
	if !slices.ContainsFunc(v.Guards.Pauses, func(p fleet.Pause) bool { return p.Server == name }) {
		return fence.Proof{}, &Refusal{"it is not paused, so that its next epoch could start meanwhile", "relight pause " + name + " --reason ..."}
	}
	epoch, host := lastEpoch(v)
	if epoch > v.Status.Epoch {
		return fence.Proof{}, &Refusal{fmt.Sprintf("epoch %d was seen, and the record knows of %d only", epoch, v.Status.Epoch), "relight why " + name}
	}
	for _, i := range v.Observed.Instances {
		if runs(i) && now.Sub(i.At) <= staleAfter(v) {
			return fence.Proof{}, &Refusal{fmt.Sprintf("epoch %d is %s on %s", i.Epoch, i.State, orUnknown(i.Host)), "relight why " + name}
		}
	}
	proof, missing := fence.Prove(v.Server, epoch, host, evidenceFor(v, epoch), now)
	if len(missing) > 0 {
		return fence.Proof{}, &Refusal{
			fmt.Sprintf("epoch %d may still run: %s", epoch, missing[0].Reason),
			fmt.Sprintf("relight fence confirm %s --epoch %d --reason ...", name, epoch),
		}
	}
	return proof, nil
}

// runs reports that an instance was seen alive, or about to live.
func runs(i fleet.Instance) bool {
	return i.State == fleet.InstanceRunning || i.State == fleet.InstancePending || i.State == fleet.InstanceStopping
}

// NoDrop says why a snapshot of the server cannot be deleted now, or is nil.
func NoDrop(v View, snapshot string) *Refusal {
	if no := noDeed(v); no != nil {
		return no
	}
	if r := v.Status.Restore; r != nil && r.Snapshot == snapshot {
		return &Refusal{
			fmt.Sprintf("%s has it put back, and it is not on all volumes yet", r.By),
			fmt.Sprintf("relight snapshots restore %s %s", v.Server.Name, snapshot),
		}
	}
	return nil
}

// noDeed says why nothing can be done about the server's snapshots.
func noDeed(v View) *Refusal {
	if !slices.ContainsFunc(v.Server.Spec.Identity.Volumes, fleet.Volume.OnArray) {
		return &Refusal{"none of its volumes is a LUN, so no array keeps a snapshot of it", "relight get server " + v.Server.Name + " -o wide"}
	}
	if r := v.Status.Recovery; r != nil {
		return &Refusal{fmt.Sprintf("a recovery runs: %s", r.Rung), "relight why " + v.Server.Name}
	}
	return nil
}

// RestoreStep has the array of a volume put a snapshot back, of a server whose last
// epoch is proved dead.
func RestoreStep(v View, proof fence.Proof, volume, snapshot, by string, now time.Time) fleet.Step {
	return deed(v, fleet.StepRestore, proof.Epoch(), volume, snapshot, by, now,
		"put snapshot %s back on volume %s: what was written since is lost")
}

// DropStep has the array of a volume delete a snapshot.
func DropStep(v View, volume, snapshot, by string, now time.Time) fleet.Step {
	return deed(v, fleet.StepDrop, v.Status.Epoch, volume, snapshot, by, now, "delete snapshot %s of volume %s")
}

func deed(v View, kind fleet.StepKind, epoch fleet.Epoch, volume, snapshot, by string, now time.Time, why string) fleet.Step {
	o := fleet.Object{Volume: volume, Snapshot: snapshot}
	return fleet.Step{
		Kind: kind, Server: v.Server.Name, Epoch: epoch, Object: o, Within: fleet.Duration(snapshotWithin),
		Token: Token(v.Server.Name, epoch, kind, o, "", by+"/"+now.UTC().Format(time.RFC3339Nano)),
		Why:   fmt.Sprintf(why, snapshot, volume),
	}
}

// Restoring returns the status with a restore of the step's volume journaled, before its
// effect, with the evidence behind the proof.
func Restoring(s fleet.Status, proof fence.Proof, step fleet.Step, by, reason string, now time.Time) fleet.Status {
	s = clone(s)
	r := fleet.Restore{Snapshot: step.Object.Snapshot, By: by, Reason: reason, At: now}
	if old := s.Restore; old != nil {
		// It changed something, or its controller ended before the answer.
		r.Mixed = true
		if old.Snapshot == r.Snapshot {
			r.Done = slices.DeleteFunc(slices.Clone(old.Done), func(v string) bool { return v == step.Object.Volume })
		}
	}
	s.Restore, s.Message = &r, step.Why
	s.Evidence = append(s.Evidence, missingFrom(s.Evidence, proof.Evidence())...)
	return s
}

// Restored records how the restore of a volume ended; all are the volumes that the
// snapshot is of. What surely changed nothing leaves nothing behind.
func Restored(s fleet.Status, step fleet.Step, res Result, all []string) fleet.Status {
	s = clone(s)
	s.Evidence = append(s.Evidence, missingFrom(s.Evidence, res.Evidence)...)
	if s.Restore == nil || s.Restore.Snapshot != step.Object.Snapshot {
		return s
	}
	r := *s.Restore
	switch res.State {
	case fleet.StepDone:
		r.Done, r.Mixed = append(slices.Clone(r.Done), step.Object.Volume), true
	case fleet.StepFailed:
		s.Message = step.Why + ": " + res.Error
		if !r.Mixed {
			s.Restore = nil
			return s
		}
	default:
		r.Mixed, s.Message = true, step.Why+": "+res.Error
	}
	s.Restore = &r
	if !slices.ContainsFunc(all, func(v string) bool { return !slices.Contains(r.Done, v) }) {
		s.Restore, s.Message = nil, fmt.Sprintf("snapshot %s was put back", r.Snapshot)
	}
	return s
}
