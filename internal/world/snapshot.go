package world

import (
	"fmt"
	"slices"
	"time"

	"relight/internal/core/fleet"
)

// Snapshot is a copy of a volume as it was at one point in time.
type Snapshot struct {
	ID     string
	Volume string
	Server string
	// At is the point in time; Completed is when it could first be used, zero
	// while it is pending.
	At        time.Time
	Completed time.Time
	// Lineage is the chain of volumes that the data has come from, oldest first,
	// ending with Volume.
	Lineage []string

	runs          []Run
	acked         []ack
	epoch, sealed fleet.Epoch
}

// origin is how a copied volume came to be.
type origin struct {
	snapshot *Snapshot
	// stated is the time before which everything is on the copy by somebody's
	// statement; zero if nobody stated anything.
	stated time.Time
}

// Loss is what a copy lacks of its source's acknowledged writes.
type Loss struct {
	Volume, Snapshot string
	// Since is the snapshot's point in time: later writes are not on the copy.
	Since time.Time
	// Writes is how many acknowledged writes are lost, exactly.
	Writes uint64
	// Stated is true if somebody stated a loss that covers this one.
	Stated bool
}

// TakeSnapshot begins a snapshot of the volume as it is now, once for its token.
// Errors: ErrNotFound, ErrVolumeState (creating), ErrTokenMismatch,
// ErrTokenEnded.
func (w *World) TakeSnapshot(volume, token string) (*Snapshot, error) {
	v := w.volumes[volume]
	switch {
	case v == nil:
		return nil, fmt.Errorf("volume %s: %w", volume, ErrNotFound)
	case v.creating:
		return nil, fmt.Errorf("volume %s is creating: %w", volume, ErrVolumeState)
	}
	id, err := w.Once(token, "snapshot "+volume, func() (string, error) {
		w.seq++
		s := &Snapshot{
			ID: fmt.Sprintf("snap-%06d", w.seq), Volume: volume, Server: v.Server, At: w.Now(),
			Lineage: []string{volume}, runs: slices.Clone(v.Runs), acked: slices.Clone(v.acked),
		}
		s.epoch, s.sealed = v.Epoch, v.Sealed
		if v.origin != nil {
			s.Lineage = append(slices.Clone(v.origin.snapshot.Lineage), volume)
		}
		w.snapshots[s.ID] = s
		w.note("snapshot", s.ID, v.Server, volume)
		w.afterSpan(w.cfg.Delays.Snapshot, func() {
			s.Completed = w.Now()
			w.note("snapshot completed", s.ID, s.Server, "")
		})
		return s.ID, nil
	})
	if err != nil {
		return nil, err
	}
	if w.snapshots[id] == nil {
		return nil, fmt.Errorf("token %s, snapshot %s: %w", token, id, ErrTokenEnded)
	}
	return w.snapshots[id], nil
}

// Snapshot returns the snapshot, or nil. Callers read it only.
func (w *World) Snapshot(id string) *Snapshot { return w.snapshots[id] }

// CopyVolume makes a volume out of a snapshot, in any place, once for its token;
// v gives id, server, reach and place. Errors: ErrNotFound, ErrVolumeState (the
// snapshot is pending), ErrConflict (the id is taken), ErrTokenMismatch,
// ErrTokenEnded.
func (w *World) CopyVolume(snapshot string, v Volume, token string) (*Volume, error) {
	s := w.snapshots[snapshot]
	switch {
	case s == nil:
		return nil, fmt.Errorf("snapshot %s: %w", snapshot, ErrNotFound)
	case s.Completed.IsZero():
		return nil, fmt.Errorf("snapshot %s is pending: %w", snapshot, ErrVolumeState)
	}
	id, err := w.Once(token, "copy "+snapshot+" to "+v.ID+" in "+v.Place, func() (string, error) {
		if w.volumes[v.ID] != nil {
			return "", fmt.Errorf("volume %s: %w", v.ID, ErrConflict)
		}
		w.AddVolume(Volume{ID: v.ID, Server: v.Server, Reach: v.Reach, Place: v.Place, Epoch: s.epoch, Sealed: s.sealed})
		c := w.volumes[v.ID]
		c.Runs, c.acked, c.creating, c.origin = slices.Clone(s.runs), slices.Clone(s.acked), true, &origin{snapshot: s}
		w.note("copy", v.ID, v.Server, snapshot)
		w.afterSpan(w.cfg.Delays.Copy, func() { c.creating = false; w.touch(c) })
		return v.ID, nil
	})
	if err != nil {
		return nil, err
	}
	if w.volumes[id] == nil {
		return nil, fmt.Errorf("token %s, volume %s: %w", token, id, ErrTokenEnded)
	}
	return w.volumes[id], nil
}

// StateLoss records that somebody stated the loss of everything that was written
// after a time, before a copy came into use.
func (w *World) StateLoss(copied string, after time.Time) error {
	v := w.volumes[copied]
	if v == nil || v.origin == nil {
		return fmt.Errorf("copied volume %s: %w", copied, ErrNotFound)
	}
	v.origin.stated = after
	w.note("state loss", copied, v.Server, "")
	w.touch(v)
	return nil
}

// LossOf returns what a copy lacks of all that was ever acknowledged on its
// source, also after the snapshot; false for a volume that is no copy.
func (w *World) LossOf(copied string) (Loss, bool) {
	v := w.volumes[copied]
	if v == nil || v.origin == nil {
		return Loss{}, false
	}
	s := v.origin.snapshot
	loss := Loss{Volume: copied, Snapshot: s.ID, Since: s.At, Stated: !v.origin.stated.IsZero() && !s.At.Before(v.origin.stated)}
	source := w.volumes[s.Volume]
	if source == nil {
		source = w.deleted[s.Volume]
	}
	loss.Writes = total(source.acked) - total(s.acked)
	return loss, true
}

func total(acks []ack) (n uint64) {
	for _, a := range acks {
		n += a.count
	}
	return n
}

// checkLoss reports a copy that is in use and lacks writes that nobody stated to
// be lost: a severed server must say what it lost (invariant S2).
func (w *World) checkLoss(v *Volume) {
	loss, copied := w.LossOf(v.ID)
	if copied && len(v.open) > 0 && loss.Writes > 0 && !loss.Stated {
		w.violate("S2", v.ID, fmt.Sprintf("in use without %d acknowledged writes, and nobody stated their loss", loss.Writes))
	}
}
