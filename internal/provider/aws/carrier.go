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
func over(m Machine) bool {
	return m.state() == fleet.InstanceStopped || m.state() == fleet.InstanceTerminated
}

// ending is how far a machine has ended: 0 if it lives or may, 1 if it is stopped, 2 if it
// is terminated.
func ending(m Machine) int {
	switch m.state() {
	case fleet.InstanceTerminated:
		return 2
	case fleet.InstanceStopped:
		return 1
	default:
		return 0
	}
}

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
