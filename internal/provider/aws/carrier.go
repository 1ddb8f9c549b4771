package aws

import (
	"slices"

	"relight/internal/core/fleet"
)

// carriers are the machines whose tag names the epoch. It is one, unless a person has
// copied it with its tags: nothing of what EC2 tells says which is the copy.
func carriers(all []Machine, epoch fleet.Epoch) []Machine {
	return slices.DeleteFunc(slices.Clone(all), func(m Machine) bool { return epochOf(m) != epoch })
}

// over reports that a machine executes nothing: it is stopped or terminated.
func over(m Machine) bool { return ending(m) > 0 }

func ending(m Machine) int { return m.state().Ending() }

// leastEnded are those of the list that have ended least, in its order: what they do tells
// of an epoch, and not that another one of it has ended.
func leastEnded(list []Machine) []Machine {
	var out []Machine
	for _, m := range list {
		if len(out) > 0 && ending(m) < ending(out[0]) {
			out = nil
		}
		if len(out) == 0 || ending(m) == ending(out[0]) {
			out = append(out, m)
		}
	}
	return out
}
