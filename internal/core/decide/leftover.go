package decide

import (
	"fmt"
	"slices"
	"time"

	"relight/internal/core/fleet"
)

// adopt takes over a running instance of a later epoch than the store knows: the
// store was restored from an old backup, the resources were not (S3). A recovery
// that the backup remembers ends with it: it would fence a server that works.
func adopt(v View, now time.Time) (Decision, bool) {
	if !v.Observed.Complete {
		return Decision{}, false
	}
	for _, i := range v.Observed.Instances {
		if i.Epoch > v.Status.Epoch && i.State == fleet.InstanceRunning && now.Sub(i.At) <= staleAfter {
			d := record(v, fleet.StepAdopt, fmt.Sprintf("epoch %d runs on %s, the store knows only %d; it counts as healed once its own checks pass", i.Epoch, orUnknown(i.Host), v.Status.Epoch))
			d.Step.Epoch, d.Step.Host = i.Epoch, i.Host
			return d, true
		}
	}
	return Decision{}, false
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

// leftover finds an instance of an older epoch that still shows life where it
// can be stopped: it was fenced, yet answers stale reads and holds an address. If
// all of them were told to stop lately it returns the one that is due next.
//
// It takes no budget and a storm does not hold it: the epoch was proved dead for
// writes before the present one started, no server depends on it, and the stop
// only makes two copies one. People's stops (freeze, pause, window, observe) hold.
func leftover(v View, now time.Time) (*fleet.Step, *waitingLeftover) {
	var wait *waitingLeftover
	for _, i := range v.Observed.Instances {
		if i.Epoch >= v.Status.Epoch || i.State.Gone() || i.State == fleet.InstanceStopped || i.State == fleet.InstanceStopping {
			continue
		}
		if i.State == fleet.InstanceLost && i.Alive == fleet.No {
			continue // a host that came back remembers it; there is nothing to stop
		}
		if now.Sub(i.At) > staleAfter || contactWith(v, i.Host) != fleet.Yes {
			continue
		}
		step := fleet.Step{
			Kind: fleet.StepStop, Server: v.Server.Name, Epoch: i.Epoch, Host: i.Host, Within: stopWithin(v.Server),
			Why: fmt.Sprintf("epoch %d was replaced by %d but still runs on %s", i.Epoch, v.Status.Epoch, orUnknown(i.Host)),
		}
		last := leftoverRecord(v.Status.Leftovers, step)
		if step.Token = last.Step.Token; step.Token == "" || last.State == fleet.StepDone {
			// One that failed, or was never answered, is repeated as it was (S7); one that
			// reported its effect in vain is a call of its own.
			step.Token = Token(v.Server.Name, i.Epoch, fleet.StepStop, fleet.Object{}, i.Host, fmt.Sprintf("leftover/%d", last.Tries))
		}
		due := leftoverDue(v.Server.Spec.Ladder, last)
		if !now.Before(due) {
			return &step, nil
		}
		if wait == nil || due.Before(wait.due) {
			wait = &waitingLeftover{due: due, reason: fmt.Sprintf("%s: told to stop %d times (%s); the next try is at %s", step.Why, last.Tries, saidOf(last), clockTime(due))}
		}
	}
	return nil, wait
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

func saidOf(last fleet.StepRecord) string {
	if last.State == fleet.StepDone {
		return "it was told so and still runs"
	}
	return last.Error
}

func sameLeftover(a, b fleet.Step) bool { return a.Epoch == b.Epoch && a.Host == b.Host }

// leftoverRecord returns the last stop of the same epoch on the same host, or zero.
func leftoverRecord(list []fleet.StepRecord, step fleet.Step) fleet.StepRecord {
	for _, rec := range list {
		if sameLeftover(rec.Step, step) {
			return rec
		}
	}
	return fleet.StepRecord{}
}

// keepLeftovers bounds the stops of leftovers that a status carries with it.
const keepLeftovers = 8

// noteLeftover journals the intent to stop a leftover.
func noteLeftover(list []fleet.StepRecord, rec fleet.StepRecord) []fleet.StepRecord {
	last := leftoverRecord(list, rec.Step)
	rec.Tries = last.Tries + 1
	list = slices.DeleteFunc(list, func(o fleet.StepRecord) bool { return sameLeftover(o.Step, rec.Step) })
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
