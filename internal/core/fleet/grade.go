package fleet

import "fmt"

// GradeName names how far a proof goes.
type GradeName string

// The grades. They are no order of strength: what is halted answers at no address, which
// what is shut out still may; what is shut out stays so, which what is halted may not.
const (
	// GradeFreed: over for ever, and all that it had was read back as let go.
	GradeFreed GradeName = "freed"
	// GradeEnded: over for ever, by the record of who cannot lie about it.
	GradeEnded GradeName = "ended"
	// GradeBoth: off or over, and its volumes refuse it as well.
	GradeBoth GradeName = "both"
	// GradeShutOut: every volume refuses it; whether it runs nobody knows.
	GradeShutOut GradeName = "shutOut"
	// GradeHalted: read back as off, which can be undone.
	GradeHalted GradeName = "halted"
	// GradeAttested: a person's word. Nothing that Relight saw speaks for it.
	GradeAttested GradeName = "attested"
	// GradeUnstarted: there was never an instance.
	GradeUnstarted GradeName = "unstarted"
)

// Grade is how far a proof goes: what it stands on and what it leaves open. It is told
// to people and asked for by nothing: which evidence is enough is for fence.Prove alone, and
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
