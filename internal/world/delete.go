package world

import "fmt"

// DeleteVolume deletes a volume. The platform obeys, and Check reports one that
// holds data unless a person ordered it (invariant S8).
// Errors: ErrNotFound, ErrVolumeInUse.
func (w *World) DeleteVolume(id string, ordered bool) error {
	v := w.volumes[id]
	switch {
	case v == nil:
		return fmt.Errorf("volume %s: %w", id, ErrNotFound)
	case v.Holder != "" || len(v.open) > 0:
		return fmt.Errorf("volume %s: %w", id, ErrVolumeInUse)
	}
	w.note("delete volume", id, v.Server, "")
	if len(v.Runs) > 0 && !ordered {
		w.violate("S8", id, fmt.Sprintf("deleted with %d stretches of data on it", len(v.Runs)))
	}
	delete(w.volumes, id)
	w.deleted[id] = v
	return nil
}

// DeleteSnapshot deletes a snapshot; volumes that were made of it stay.
// Errors: ErrNotFound.
func (w *World) DeleteSnapshot(id string) error {
	s := w.snapshots[id]
	if s == nil {
		return fmt.Errorf("snapshot %s: %w", id, ErrNotFound)
	}
	w.note("delete snapshot", id, s.Server, "")
	delete(w.snapshots, id)
	return nil
}

// DeleteInterface deletes an interface. Errors: ErrNotFound, ErrInterfaceInUse.
func (w *World) DeleteInterface(id string) error {
	n := w.interfaces[id]
	switch {
	case n == nil:
		return fmt.Errorf("interface %s: %w", id, ErrNotFound)
	case n.Holder != "":
		return fmt.Errorf("interface %s is held by %s: %w", id, w.instances[n.Holder].name(), ErrInterfaceInUse)
	}
	w.note("delete interface", id, n.Server, "")
	delete(w.interfaces, id)
	for _, ip := range n.IPs {
		delete(w.byIP, ip)
	}
	for _, a := range w.Addresses() {
		if a.Interface == id {
			w.Disassociate(a.IP)
		}
	}
	return nil
}
