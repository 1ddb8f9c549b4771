package decide

import (
	"fmt"
	"slices"
	"time"

	"relight/internal/core/fleet"
)

// snapshotWithin is how long a snapshot of one LUN may take, all its calls together:
// the server is down meanwhile. An array that has to copy the data needs its time.
const snapshotWithin = 10 * time.Minute

// noSnapshot says why no snapshot of the server can be taken now, or is empty.
func noSnapshot(v View) string {
	luns := 0
	for _, vol := range v.Server.Spec.Identity.Volumes {
		if !vol.OnArray() {
			continue
		}
		luns++
		if !slices.ContainsFunc(v.Observed.Volumes, func(o fleet.VolumeState) bool { return o.Volume == vol.Name }) {
			return fmt.Sprintf("the array of volume %s does not answer, so no snapshot can be taken", vol.Name)
		}
	}
	if luns == 0 {
		return "none of its volumes is a LUN, so there is nothing of which an array could take a snapshot"
	}
	return ""
}

// snapshots has the arrays keep each LUN of the server as the dead epoch left it,
// before a planned move takes the next epoch; false once that is done, or if nobody
// asked for it. One that fails ends the try: the server goes back to where it was.
func snapshots(v View, now time.Time, epoch fleet.Epoch, host string) (Decision, bool) {
	p := v.Status.Recovery.Planned
	if p == nil || !p.Snapshot || p.Back != "" {
		return Decision{}, false
	}
	for _, vol := range v.Server.Spec.Identity.Volumes {
		if !vol.OnArray() {
			continue
		}
		step := newStep(v, fleet.StepSnapshot, epoch, host, fleet.Object{Volume: vol.Name},
			fmt.Sprintf("have %s keep volume %s as epoch %d left it, in snapshot %s", arrayOf(vol), vol.Name, epoch, fleet.SnapshotName(v.Server.Name, epoch)))
		step.Within = fleet.Duration(snapshotWithin)
		if d, waits := giveUpSnapshot(v, now, step); waits {
			return d, true
		}
		if d, waits := replay(v, now, step); waits {
			return d, true
		}
	}
	return Decision{}, false
}

// giveUpSnapshot ends the try once a snapshot has had its time, however few calls that
// took: a server is not kept down for a copy that never ends.
func giveUpSnapshot(v View, now time.Time, step fleet.Step) (Decision, bool) {
	r := v.Status.Recovery
	last := lastCall(r, step.Token)
	if done(r, step.Token) || last == nil || last.State == fleet.StepIntended || now.Before(last.Since.Add(snapshotWithin)) {
		return Decision{}, false
	}
	return climb(v, now, fmt.Sprintf("%s was not done within %s: %s", step.Kind, snapshotWithin, last.Error), elsewhere), true
}

// arrayOf names the array of a volume, for people.
func arrayOf(vol fleet.Volume) string {
	if vol.LUN == nil {
		return "its array"
	}
	return "array " + vol.LUN.Array
}
