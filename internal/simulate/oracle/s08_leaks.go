package oracle

import (
	"slices"
	"strings"

	"relight/internal/core/fleet"
)

// S8, no leaks, no loss. The world reports a format of anything that is not epoch
// 1's and empty, whenever it happens, and data that was acknowledged and is gone. At
// rest, instances that are not gone and belong to no current epoch are leaks (see lastHeld for
// servers that were not healed). What a person has frozen or paused, nobody may end; nor
// what is left of a server that people have deleted; nor, after the store was set back, what
// it lost of a server about which it asks them.
func (o *Oracle) leaks(current map[string]fleet.Epoch) {
	for _, leak := range o.w.Leaks(current) {
		server, _, _ := strings.Cut(leak.Object, ".")
		if s := o.servers[server]; s == nil || !s.gone && o.guard(s) == "" && !(!o.rewound.IsZero() && s.awaitsAPerson()) && !s.homeless() {
			o.found = append(o.found, leak)
		}
	}
}

// homeless reports that its recovery waits for a place: what runs of older epochs is left to
// its end, for it may be all that still answers.
func (s *server) homeless() bool { return s.status.Recovery != nil && s.held.what == "placement" }

// awaitsAPerson reports that people were told that the server waits for them.
func (s *server) awaitsAPerson() bool {
	return slices.Contains([]string{"approval", "mode", "proof"}, s.held.what)
}
