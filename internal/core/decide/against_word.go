package decide

import (
	"slices"
	"time"

	"relight/internal/core/fence"
	"relight/internal/core/fleet"
)

// livesAgainstWord reports, of a server on EC2, that nothing but a person's word proves the
// present epoch dead, and that it is seen to live: its zone has come back. It is ended
// before the next one is started, or both would run at once. What nobody can see is dead as
// the person says.
func livesAgainstWord(v View, epoch fleet.Epoch, proof fence.Proof) bool {
	if !onEC2(v) || epoch == 0 || epoch != v.Status.Epoch || !attestedAlone(proof) {
		return false
	}
	switch v.Finding.Verdict {
	case fleet.Healthy, fleet.Impaired:
		return true
	case fleet.Suspect:
		return slices.ContainsFunc(v.Finding.Evidence, func(s fleet.Signal) bool {
			return s.Question == fleet.Alive && s.Answer == fleet.Yes && s.Epoch == epoch
		})
	default:
		return false
	}
}

// reachedAgain reports that the epoch was shut out of its volumes, or called dead by a
// person, while nobody could reach it, and that it is seen to run now on a host that can be
// asked: it is told to stop before the next one takes its addresses (S1), once there is a
// place for that: until then it may be all that still serves. A stop that fails keeps nobody
// from going on.
func reachedAgain(v View, now time.Time, epoch fleet.Epoch, host string, proof fence.Proof) bool {
	if !v.Traits.Places || epoch == 0 || !shutOutAlone(proof) && !attestedAlone(proof) || contactWith(v, host) != fleet.Yes {
		return false
	}
	if last := fenceTry(v.Status.Recovery, sourceName(stopStep(v, epoch, host)), epoch); last.Failed+last.Done > 0 {
		return false
	}
	runs := slices.ContainsFunc(v.Observed.Instances, func(i fleet.Instance) bool {
		return i.Epoch == epoch && i.Host == host && i.State == fleet.InstanceRunning && now.Sub(i.At) <= staleAfter(v)
	})
	if !runs {
		return false
	}
	to, _ := place(v)
	return to != ""
}

// livesAgainstRecord finds, on EC2, an epoch of which the proof says that its instance has
// ended, and of which one was seen to run since then: a copy that a person made of it.
func livesAgainstRecord(v View, proof fence.Proof) (fleet.Epoch, bool) {
	if !onEC2(v) {
		return 0, false
	}
	for _, i := range v.Observed.Instances {
		if endedBy(proof, i.Epoch, i.At) && (i.State == fleet.InstanceRunning || i.State == fleet.InstancePending) {
			return i.Epoch, true
		}
	}
	return 0, false
}

// endedBy reports that the proof says of an epoch that its instance had ended before that
// time.
func endedBy(proof fence.Proof, epoch fleet.Epoch, before time.Time) bool {
	at, is := proof.Ended(epoch)
	return is && at.Before(before)
}

// beside finds, on EC2, an instance of a replaced epoch that runs by the platform's own word
// while only a person's says that it is dead, or one of an epoch whose instance is known to
// have ended, before anything of the new one is made. It is told to end before each call
// that would start a second one, and has its time for that; where that does nothing, as in a
// zone that is lost, the person's word counts.
func beside(v View, now time.Time, proof fence.Proof, start fleet.Step) (Decision, bool) {
	r := v.Status.Recovery
	if !onEC2(v) || len(r.Done) > 0 || proof.Epoch() == 0 {
		return Decision{}, false
	}
	byWord := attestedAlone(proof)
	asked := r.RungBegun
	if last := lastCall(r, start.Token); last != nil {
		asked = last.Ended
	}
	for _, d := range oldInstances(v, now) {
		if !byWord && !endedBy(proof, d.Step.Epoch, v.Observed.At) {
			continue
		}
		last := leftoverRecord(v.Status.Leftovers, *d.Step)
		ends := last.Ended.Add(last.Step.Within.Std())
		switch {
		case last.Begun.Before(asked) || last.State == fleet.StepIntended:
			d.Step.Token = leftoverToken(v, *d.Step, last)
			return d, true
		case last.State == fleet.StepDone && now.Before(ends):
			return pending(d.Reason+"; it was told to stop, and nothing is started beside it until that had its time", ends), true
		}
	}
	return Decision{}, false
}
