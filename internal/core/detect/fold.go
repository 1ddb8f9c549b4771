package detect

import (
	"time"

	"relight/internal/core/fleet"
)

// FlapWindow is the span over which changes of an answer are counted; after it
// has passed without a change the count starts again.
const FlapWindow = time.Minute

// Fold joins a source's new signal with its last one: Since stays while the
// answer and the epoch stay, also in between by the source's own word, and Flaps
// counts the changes of the answer. A source that cannot tell keeps neither.
func Fold(prev, next fleet.Signal) fleet.Signal {
	same := prev.Source == next.Source && prev.Question == next.Question && prev.Epoch == next.Epoch
	if !same || prev.At.IsZero() {
		next.Since, next.Flaps = sinceOf(next), 0
		return next
	}
	if next.At.Before(prev.At) {
		// A late, older observation must not undo a newer one.
		return prev
	}
	next.Flaps = prev.Flaps
	if prev.Answer == next.Answer {
		if since := sinceOf(next); !since.Before(prev.At) && since.Before(next.At) {
			// Its source says that the answer is younger than our last look: it was another
			// one in between. A no that was broken by a yes must wait anew (S4).
			next.Since = since
			return next
		}
		next.Since = earlier(prev.Since, sinceOf(next))
		if next.At.Sub(next.Since) > FlapWindow {
			next.Flaps = 0
		}
		return next
	}
	next.Since = sinceOf(next)
	if prev.Answer != fleet.CannotTell && next.Answer != fleet.CannotTell {
		next.Flaps++
	}
	return next
}

// sinceOf trusts a source that says since when, and otherwise counts from the look.
func sinceOf(s fleet.Signal) time.Time {
	if s.Since.IsZero() || s.Since.After(s.At) {
		return s.At
	}
	return s.Since
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
