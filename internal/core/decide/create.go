package decide

import (
	"fmt"
	"strings"
	"time"

	"relight/internal/core/fleet"
)

// withLUNs allows an attach to make the LUNs of its volume's array which are not there,
// if the spec gives them a size and this is the first epoch. From the second on one that
// is missing is never made: whatever ran would start on an empty disk, and its data, which
// may only be out of sight, would be taken for lost (S8).
func withLUNs(v View, step fleet.Step) fleet.Step {
	vol := volumeOf(v.Server, step.Object.Volume)
	if step.Epoch != 1 || vol.LUN == nil {
		return step
	}
	var made []string
	for _, other := range v.Server.Spec.Identity.Volumes {
		// One map has all of an array's, so that each of them must be there.
		if l := other.LUN; l != nil && l.Array == vol.LUN.Array && l.Size > 0 {
			made = append(made, l.String())
		}
	}
	if len(made) > 0 {
		step.Create = true
		step.Why += fmt.Sprintf("; what is not there of %s is made on %s", strings.Join(made, ", "), arrayOf(vol))
	}
	return step
}

// waitsForLUN reports that an attach which may make LUNs had no effect, for a reason that
// may pass: the array is full, or cannot be asked.
func waitsForLUN(last *fleet.StepRecord) bool {
	return last.State == fleet.StepFailed && (last.Class == classCapacity || last.Class == classRetry)
}

// awaitLUN repeats such an attach for as long as it takes. Another host would meet the
// same array; and a try that is given up uses up epoch 1, after which nothing is made any
// more and a person would have to (S3). After as long as the ladder looks back one is
// asked, who can make room.
func awaitLUN(v View, now time.Time, step fleet.Step, last *fleet.StepRecord) Decision {
	due := last.Ended.Add(min(callPause(last.Tries), attachPause))
	if last.Class == classCapacity {
		due = latest(due, roomDue(v))
	}
	if !now.Before(due) {
		return Decision{Step: &step, Reason: step.Why}
	}
	asks := last.Since.Add(v.Server.Spec.Ladder.Window.Std())
	d := held(GatePlacement, fmt.Sprintf("its array has not given it its LUNs since %s: %s; it is asked again at %s", clockTime(last.Since), last.Error, clockTime(due)), !now.Before(asks))
	d.Gates[0].ClearsAt, d.LookAgainAt = due, due
	if now.Before(asks) {
		d.LookAgainAt = earliest(due, asks)
	}
	return d
}
