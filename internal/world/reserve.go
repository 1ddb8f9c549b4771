package world

import (
	"fmt"
	"slices"
)

// registration is a reservation key of a nexus.
type registration struct {
	nexus Nexus
	key   uint64
}

// guard is what a write-exclusive, registrants-only reservation does to a command.
func (l *LUN) guard(s *Session, kind Command) error {
	if l.reserved == (Nexus{}) || kind == CmdRead || l.keyOf(s.Nexus) != 0 || slices.Contains(l.array.Traits.Unguarded, kind) {
		return nil
	}
	return fmt.Errorf("%s of %s: %w", kind, s.Nexus.IQN, ErrReservation)
}

func (l *LUN) keyOf(n Nexus) uint64 {
	for _, r := range l.registered {
		if r.nexus == n {
			return r.key
		}
	}
	return 0
}

// dropKeys removes registrations; a reservation goes with its holder's.
func (l *LUN) dropKeys(which func(registration) bool) {
	l.registered = slices.DeleteFunc(l.registered, which)
	if l.keyOf(l.reserved) == 0 {
		l.reserved = Nexus{}
	}
}

// reserveCommand checks that a session can give a reservation command.
func (w *World) reserveCommand(s *Session, l *LUN) error {
	if !w.reachesArray(s.initiator, s.array) {
		return fmt.Errorf("array %s: %w", s.array.Name, ErrUnreachable)
	}
	return w.accept(s, l, CmdRead)
}

// RegisterKey gives the session's nexus a key, or takes it away (zero). held is the
// key that it has now; with ignore it need not be right, so that a preempted
// nexus can simply come back. Errors: ErrReservation, and those of any command.
func (w *World) RegisterKey(s *Session, l *LUN, held, key uint64, ignore bool) error {
	if err := w.reserveCommand(s, l); err != nil {
		return err
	}
	if has := l.keyOf(s.Nexus); has != held && !ignore {
		return fmt.Errorf("register by %s: %w", s.Nexus.IQN, ErrReservation)
	}
	reserved := l.reserved == s.Nexus && key != 0
	l.dropKeys(func(r registration) bool { return r.nexus == s.Nexus })
	if key != 0 {
		l.registered = append(l.registered, registration{s.Nexus, key})
	}
	if reserved {
		l.reserved = s.Nexus
	}
	w.note("register", l.name(), "", s.Nexus.IQN)
	w.touch(l)
	return nil
}

// Reserve takes the write-exclusive, registrants-only reservation for the
// session's nexus. Errors: ErrReservation if its key is another or another holds it.
func (w *World) Reserve(s *Session, l *LUN, key uint64) error {
	if err := w.reserveCommand(s, l); err != nil {
		return err
	}
	if key == 0 || l.keyOf(s.Nexus) != key || l.reserved != (Nexus{}) && l.reserved != s.Nexus {
		return fmt.Errorf("reserve by %s: %w", s.Nexus.IQN, ErrReservation)
	}
	l.reserved = s.Nexus
	w.note("reserve", l.name(), "", s.Nexus.IQN)
	w.touch(l)
	return nil
}

// Preempt removes all registrations of the victim's key, and takes the
// reservation if one of them held it. Without abort, what the victim brought in
// before still lands. Errors: ErrReservation if the own key is another or nobody
// has the victim's; ErrUnsupported for abort where the array has none.
func (w *World) Preempt(s *Session, l *LUN, key, victim uint64, abort bool) error {
	if err := w.reserveCommand(s, l); err != nil {
		return err
	}
	isVictim := func(r registration) bool { return r.key == victim }
	switch {
	case abort && !l.array.Traits.PreemptAborts:
		return fmt.Errorf("preempt and abort on %s: %w", l.array.Name, ErrUnsupported)
	case key == 0 || l.keyOf(s.Nexus) != key || !slices.ContainsFunc(l.registered, isVictim):
		return fmt.Errorf("preempt by %s: %w", s.Nexus.IQN, ErrReservation)
	}
	held := l.reserved != (Nexus{}) && l.keyOf(l.reserved) == victim
	var out []Nexus
	for _, r := range l.registered {
		if isVictim(r) && r.nexus != s.Nexus {
			out = append(out, r.nexus)
		}
	}
	l.dropKeys(func(r registration) bool { return slices.Contains(out, r.nexus) })
	if held {
		l.reserved = s.Nexus
	}
	if abort {
		l.abort(out)
	}
	w.note("preempt", l.name(), "", s.Nexus.IQN)
	w.touch(l)
	return nil
}

// abort drops the commands of nexuses that are inside the array for the unit.
func (l *LUN) abort(victims []Nexus) {
	for _, s := range l.port.sessions {
		for _, c := range s.inside {
			if c.lun == l && slices.Contains(victims, s.Nexus) {
				c.aborted = true
			}
		}
	}
}

// Keys is the key list, as it is read back: one per registered nexus.
func (l *LUN) Keys() []uint64 {
	var keys []uint64
	for _, r := range l.registered {
		keys = append(keys, r.key)
	}
	return keys
}

// Reserved is the nexus that holds the reservation; the zero Nexus if none does.
func (l *LUN) Reserved() Nexus { return l.reserved }
