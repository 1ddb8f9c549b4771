package fence

import (
	"fmt"
	"slices"

	"relight/internal/core/fleet"
)

// GradeName names how far a proof goes.
type GradeName string

// The grades. They are no order of strength: what is halted answers at no address, which
// what is shut out still may; what is shut out stays so, which what is halted may not.
const (
	// Freed: over for ever, and all that it had was read back as let go.
	Freed GradeName = "freed"
	// Ended: over for ever, by the record of who cannot lie about it.
	Ended GradeName = "ended"
	// Both: off or over, and its volumes refuse it as well.
	Both GradeName = "both"
	// ShutOut: every volume refuses it; whether it runs nobody knows.
	ShutOut GradeName = "shutOut"
	// Halted: read back as off, which can be undone.
	Halted GradeName = "halted"
	// Attested: a person's word. Nothing that Relight saw speaks for it.
	Attested GradeName = "attested"
	// Unstarted: there was never an instance.
	Unstarted GradeName = "unstarted"
)

// Grade is how far a proof goes: what it stands on and what it leaves open. It is told
// to people and asked for by nothing: which evidence is enough is for Prove alone, and
// the weakest grade allows the next epoch as much as the best.
type Grade struct {
	Name GradeName `json:"name"`
	// Means says it in a sentence for people.
	Means string `json:"means"`
	// Final is whether all that it stands on stays true for ever.
	Final bool `json:"final"`
}

// String is the grade with its meaning.
func (g Grade) String() string { return fmt.Sprintf("%s: %s", g.Name, g.Means) }

// Grade grades a proof; false for the zero Proof.
func (p Proof) Grade() (Grade, bool) {
	if !p.ok {
		return Grade{}, false
	}
	own := slices.DeleteFunc(slices.Clone(p.evidence), func(e fleet.Evidence) bool { return e.Method == fleet.NeverStarted })
	end := slices.IndexFunc(own, func(e fleet.Evidence) bool { return e.Method != fleet.Sealed && e.Method != fleet.InitiatorRemoved })
	switch {
	case len(own) == 0:
		return Grade{Unstarted, "no instance was ever started", true}, true
	case end < 0:
		return Grade{ShutOut, "each of its volumes refuses it for ever; its instance may run on, and answer at its addresses", true}, true
	case len(own) > 1:
		return Grade{Both, "its instance is " + overOrOff(own[end]) + ", and the volumes that can refuse it do", own[end].Method.Final()}, true
	default:
		return gradeEnd(own[end]), true
	}
}

// gradeEnd grades evidence that stands alone for the end of an instance.
func gradeEnd(e fleet.Evidence) Grade {
	switch {
	case e.Method == fleet.Attested:
		return Grade{Attested, "a person's word; nothing that Relight saw says so", true}
	case !e.Method.Final():
		return Grade{Halted, fmt.Sprintf("its instance is off and can be switched on again, so that this counts for %s", PerishableFor), false}
	case e.Released == fleet.Yes:
		return Grade{Freed, "its instance is over for ever, and all that it had was seen to be let go", true}
	default:
		return Grade{Ended, "its instance is over for ever", true}
	}
}

func overOrOff(e fleet.Evidence) string {
	if e.Method.Final() {
		return "over for ever"
	}
	return "off"
}
