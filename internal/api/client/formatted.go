package client

import (
	"fmt"

	"relight/internal/core/fleet"
)

// FormattedLines say, for people, which of a server's volumes were formatted by a guest
// agent, and when.
func FormattedLines(s fleet.Status) []string {
	var out []string
	for _, f := range s.Formatted {
		out = append(out, fmt.Sprintf("volume %s (%s, serial %s) was formatted by the guest agent of epoch %d at %s", f.Volume, f.ID, f.Serial, f.Epoch, f.At.UTC().Format("2006-01-02 15:04:05 UTC")))
	}
	return out
}
