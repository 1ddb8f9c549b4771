package fence

import (
	"fmt"
	"slices"

	"relight/internal/core/fleet"
)

// Grade grades a proof; false for the zero Proof.
func (p Proof) Grade() (fleet.Grade, bool) {
	if !p.ok {
		return fleet.Grade{}, false
	}
	own := slices.DeleteFunc(slices.Clone(p.evidence), func(e fleet.Evidence) bool { return e.Method.Hollow() })
	end := slices.IndexFunc(own, func(e fleet.Evidence) bool { return e.Method != fleet.Sealed && e.Method != fleet.InitiatorRemoved })
	switch {
	case len(own) == 0:
		return fleet.Grade{Name: fleet.GradeUnstarted, Means: "no instance was ever started", Final: true}, true
	case end < 0:
		return fleet.Grade{Name: fleet.GradeShutOut, Means: "each of its volumes refuses it for ever; its instance may run on, and answer at its addresses", Final: true}, true
	case len(own) > 1:
		return fleet.Grade{Name: fleet.GradeBoth, Means: "its instance is " + overOrOff(own[end]) + ", and the volumes that can refuse it do", Final: own[end].Method.Final()}, true
	default:
		return gradeEnd(own[end]), true
	}
}

// gradeEnd grades evidence that stands alone for the end of an instance.
func gradeEnd(e fleet.Evidence) fleet.Grade {
	switch {
	case e.Method == fleet.Attested:
		return fleet.Grade{Name: fleet.GradeAttested, Means: "a person's word; nothing that Relight saw says so", Final: true}
	case !e.Method.Final():
		return fleet.Grade{Name: fleet.GradeHalted, Means: fmt.Sprintf("its instance is off and can be switched on again, so that this counts for %s", PerishableFor), Final: false}
	case e.Released == fleet.Yes:
		return fleet.Grade{Name: fleet.GradeFreed, Means: "its instance is over for ever, and all that it had was seen to be let go", Final: true}
	default:
		return fleet.Grade{Name: fleet.GradeEnded, Means: "its instance is over for ever", Final: true}
	}
}

func overOrOff(e fleet.Evidence) string {
	if e.Method.Final() {
		return "over for ever"
	}
	return "off"
}
