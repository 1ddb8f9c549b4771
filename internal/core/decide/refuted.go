package decide

import (
	"fmt"
	"slices"

	"relight/internal/core/fleet"
)

// heard is the view of a server that is seen to work, without the words that this makes
// void: they are void at once, and not only once the verdict is recorded.
func heard(v View) View {
	st := v.Status
	st.Verdict = v.Finding.Verdict
	v.Status, _ = Refuted(st)
	return v
}

// Refuted takes from a server that is seen to work what people said against that: their
// word on its present epoch would prove it dead for ever, and the next failure, weeks
// later, would start a second one without ending the first (S2). It returns a sentence
// about what is void, or nothing.
func Refuted(s fleet.Status) (fleet.Status, string) {
	wrong := func(e fleet.Evidence) bool {
		return e.Method == fleet.Attested && e.Server == s.Server && e.Epoch == s.Epoch
	}
	at := slices.IndexFunc(s.Evidence, wrong)
	if s.Verdict != fleet.Healthy || s.Recovery != nil || at < 0 {
		return s, ""
	}
	void := fmt.Sprintf("that epoch %d is dead, as %s said, is void", s.Epoch, s.Evidence[at].By)
	s.Evidence = slices.DeleteFunc(slices.Clone(s.Evidence), wrong)
	return s, void
}
