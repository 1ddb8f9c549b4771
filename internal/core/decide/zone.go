package decide

import (
	"fmt"
	"strings"
	"time"

	"relight/internal/core/fence"
	"relight/internal/core/fleet"
)

// lostZone is the zone that the server is in, if that is seen to be lost as a whole;
// else nil. It is asked of what was just seen: a zone that has come back is none.
func lostZone(v View) *fleet.ZoneState {
	if z := v.Observed.Zone; onEC2(v) && z != nil && z.Lost == fleet.Yes {
		return z
	}
	return nil
}

// leavesZone decides that a start in a zone which is lost is not tried at all, once the
// old epoch is proved dead and another zone is due; what a person asked for is. The proof
// comes first: that a zone is lost says nothing of what still runs in it.
func leavesZone(v View, now time.Time) (Decision, bool) {
	r, z := v.Status.Recovery, lostZone(v)
	if z == nil || r.Requested != "" || r.Rung != fleet.Recover && r.Rung != fleet.Relaunch {
		return Decision{}, false
	}
	if next, _ := pickRung(v, now, fleet.Relaunch); next != fleet.Move {
		return Decision{}, false
	}
	return climb(v, now, fmt.Sprintf("zone %s is lost since %s (%s)", z.Name, clockTime(z.Since), z.Detail), upward), true
}

// inLostZone adds to a hold for want of a proof what a lost zone means for that, and what
// a person may confirm; it is empty elsewhere. Nothing that can be done from outside ends
// what a lost zone still runs, and a second copy beside it is what a proof is to prevent.
func inLostZone(v View, now time.Time, epoch fleet.Epoch) string {
	z := lostZone(v)
	if z == nil {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "; zone %s is lost since %s (%s), and what the platform cannot reach there it cannot end: epoch %d may still run, and no second copy is started beside it", z.Name, clockTime(z.Since), z.Detail, epoch)
	fmt.Fprintf(&b, "; a person who knows that it runs no more and will not run again (its machines have no power, or AWS says that the instance has ended) may confirm that: relight fence confirm %s --epoch %d", v.Server.Name, epoch)
	b.WriteString(afterwards(v, now))
	return b.String()
}

// afterwards says where the server would be started once its epoch is confirmed dead.
func afterwards(v View, now time.Time) string {
	if why := staysInZone(v); why != "" {
		return "; then it waits for its own zone: " + why
	}
	to, why := otherZone(v, now, 0)
	if why != "" {
		return "; then it waits for its own zone: " + why
	}
	out := "; then it is started in " + to.Place()
	if due := elsewhereDue(v); now.Before(due) {
		out += " at " + clockTime(due)
	}
	if loss := to.Loss(); loss != "" {
		out += " " + loss
	}
	return out
}

// unstoppable climbs from a recover whose machine the platform does not stop: one that
// boots from disks of its host is ended or left, and only a later rung may end it.
func unstoppable(v View, now time.Time, epoch fleet.Epoch, host string) (Decision, bool) {
	r := v.Status.Recovery
	if r.Rung != fleet.Recover || v.Traits.Places {
		return Decision{}, false
	}
	ran, where := fence.Last(v.Server.Name, epoch, host, v.Status.Evidence)
	last := fenceTry(r, sourceName(stopStep(v, ran, where)), ran)
	if last.State != fleet.StepFailed || last.Class != classPermanent {
		return Decision{}, false
	}
	return climb(v, now, "the platform does not stop it: "+last.Error, upward), true
}
