package world

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"relight/internal/core/fleet"
)

// Volume is a disk with its epoch file and its lock (or attachment).
type Volume struct {
	ID     string
	Server string
	Reach  fleet.Reach
	// Place is the host of a host volume or the zone of a zone volume; empty
	// means that every host reaches it.
	Place string
	// Epoch is the highest epoch that held it; Sealed is the highest sealed one.
	Epoch  fleet.Epoch
	Sealed fleet.Epoch
	// Hidden are the hosts on which an empty directory lies in its place; see HideVolume.
	Hidden map[string]bool
	// Holder is the id of the instance with the lock or the attachment, "" if
	// it is free.
	Holder string
	// Runs are the completed writes, one entry per stretch of one epoch.
	Runs []Run

	// open are the instances that could complete a write: usually the holder
	// alone, but a lost lock does not stop its old holder.
	open []string
	// acked counts what the clients were told is durable; Check holds it against Runs.
	acked []ack
	// creating is true until a copy of a snapshot can be used; origin is how it
	// came to be.
	creating bool
	leaving  leaving
	// stuck: its attachment never ends by itself; see StickVolume.
	stuck bool
	// lun is the unit of an array behind which it lies; nil for any other disk.
	lun    *LUN
	dirty  bool
	origin *origin
	past   *past[VolumeSight]
}

// ack counts the acknowledged writes of one epoch. A slice of them takes a
// tenth of the memory of a map, and most volumes only ever see few epochs.
type ack struct {
	epoch fleet.Epoch
	count uint64
}

func (v *Volume) ackOne(e fleet.Epoch) {
	n, found := slices.BinarySearchFunc(v.acked, e, func(a ack, e fleet.Epoch) int { return cmp.Compare(a.epoch, e) })
	if !found {
		v.acked = slices.Insert(v.acked, n, ack{epoch: e})
	}
	v.acked[n].count++
}

// Run is a stretch of completed writes of one epoch.
type Run struct {
	Epoch    fleet.Epoch
	From, To uint64
	Last     time.Time

	count uint64
}

// Acked is how many writes of an epoch its clients were told to be durable.
func (v *Volume) Acked(e fleet.Epoch) uint64 {
	for _, a := range v.acked {
		if a.epoch == e {
			return a.count
		}
	}
	return 0
}

// stored counts the writes of an epoch that are on the volume.
func (v *Volume) stored(e fleet.Epoch) (n uint64) {
	for _, r := range v.Runs {
		if r.Epoch == e {
			n += r.count
		}
	}
	return n
}

// Count is how many writes completed in the stretch.
func (r Run) Count() uint64 { return r.count }

// AddVolume adds a volume, free and empty.
func (w *World) AddVolume(v Volume) {
	w.volumes[v.ID] = &v
	w.touch(&v)
}

// Volume returns the volume, or nil. Callers read it only.
func (w *World) Volume(id string) *Volume { return w.volumes[id] }

// Reaches reports whether the host could use the volume if its links are whole.
func (w *World) Reaches(host string, v *Volume) bool {
	switch v.Reach {
	case fleet.ReachHost:
		return v.Place == host
	default:
		return w.Within(host, v.Place)
	}
}

// Attach gives a volume to an instance: a keeper takes its lock, a platform
// attaches it. The epoch is written to the volume. Errors: ErrNotFound,
// ErrUnreachable (from that host), ErrSealed (epoch too old), ErrConflict (held).
func (w *World) Attach(id string, i *Instance) error {
	v := w.volumes[id]
	if v == nil {
		return fmt.Errorf("volume %s: %w", id, ErrNotFound)
	}
	h := w.hosts[i.Host]
	switch {
	case !w.Reaches(i.Host, v), i.Style == Process && !h.HasStorage():
		return fmt.Errorf("volume %s from host %s: %w", id, i.Host, ErrUnreachable)
	case i.Epoch <= v.Sealed, i.Epoch < v.Epoch:
		return fmt.Errorf("volume %s (epoch %d, sealed %d) for epoch %d: %w", id, v.Epoch, v.Sealed, i.Epoch, ErrSealed)
	case v.Holder == i.ID:
		return nil
	case v.Holder != "":
		return fmt.Errorf("volume %s is held by %s: %w", id, w.instances[v.Holder].name(), ErrConflict)
	case i.State.Gone() || i.State == fleet.InstanceStopping:
		return fmt.Errorf("%s is %s: %w", i.name(), i.State, ErrConflict)
	}
	if v.Hidden[i.Host] && v.Epoch > 0 {
		w.violate("S8", id, fmt.Sprintf("epoch %d begins on an empty directory while the data of epoch %d is out of sight", i.Epoch, v.Epoch))
	}
	w.openVolume(v, i)
	return nil
}

// HideVolume puts an empty directory in the volume's place on a host, as when its disk is
// not mounted; ShowVolume mounts it again. What has its files open keeps them.
func (w *World) HideVolume(id, host string) { w.hide(id, host, true) }

// ShowVolume undoes HideVolume.
func (w *World) ShowVolume(id, host string) { w.hide(id, host, false) }

func (w *World) hide(id, host string, is bool) {
	v := w.volumes[id]
	if v.Hidden == nil {
		v.Hidden = map[string]bool{}
	}
	v.Hidden[host] = is
	w.note("hide", id, v.Server, fmt.Sprint(host, " ", is))
	w.touch(v)
}

// Blank reports whether the host sees no record of any epoch where the volume should be.
func (w *World) Blank(id, host string) bool {
	v := w.volumes[id]
	return v != nil && (v.Epoch == 0 || v.Hidden[host])
}

func (w *World) openVolume(v *Volume, i *Instance) {
	w.tookEpoch(i)
	v.Holder, v.Epoch = i.ID, max(v.Epoch, i.Epoch)
	i.Volumes = insert(i.Volumes, v.ID)
	w.note("attach", v.ID, v.Server, i.name())
	w.touch(v)
	usable := func() {
		if v.Holder == i.ID && !slices.Contains(v.open, i.ID) {
			v.open = insert(v.open, i.ID)
			w.touch(v)
			w.writeLater(i)
		}
	}
	if i.Style == Process {
		usable()
		return
	}
	w.afterSpan(w.cfg.Delays.Attach, usable)
}

// Detach takes a volume from an instance; one that does not hold it is left
// alone. A process that executes keeps its files open: ErrConflict.
func (w *World) Detach(id string, i *Instance) error {
	v := w.volumes[id]
	if v == nil {
		return fmt.Errorf("volume %s: %w", id, ErrNotFound)
	}
	if i.Style == Process && i.Executes && slices.Contains(v.open, i.ID) {
		return fmt.Errorf("volume %s is open in %s: %w", id, i.name(), ErrConflict)
	}
	w.closeVolume(v, i)
	return nil
}

func (w *World) closeVolume(v *Volume, i *Instance) {
	i.Volumes = remove(i.Volumes, v.ID)
	v.open = remove(v.open, i.ID)
	if v.Holder == i.ID {
		if v.stuck {
			v.leaving = leavingSoon
			i.Volumes = insert(i.Volumes, v.ID)
			w.touch(v)
			return
		}
		v.Holder, v.leaving = "", leavingNot
		w.note("detach", v.ID, v.Server, i.name())
	}
	w.touch(v)
}

// Seal raises the volume's sealed epoch under its lock, from a host. Errors:
// ErrNotFound, ErrUnreachable, ErrConflict while anything holds it.
func (w *World) Seal(id string, epoch fleet.Epoch, host string) error {
	v, h := w.volumes[id], w.hosts[host]
	switch {
	case v == nil:
		return fmt.Errorf("volume %s: %w", id, ErrNotFound)
	case h == nil:
		return fmt.Errorf("host %s: %w", host, ErrNotFound)
	case !w.Reaches(host, v) || !h.HasStorage():
		return fmt.Errorf("volume %s from host %s: %w", id, host, ErrUnreachable)
	case v.Sealed >= epoch:
		return nil
	case w.Blank(id, host): // it cannot be told from an empty mount point
		return fmt.Errorf("volume %s, on which no instance ever was: %w", id, ErrConflict)
	case v.Holder != "":
		return fmt.Errorf("volume %s is held by %s: %w", id, w.instances[v.Holder].name(), ErrConflict)
	}
	v.Sealed = epoch
	w.note("seal", id, v.Server, fmt.Sprint(epoch))
	return nil
}

// LoseLock frees a volume's lock though its holder goes on writing, as a network
// file system may after a partition.
func (w *World) LoseLock(id string) {
	if v := w.volumes[id]; v != nil && v.Holder != "" {
		w.note("lose lock", id, v.Server, w.instances[v.Holder].name())
		v.Holder = ""
		w.touch(v)
	}
}

// loseLocksLater ends the lock leases of shared volumes that a host can no
// longer renew.
func (w *World) loseLocksLater(host string) {
	for _, i := range w.onHost[host] {
		w.loseSharedLocksOf(i)
	}
}

func (w *World) loseSharedLocksOf(i *Instance) {
	for _, id := range i.Volumes {
		v := w.volumes[id]
		if v.Reach != fleet.ReachShared {
			continue
		}
		w.afterSpan(w.cfg.Delays.LockLease, func() {
			if v.Holder == i.ID && !w.hosts[i.Host].HasStorage() {
				w.LoseLock(v.ID)
			}
		})
	}
}

// Format empties a volume. The world obeys, and Check reports it unless it is
// epoch 1's and empty (invariant S8).
func (w *World) Format(id string, epoch fleet.Epoch) {
	v := w.volumes[id]
	w.note("format", id, v.Server, fmt.Sprint(epoch))
	if epoch != 1 || len(v.Runs) > 0 {
		w.violate("S8", id, fmt.Sprintf("formatted at epoch %d with %d stretches of data on it", epoch, len(v.Runs)))
	}
	v.Runs = nil
	w.touch(v)
}

// Write starts a write by an instance to one of its volumes; it completes after
// the world's WriteLatency if the instance then still can.
func (w *World) Write(i *Instance, id string) {
	if v := w.volumes[id]; v != nil {
		w.write(i, v, nil)
	}
}

// write is Write; then, if it is not nil, hears whether it became durable.
func (w *World) write(i *Instance, v *Volume, then func(bool)) {
	if then == nil {
		then = func(bool) {}
	}
	if v.lun != nil {
		w.writeLUN(i, v.lun, then)
		return
	}
	if !w.canWrite(i, v) {
		then(false)
		return
	}
	i.writes++
	seq, epoch := i.writes, i.Epoch
	if w.cfg.WriteLatency <= 0 {
		w.put(v, epoch, seq, true)
		then(true)
		return
	}
	w.After(w.cfg.WriteLatency, func() {
		can := i.Epoch == epoch && w.canWrite(i, v)
		if can {
			w.put(v, epoch, seq, true)
		}
		then(can)
	})
}

// put makes a write durable; told says whether its writer hears of it.
func (w *World) put(v *Volume, epoch fleet.Epoch, seq uint64, told bool) {
	if told {
		v.ackOne(epoch)
	}
	if n := len(v.Runs); n > 0 && v.Runs[n-1].Epoch == epoch {
		v.Runs[n-1].To, v.Runs[n-1].Last = seq, w.Now()
		v.Runs[n-1].count++
		return
	}
	if n := len(v.Runs); n > 0 && v.Runs[n-1].Epoch > epoch && (v.lun == nil || !v.lun.PastUs(epoch)) {
		w.violate("S1", v.ID, fmt.Sprintf("epoch %d wrote after epoch %d had", epoch, v.Runs[n-1].Epoch))
	}
	v.Runs = append(v.Runs, Run{Epoch: epoch, From: seq, To: seq, Last: w.Now(), count: 1})
	w.touch(v)
}

// canWrite reports whether a write of the instance to the volume would complete now.
func (w *World) canWrite(i *Instance, v *Volume) bool {
	if !w.able(i) || !slices.Contains(v.open, i.ID) {
		return false
	}
	return !w.hosts[i.Host].Cut.Storage
}

// writeLater keeps a working instance writing, once per WriteEvery.
func (w *World) writeLater(i *Instance) {
	if w.cfg.WriteEvery <= 0 || i.ticking || i.App != AppOK {
		return
	}
	i.ticking = true
	w.After(w.cfg.WriteEvery, func() {
		i.ticking = false
		if !i.Executes {
			return
		}
		if i.App == AppOK {
			for _, id := range i.Volumes {
				w.Write(i, id)
			}
		}
		w.writeLater(i)
	})
}

func insert(list []string, s string) []string {
	n, found := slices.BinarySearch(list, s)
	if found {
		return list
	}
	return slices.Insert(list, n, s)
}

func remove(list []string, s string) []string {
	if n, found := slices.BinarySearch(list, s); found {
		return slices.Delete(list, n, n+1)
	}
	return list
}
