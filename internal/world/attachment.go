package world

import (
	"fmt"
	"slices"

	"relight/internal/core/fleet"
)

// State is the volume's state at a platform: creating, available or in-use.
func (v *Volume) State() string {
	switch {
	case v.creating:
		return "creating"
	case v.Holder != "":
		return "in-use"
	default:
		return "available"
	}
}

// attachment is the state of the attachment at a platform, or "".
func (v *Volume) attachment() string {
	switch {
	case v.Holder == "":
		return ""
	case v.leaving == leavingBusy:
		return "busy"
	case v.leaving == leavingSoon:
		return "detaching"
	case !slices.Contains(v.open, v.Holder):
		return "attaching"
	default:
		return "attached"
	}
}

// leaving is how far a detach has come.
type leaving uint8

const (
	leavingNot leaving = iota
	leavingSoon
	leavingBusy // the guest still has it mounted, which may last for ever
)

// AttachVolume attaches a volume as a cloud does, which knows no epochs: it stops
// a second holder, but not an old one. Errors: ErrNotFound, ErrVolumeState,
// ErrVolumeInUse, ErrZoneMismatch, ErrInstanceState (neither running nor stopped).
func (w *World) AttachVolume(id string, i *Instance) error {
	v := w.volumes[id]
	switch {
	case v == nil:
		return fmt.Errorf("volume %s: %w", id, ErrNotFound)
	case v.creating:
		return fmt.Errorf("volume %s is creating: %w", id, ErrVolumeState)
	case v.Holder != "":
		return fmt.Errorf("volume %s is held by %s: %w", id, w.instances[v.Holder].name(), ErrVolumeInUse)
	case !w.Reaches(i.Host, v):
		return fmt.Errorf("volume %s is in %s, %s is not: %w", id, v.Place, i.name(), ErrZoneMismatch)
	case i.State != fleet.InstanceRunning && i.State != fleet.InstanceStopped:
		return fmt.Errorf("%s is %s: %w", i.name(), i.PlatformState(), ErrInstanceState)
	}
	w.openVolume(v, i)
	return nil
}

// DetachVolume detaches a volume as a cloud does: one that a guest has mounted
// hangs busy until it is unmounted, its machine ends, or force takes it away
// with whatever was not flushed. Errors: ErrNotFound, ErrNotAttached.
func (w *World) DetachVolume(id string, i *Instance, force bool) error {
	v := w.volumes[id]
	switch {
	case v == nil:
		return fmt.Errorf("volume %s: %w", id, ErrNotFound)
	case v.Holder != i.ID:
		return fmt.Errorf("volume %s, %s: %w", id, i.name(), ErrNotAttached)
	case v.leaving != leavingNot && !force:
		return nil
	}
	v.leaving = leavingSoon
	w.note("detaching", id, v.Server, i.name())
	w.touch(v)
	w.afterSpan(w.cfg.Delays.Detach, func() {
		if v.Holder != i.ID || v.leaving == leavingNot || v.stuck && !force {
			return
		}
		v.stuck = v.stuck && !force
		if !force && i.Executes && slices.Contains(v.open, i.ID) {
			v.leaving = leavingBusy
			w.touch(v)
			return
		}
		w.closeVolume(v, i)
	})
	return nil
}

// StickVolume has the volume's attachment hang, as a platform's own fault may: no detach
// and not even the end of its instance frees it, until one detaches it by force.
func (w *World) StickVolume(id string) {
	if v := w.volumes[id]; v != nil {
		v.stuck = true
		w.note("stuck", id, v.Server, "")
	}
}

// Unmount lets a guest close a volume properly: it writes no more to it, and a
// detach that is under way completes.
func (w *World) Unmount(id string, i *Instance) {
	v := w.volumes[id]
	if v == nil || v.Holder != i.ID {
		return
	}
	v.open = remove(v.open, i.ID)
	w.touch(v)
	w.endBusy(v, i)
}

// endBusy completes a detach that waited for the guest.
func (w *World) endBusy(v *Volume, i *Instance) {
	if v.leaving == leavingBusy && v.Holder == i.ID {
		w.closeVolume(v, i)
	}
}
