package controller

import (
	"slices"
	"time"

	"relight/internal/core/fleet"
)

// keepNotes bounds the notes that a status carries with it.
const keepNotes = 16

// noted adds what a step that starts or attaches has found besides. A later one about the
// same takes its place; without a word only a start does, because what was found on a volume
// of which nobody speaks again stays true. What epoch 1 found stays beside what later ones
// say: it is what lay on a volume before anything of the server's wrote to it.
func noted(notes []fleet.Note, step fleet.Step, text string, now time.Time) []fleet.Note {
	if !step.Kind.NeedsProof() || text == "" && step.Kind == fleet.StepAttach {
		return notes
	}
	out := slices.DeleteFunc(slices.Clone(notes), func(n fleet.Note) bool {
		first := n.Step == fleet.StepAttach && n.Epoch == 1 && step.Epoch > 1
		return n.Step == step.Kind && n.Object == step.Object && !first
	})
	if text != "" {
		out = append(out, fleet.Note{Step: step.Kind, Object: step.Object, Epoch: step.Epoch, At: now, Text: text})
	}
	return out[max(0, len(out)-keepNotes):]
}
