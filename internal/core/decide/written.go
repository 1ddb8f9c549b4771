package decide

import (
	"fmt"
	"slices"

	"relight/internal/core/fleet"
)

// withFresh allows an attach to find its directory without a record, if no instance that
// had this volume was ever started. Later such a directory is not the volume: its disk may
// not be mounted, and whatever ran there would start empty and pass for healed (S8, S14).
func withFresh(v View, step fleet.Step) fleet.Step {
	vol := volumeOf(v.Server, step.Object.Volume)
	if vol.Path == "" {
		return step
	}
	// The own epoch's mark is no bar: a repeated call must be the same one (S7).
	barred := func(b fleet.Written) bool { return b.Volume == vol.Name && b.Epoch != step.Epoch }
	step.Fresh = !slices.ContainsFunc(written(v, step), barred)
	return step
}

// written is the list of the volumes that may hold data, once the step was sent. A start
// counts from its intent: whether it had an effect may never be known. An epoch of which
// only the resources know was started by a store that is lost, with whatever volumes.
func written(v View, step fleet.Step) []fleet.Written {
	if step.Epoch > v.Status.Epoch+1 {
		v.Status.Written = writtenBy(v, step.Epoch-1)
	}
	if step.Kind == fleet.StepLaunch || step.Kind == fleet.StepRecover {
		return writtenBy(v, step.Epoch)
	}
	return v.Status.Written
}

// writtenBy adds those of the server's directories that are not in the list.
func writtenBy(v View, epoch fleet.Epoch) []fleet.Written {
	return Written(v.Status.Written, v.Server, epoch)
}

// Written returns the list with all directory volumes of the server, as a store that was set
// back must have it: what was started since nobody knows.
func Written(list []fleet.Written, s fleet.Server, epoch fleet.Epoch) []fleet.Written {
	list = slices.Clone(list)
	for _, vol := range s.Spec.Identity.Volumes {
		if vol.Path != "" && !isWritten(list, vol.Name) {
			list = append(list, fleet.Written{Volume: vol.Name, Epoch: epoch})
		}
	}
	return list
}

func isWritten(list []fleet.Written, volume string) bool {
	return slices.ContainsFunc(list, func(b fleet.Written) bool { return b.Volume == volume })
}

// emptyRefusal keeps a server away from a host on which its volume is an empty directory:
// the agent would refuse it, and an epoch would be used up to learn that.
func emptyRefusal(v View, vol fleet.Volume, h fleet.Host) string {
	empty := func(o fleet.VolumeState) bool { return o.Volume == vol.Name && o.Host == h.Name && o.Fresh }
	if vol.Path == "" || !isWritten(v.Status.Written, vol.Name) || !slices.ContainsFunc(v.Observed.Volumes, empty) {
		return ""
	}
	return fmt.Sprintf("its %s has no record of %s, so it is not volume %s; mount the disk there, or to begin empty type there: relight agent mark-volume %s --server %s", vol.Path, v.Server.Name, vol.Name, vol.Path, v.Server.Name)
}
