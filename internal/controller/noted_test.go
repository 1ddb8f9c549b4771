package controller

import (
	"fmt"
	"testing"
	"time"

	"relight/internal/core/fleet"
)

func TestNotesOfSteps(t *testing.T) {
	data, more := fleet.Object{Volume: "data"}, fleet.Object{Volume: "more"}
	var notes []fleet.Note
	does := func(kind fleet.StepKind, o fleet.Object, e fleet.Epoch, text string) {
		notes = noted(notes, fleet.Step{Kind: kind, Object: o, Epoch: e}, text, time.Unix(int64(e), 0))
	}
	is := func(want ...string) {
		t.Helper()
		var got []string
		for _, n := range notes {
			got = append(got, fmt.Sprintf("%s %s of %d: %s", n.Step, n.Object.Volume, n.Epoch, n.Text))
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("there are %q, want %q", got, want)
		}
	}
	does(fleet.StepAttach, data, 1, "holds xfs")
	does(fleet.StepAttach, more, 1, "is empty")
	does(fleet.StepLaunch, fleet.Object{}, 1, "not announced")
	does(fleet.StepStop, fleet.Object{}, 1, "quiesced")
	first := notes
	is("attach data of 1: holds xfs", "attach more of 1: is empty", "launch  of 1: not announced")
	does(fleet.StepAttach, data, 2, "")
	does(fleet.StepLaunch, fleet.Object{}, 2, "")
	is("attach data of 1: holds xfs", "attach more of 1: is empty")
	does(fleet.StepAttach, data, 3, "is larger")
	is("attach data of 1: holds xfs", "attach more of 1: is empty", "attach data of 3: is larger")
	does(fleet.StepAttach, data, 4, "is smaller")
	is("attach data of 1: holds xfs", "attach more of 1: is empty", "attach data of 4: is smaller")
	does(fleet.StepAttach, data, 4, "")
	is("attach data of 1: holds xfs", "attach more of 1: is empty", "attach data of 4: is smaller")
	if len(first) != 3 || first[0].Text != "holds xfs" || first[2].Step != fleet.StepLaunch {
		t.Errorf("what was recorded before has changed: %+v", first)
	}
	for i := range fleet.Epoch(100) {
		does(fleet.StepAttach, fleet.Object{Volume: fmt.Sprint(i)}, i, "is empty")
	}
	if len(notes) != keepNotes || notes[keepNotes-1].Epoch != 99 {
		t.Errorf("%d are kept, the last of epoch %d", len(notes), notes[len(notes)-1].Epoch)
	}
}
