package client_test

import (
	"testing"

	"relight/internal/api/client"
	"relight/internal/core/decide"
	"relight/internal/core/fleet"
)

// The one command that lets a storm go on is named where the storm holds.
func TestWhyNamesTheWordForAStorm(t *testing.T) {
	w := client.Why{
		Server: "db", Decision: decide.Decision{Hold: &decide.Hold{Gate: decide.GateStorm}},
		Guards: fleet.Guards{Storm: &fleet.StormRecord{ID: "storm-7"}},
	}
	if got := client.NextCommands(w); len(got) == 0 || got[0] != "relight storm go-on storm-7 --reason ..." {
		t.Errorf("next: %q", got)
	}
}
