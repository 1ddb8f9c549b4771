package world

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"relight/internal/core/fleet"
)

// LUN returns the unit behind which the volume lies, or nil.
func (v *Volume) LUN() *LUN { return v.lun }

// Array returns the unit's array. Callers read it only.
func (l *LUN) Array() *Array { return l.array }

// EpochIQN is the initiator's name of one epoch of a server.
func EpochIQN(server string, epoch fleet.Epoch) string {
	return server + ".e" + strconv.FormatUint(uint64(epoch), 10)
}

// EpochOf is the reverse of EpochIQN; 0 for any other name.
func EpochOf(server, iqn string) fleet.Epoch {
	n, err := strconv.ParseUint(strings.TrimPrefix(iqn, server+".e"), 10, 64)
	if err != nil || EpochIQN(server, fleet.Epoch(n)) != iqn {
		return 0
	}
	return fleet.Epoch(n)
}

// LetIn maps a unit for an epoch of its server: from here on it is ours, whoever had let it
// in before. One that was shut out must not come back (invariant S2).
func (w *World) LetIn(l *LUN, epoch fleet.Epoch) {
	if l.shut[epoch] {
		w.violate("S2", l.name(), fmt.Sprintf("epoch %d is let in again after it was shut out", epoch))
	}
	if !l.LetsIn(epoch) {
		w.Map(l, EpochIQN(l.disk.Server, epoch))
	}
	l.pastUs = slices.DeleteFunc(l.pastUs, func(e fleet.Epoch) bool { return e == epoch })
	l.disk.Epoch = max(l.disk.Epoch, epoch)
}

// Epochs lists the epochs that the unit's array shows for it, sorted: those that may
// log in, and those with a session.
func (l *LUN) Epochs() []fleet.Epoch {
	var out []fleet.Epoch
	add := func(iqn string) {
		if e := EpochOf(l.disk.Server, iqn); e != 0 && !slices.Contains(out, e) {
			out = append(out, e)
		}
	}
	for _, iqn := range l.maps {
		add(iqn)
	}
	for _, s := range l.Sessions() {
		add(s.Nexus.IQN)
	}
	slices.Sort(out)
	return out
}

// LetsIn reports whether the epoch may log in.
func (l *LUN) LetsIn(epoch fleet.Epoch) bool {
	return slices.Contains(l.maps, EpochIQN(l.disk.Server, epoch))
}

// Shut takes an epoch out of a unit's map, ends its sessions and waits for what they
// brought in. It reports whether the array then shows nothing of the epoch.
func (w *World) Shut(l *LUN, epoch fleet.Epoch) bool {
	iqn := EpochIQN(l.disk.Server, epoch)
	w.Unmap(l, iqn)
	for _, s := range slices.Clone(l.port.sessions) {
		if s.Nexus.IQN == iqn {
			w.KillSession(s)
			if l.array.trouble.Slow == 0 {
				w.Settle(s)
			}
		}
	}
	if !l.Drained(iqn) {
		return false
	}
	l.noteShut(epoch)
	return true
}

func (l *LUN) noteShut(epoch fleet.Epoch) {
	if l.shut == nil {
		l.shut = map[fleet.Epoch]bool{}
	}
	l.shut[epoch] = true
	l.pastUs = slices.DeleteFunc(l.pastUs, func(e fleet.Epoch) bool { return e == epoch })
}

// TakeAway takes a unit off line for an epoch that is out of its map and whose sessions
// stay listed: they have no unit from here on. It reports false, and changes nothing, if
// the epoch is in the map or a command of it is inside.
func (w *World) TakeAway(l *LUN, epoch fleet.Epoch) bool {
	iqn := EpochIQN(l.disk.Server, epoch)
	if slices.Contains(l.maps, iqn) || slices.Contains(l.Inside(), epoch) {
		return false
	}
	for _, s := range l.port.sessions {
		if s.Nexus.IQN == iqn {
			s.known = slices.DeleteFunc(s.known, func(n int) bool { return n == l.Number })
		}
	}
	if !l.Bare(epoch) {
		l.bare = append(l.bare, epoch)
	}
	l.noteShut(epoch)
	w.note("take away", l.name(), "", iqn)
	w.touch(l)
	return true
}

// Bare reports that the epoch's sessions may be listed, and have the unit no more.
func (l *LUN) Bare(epoch fleet.Epoch) bool { return slices.Contains(l.bare, epoch) }

// Refuses reports that the epoch can bring nothing more to the unit.
func (l *LUN) Refuses(epoch fleet.Epoch) bool {
	return l.Drained(EpochIQN(l.disk.Server, epoch)) || l.Bare(epoch)
}

// KeepLUN has the array keep a unit's data as an epoch left them, once for the epoch.
// Errors: ErrConflict while an initiator may use it.
func (w *World) KeepLUN(l *LUN, epoch fleet.Epoch) (*Snapshot, error) {
	switch e := l.Epochs(); {
	case len(e) > 0:
		return nil, fmt.Errorf("%s is mapped to epoch %d: %w", l.name(), e[0], ErrConflict)
	case l.Stranger():
		return nil, fmt.Errorf("%s is mapped to %s: %w", l.name(), stranger, ErrConflict)
	case l.array.trouble.Full:
		return nil, fmt.Errorf("array %s is full: %w", l.array.Name, ErrCapacity)
	}
	return w.TakeSnapshot(l.Volume, fleet.SnapshotName(l.disk.Server, epoch)+" of "+l.Volume)
}

// Plug gives an instance a LUN as a disk. What it may do there its array decides, at
// each login.
func (w *World) Plug(i *Instance, l *LUN) error {
	if i.State.Gone() {
		return fmt.Errorf("%s is %s: %w", i.name(), i.State, ErrConflict)
	}
	i.Volumes = insert(i.Volumes, l.Volume)
	w.note("plug", l.name(), i.Server, i.name())
	w.touch(l)
	w.writeLater(i)
	return nil
}

// initiator returns the instance's own, made anew if what the last one had in memory
// is gone.
func (w *World) initiator(i *Instance) *Initiator {
	list := i.net().initiators
	if n := len(list); n > 0 && list[n-1].lives() && list[n-1].epoch == i.Epoch {
		return list[n-1]
	}
	return w.NewInitiator(i, EpochIQN(i.Server, i.Epoch), "")
}

// writeLUN starts a write of an instance to a LUN.
func (w *World) writeLUN(i *Instance, l *LUN, then func(bool)) {
	if !w.able(i) || !slices.Contains(i.Volumes, l.Volume) {
		then(false)
		return
	}
	if err := w.submit(w.initiator(i), l, CmdWrite, then); err != nil {
		then(false)
	}
}

// hangUp ends the sessions of an instance that executes no more: the kernel of its
// host closes their connections, unless the host is gone too.
func (w *World) hangUp(i *Instance) {
	if i.places == nil || !w.hosts[i.Host].runs() {
		return
	}
	for _, ini := range i.places.initiators {
		for _, s := range slices.Clone(ini.sessions) {
			if w.reachesArray(ini, s.array) {
				w.closeSession(s)
			}
		}
	}
}
