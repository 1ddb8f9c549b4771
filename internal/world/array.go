package world

import (
	"fmt"
	"slices"

	"relight/internal/core/fleet"
)

// Command is a kind of SCSI command, as far as reservations tell them apart.
type Command string

// The commands.
const (
	CmdRead            Command = "read"
	CmdWrite           Command = "write"
	CmdWriteSame       Command = "write same"
	CmdWriteVerify     Command = "write and verify"
	CmdORWrite         Command = "orwrite"
	CmdUnmap           Command = "unmap"
	CmdCompareAndWrite Command = "compare and write"
)

// ArrayTraits are what one make of array does, and what it only seems to do.
type ArrayTraits struct {
	// UnmapStops: the end of a map also ends what live sessions may do. Without
	// it a map only guards logins, and a live session writes on.
	UnmapStops bool
	// ListsDraining: a session that was killed is listed until the last command
	// that it brought in has landed. Without it an empty list proves nothing.
	ListsDraining bool
	// PreemptAborts: preempt and abort exists, and drops the victim's commands.
	PreemptAborts bool
	// KeysSurvive: a registration outlives its session, for the same nexus.
	KeysSurvive bool
	// KeysPersist: registrations outlive a restart of the array.
	KeysPersist bool
	// Forgets: a restart takes the maps.
	Forgets bool
	// Unguarded are writing commands that a reservation does not stop.
	Unguarded []Command
}

// TGT is the user-space target tgt 1.0.85, as it was measured.
func TGT() ArrayTraits {
	return ArrayTraits{ListsDraining: true, Unguarded: []Command{CmdWriteSame, CmdWriteVerify, CmdORWrite, CmdUnmap}}
}

// LIO is the Linux kernel's target, as it was measured.
func LIO() ArrayTraits {
	return ArrayTraits{UnmapStops: true, ListsDraining: true, PreemptAborts: true, KeysSurvive: true}
}

// Array is a SAN array with its sessions.
type Array struct {
	Name string
	// Site is where it stands, for links that are severed.
	Site   string
	Traits ArrayTraits
	// Latency is how long a command is inside it: from its acceptance, whatever
	// becomes of its session, until it has landed.
	Latency Span
	Dead    bool
	// Away is true while its management answers nobody, though data go on; Stuck
	// while sessions that are killed are listed on, and write on.
	Away, Stuck bool
	// LastResort: its declaration lets a fence take units off line.
	LastResort bool

	trouble ArrayTrouble
	targets map[string]*target
	names   []string // of the targets, sorted
}

// target is a name to log in to, with its units by number.
type target struct {
	units    []*LUN
	sessions []*Session
}

// LUN is a unit of a target of an array, backed by a volume.
type LUN struct {
	Target string // the target's IQN
	Number int
	Volume string
	// Offline units answer nothing; what was accepted before still lands.
	Offline bool

	array *Array
	disk  *Volume
	port  *target
	maps  []string // initiator IQNs, sorted
	// registered are the reservation keys by nexus, in the order in which they
	// came; reserved is the nexus that holds a write-exclusive reservation.
	registered []registration
	reserved   Nexus
	// shut are the epochs that were shut out and seen to be, each for itself: a later one
	// that somebody had let in may be shut out while an earlier one still serves. pastUs
	// are those that a person has let in since.
	shut   map[fleet.Epoch]bool
	pastUs []fleet.Epoch
	// bare are the epochs from whose sessions the unit was taken away.
	bare  []fleet.Epoch
	dirty bool
}

// SetArray sets whether an array is dead, its management away, its sessions stuck.
func (w *World) SetArray(a *Array, dead, away, stuck bool) {
	a.Dead, a.Away, a.Stuck = dead, away, stuck
	w.note("array", a.Name, "", "")
	for _, t := range a.targets { // touches: the order is all one
		for _, l := range t.units {
			w.touch(l)
		}
	}
}

// AddArray adds an array.
func (w *World) AddArray(a Array) *Array {
	a.targets = map[string]*target{}
	w.arrays[a.Name] = &a
	return &a
}

// Array returns the array, or nil. Callers read it only.
func (w *World) Array(name string) *Array { return w.arrays[name] }

// AddLUN puts a volume behind a unit of a target, by its name. Errors: ErrNotFound
// (array or volume), ErrConflict (the number is taken).
func (w *World) AddLUN(array, name string, number int, volume string) (*LUN, error) {
	a := w.arrays[array]
	if a == nil || w.volumes[volume] == nil {
		return nil, fmt.Errorf("array %s, volume %s: %w", array, volume, ErrNotFound)
	}
	t := a.targets[name]
	if t == nil {
		t = &target{}
		a.targets[name], a.names = t, insert(a.names, name)
	}
	l := &LUN{Target: name, Number: number, Volume: volume, array: a, disk: w.volumes[volume], port: t}
	l.disk.lun = l
	n, taken := t.find(number)
	if taken {
		return nil, fmt.Errorf("unit %s: %w", l.name(), ErrConflict)
	}
	t.units = slices.Insert(t.units, n, l)
	return l, nil
}

func (t *target) find(number int) (int, bool) {
	return slices.BinarySearchFunc(t.units, number, func(l *LUN, n int) int { return l.Number - n })
}

// LUN returns a unit of the array, or nil.
func (a *Array) LUN(name string, number int) *LUN {
	if t := a.targets[name]; t != nil {
		if n, found := t.find(number); found {
			return t.units[n]
		}
	}
	return nil
}

func (l *LUN) name() string { return fmt.Sprintf("%s,%d", l.Target, l.Number) }

// Maps returns the initiators that the unit is mapped to, sorted.
func (l *LUN) Maps() []string { return l.maps }

// Map lets an initiator log in to the unit's target and use the unit.
func (w *World) Map(l *LUN, iqn string) {
	l.maps = insert(l.maps, iqn)
	l.bare = slices.DeleteFunc(l.bare, func(e fleet.Epoch) bool { return EpochIQN(l.disk.Server, e) == iqn })
	w.note("map", l.name(), "", iqn)
	w.touch(l)
}

// Unmap takes the unit from an initiator. What that means for a live session is
// the array's trait; a command inside the array lands in any case.
func (w *World) Unmap(l *LUN, iqn string) {
	l.maps = remove(l.maps, iqn)
	w.note("unmap", l.name(), "", iqn)
	w.touch(l)
	if !l.array.Traits.UnmapStops || l.port.mapped(iqn) {
		return
	}
	for _, s := range slices.Clone(l.port.sessions) {
		if s.Nexus.IQN == iqn {
			w.closeSession(s)
		}
	}
}

// mapped reports whether any unit of the target is mapped to the initiator.
func (t *target) mapped(iqn string) bool {
	return slices.ContainsFunc(t.units, func(l *LUN) bool { return slices.Contains(l.maps, iqn) })
}

// SetOffline takes a unit off line or brings it back.
func (w *World) SetOffline(l *LUN, offline bool) {
	l.Offline = offline
	w.note("offline", l.name(), "", "")
	w.touch(l)
}

// RestartArray ends all sessions with the commands inside, and keeps maps and
// reservations only if the array does.
func (w *World) RestartArray(a *Array) {
	w.note("restart array", a.Name, "", "")
	for _, name := range a.names {
		t := a.targets[name]
		for _, s := range slices.Clone(t.sessions) {
			for _, c := range s.inside {
				c.aborted = true
			}
			w.closeSession(s)
		}
		t.sessions = nil
		for _, l := range t.units {
			if !a.Traits.KeysPersist {
				l.registered, l.reserved = nil, Nexus{}
			}
			if a.Traits.Forgets {
				l.maps = nil
			}
			w.touch(l)
		}
	}
}

func (l *LUN) soil() bool    { return soil(&l.dirty) }
func (l *LUN) record(*World) {}

// check reports two epochs whose initiators could both write now.
func (l *LUN) check(w *World) {
	l.dirty = false
	var first *Initiator
	for _, s := range l.port.sessions {
		ini := s.initiator
		if s.closing || ini.instance == nil || l.PastUs(ini.epoch) || !w.able(ini.instance) || w.accept(s, l, CmdWrite) != nil || !w.reachesArray(ini, l.array) {
			continue
		}
		if first != nil && (first.epoch != ini.epoch || first.instance != ini.instance) {
			w.violate("S1", l.name(), fmt.Sprintf("%s and %s can both write", first.instance.name(), ini.instance.name()))
		}
		first = ini
	}
}
