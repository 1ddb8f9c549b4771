package oracle

import (
	"slices"
	"strings"

	"relight/internal/core/fleet"
)

// S8, no leaks, no loss. The world reports a format of anything that is not epoch
// 1's and empty, whenever it happens, and data that was acknowledged and is gone. At
// rest, instances that are not gone and belong to no current epoch are leaks (see mayServe for
// servers that were not healed). What a person has frozen or paused, nobody may end; nor
// what is left of a server that people have deleted; nor, after the store was set back, what
// it lost of a server about which it asks them.
func (o *Oracle) leaks(current map[string]fleet.Epoch) {
	for _, leak := range o.w.Leaks(current) {
		name, _, _ := strings.Cut(leak.Object, ".")
		if s := o.servers[name]; s == nil || !s.gone && !o.mayBeGuarded(s) && !(!o.rewound.IsZero() && s.awaitsAPerson()) && !o.mayServe(s) {
			o.found = append(o.found, leak)
		}
	}
}

// mayServe reports that the server's recovery waits for a person or a place, as was told,
// and that all that is left of replaced epochs runs: it is left to the end of the recovery,
// for it may be all that still serves.
func (o *Oracle) mayServe(s *server) bool {
	if s.status.Recovery == nil || s.held.what != "placement" && !s.awaitsAPerson() {
		return false
	}
	for _, t := range s.live {
		if t.epoch < s.status.Epoch && t.i.State != fleet.InstanceRunning {
			return false
		}
	}
	return true
}

// awaitsAPerson reports that people were told that the server waits for them.
func (s *server) awaitsAPerson() bool {
	return slices.Contains([]string{"approval", "mode", "proof", "storm"}, s.held.what)
}
