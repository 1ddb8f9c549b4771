package client

import (
	"fmt"

	"relight/internal/core/fleet"
)

// NoteLines say, for people, what the steps that gave a server its volumes and started it
// have found besides.
func NoteLines(s fleet.Status) []string {
	var out []string
	for _, n := range s.Notes {
		out = append(out, fmt.Sprintf("seen at the %s of epoch %d at %s: %s", n.Step, n.Epoch, n.At.UTC().Format("2006-01-02 15:04:05 UTC"), n.Text))
	}
	return out
}
