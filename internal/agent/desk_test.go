package agent

import (
	"testing"

	"relight/internal/core/fleet"
	"relight/internal/provider/onprem/link"
)

// TestDeskTellsRequestsOfOneTokenApart: a result that is on its way is not taken for that
// of another request which came with its token.
func TestDeskTellsRequestsOfOneTokenApart(t *testing.T) {
	command := func(volume string) hand {
		return handOf(link.Command{ID: "T1", Step: fleet.Step{Kind: fleet.StepAttach, Server: "db", Epoch: 1, Object: fleet.Object{Volume: volume}, Token: "T1"}})
	}
	d := newDesk()
	if !d.begin(command("data")) || d.begin(command("data")) {
		t.Fatal("a command that was handed out again was begun twice, or never")
	}
	if !d.begin(command("log")) {
		t.Fatal("another request was taken for the first one")
	}
	if !d.end(command("log")) || d.end(command("data")) || !d.end(command("data")) {
		t.Fatal("the one that was handed out again is to be delivered once more, and no other")
	}
	if left := d.knows(); len(left) > 0 {
		t.Fatalf("it still knows %v", left)
	}
}
