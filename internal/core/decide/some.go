package decide

import "relight/internal/core/fleet"

// Suffices reports that a decision which was made with only some of the hosts in its
// view stands. Where it says that no host will do, others may; and what is harsher
// than need be is decided with all of them.
//
// The hosts in the view must be those that the server ran on or may run on, those
// beside them, and the emptiest of the others.
func Suffices(v View, d Decision) bool {
	if goal := goalOf(v); goal != "" && hostByName(v.Hosts, goal) == nil {
		return false // that it is not in the view does not mean that there is none
	}
	if d.Step != nil {
		switch kind := d.Step.Kind; {
		case kind == fleet.StepClimb || kind == fleet.StepGiveUp || kind == fleet.StepCallOff:
			return false
		case phaseOf(kind) == phaseFence:
			return !v.Traits.Seals // the hosts that could seal may be others
		default:
			return true
		}
	}
	if d.Hold == nil {
		return true
	}
	switch d.Hold.Gate {
	case GateLadder, GateProof, GatePlacement:
		return false
	default:
		return true
	}
}
