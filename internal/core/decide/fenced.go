package decide

import "relight/internal/core/fleet"

// Fenced is the highest epoch that the record of a server calls fenced, or about to be:
// no array may let it in again. It is written before any array hears of the fence, so
// that a controller that dies in the middle leaves a fence that the next one knows.
func Fenced(s fleet.Status) fleet.Epoch {
	var top fleet.Epoch
	if s.Epoch > 0 {
		top = s.Epoch - 1 // the epoch after was taken with a proof
	}
	for _, e := range s.Evidence {
		if e.Server == s.Server && e.Method.EndsInstance() {
			top = max(top, e.Epoch)
		}
	}
	if s.Restore != nil {
		top = max(top, s.Epoch) // proved dead before, and shut out before its volumes change
	}
	return max(top, shutByArray(s))
}

// shutByArray is the highest epoch that an array was made to shut out, or may have been.
func shutByArray(s fleet.Status) fleet.Epoch {
	var top fleet.Epoch
	for _, e := range s.Evidence {
		if e.Server == s.Server && e.Method == fleet.InitiatorRemoved {
			top = max(top, e.Epoch)
		}
	}
	r := s.Recovery
	if r == nil {
		return top
	}
	if r.Last != nil && shuts(r.Last.Step) && r.Last.State != fleet.StepFailed {
		top = max(top, r.Last.Step.Epoch)
	}
	for _, t := range r.Fences {
		if t.Array && t.Shut {
			top = max(top, t.Epoch)
		}
	}
	return top
}

// shuts reports whether a step has an array shut an epoch out. A snapshot does so too:
// it is of what nobody can write to.
func shuts(s fleet.Step) bool {
	return s.Kind == fleet.StepSeal && s.Via == "" || s.Kind == fleet.StepSnapshot
}
