package world

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"relight/internal/core/fleet"
)

// parkedMax is how many commands a guest holds while its unit does not answer;
// then its applications block.
const parkedMax = 64

// replayEvery is how often a guest with parked commands tries to log in again.
const replayEvery = time.Second

// Nexus is one initiator port as an array tells them apart.
type Nexus struct{ IQN, ISID string }

// Initiator is one end of iSCSI sessions: a guest's, which holds commands that it
// could not send and sends them again later, or a controller's.
type Initiator struct {
	IQN string
	// ISID is drawn anew for each login if it is empty, as user-space initiators
	// do; then nothing ties a new session to an old one.
	ISID string
	Host string

	instance *Instance // nil for a controller's
	epoch    fleet.Epoch
	turn     uint32
	sessions []*Session
	parked   []*command
	retrying bool
}

// Session is a login of an initiator at a target.
type Session struct {
	ID     uint64
	Nexus  Nexus
	Target string

	array     *Array
	port      *target
	initiator *Initiator
	// known are the units that were mapped at login.
	known   []int
	closing bool
	inside  []*command
}

// command is a command on its way.
type command struct {
	lun     *LUN
	kind    Command
	epoch   fleet.Epoch
	seq     uint64
	landed  bool
	aborted bool
	// then, if it is not nil, hears whether the guest was told that it is durable.
	then func(bool)
}

// hear tells the guest's application once.
func (c *command) hear(durable bool) {
	if then := c.then; then != nil {
		c.then = nil
		then(durable)
	}
}

// NewInitiator gives an instance an initiator, under a name that an epoch should
// not share with another; a nil instance makes a controller's.
func (w *World) NewInitiator(i *Instance, iqn, isid string) *Initiator {
	ini := &Initiator{IQN: iqn, ISID: isid, instance: i}
	if i != nil {
		ini.Host, ini.epoch, ini.turn = i.Host, i.Epoch, i.turn
		i.net().initiators = append(i.net().initiators, ini)
	}
	return ini
}

// Parked is how many commands the guest holds.
func (ini *Initiator) Parked() int { return len(ini.parked) }

// lives reports whether what the initiator had in memory is still there: not
// after a crash, a reboot, or a start anew.
func (ini *Initiator) lives() bool {
	return ini.instance == nil || ini.instance.Executes && ini.turn == ini.instance.turn
}

func (w *World) reachesArray(ini *Initiator, a *Array) bool {
	if a.Dead {
		return false
	}
	return w.hosts[ini.Host] == nil || w.HasPath(ini.Host, a)
}

// Login opens a session. Errors: ErrUnreachable; ErrLoginRefused for an initiator
// that no unit of the target is mapped to.
func (w *World) Login(ini *Initiator, array, name string) (*Session, error) {
	a := w.arrays[array]
	switch {
	case a == nil || !w.reachesArray(ini, a) || ini.instance != nil && !w.able(ini.instance):
		return nil, fmt.Errorf("array %s from %s: %w", array, ini.IQN, ErrUnreachable)
	case a.targets[name] == nil || !a.targets[name].mapped(ini.IQN):
		return nil, fmt.Errorf("target %s for %s: %w", name, ini.IQN, ErrLoginRefused)
	}
	t := a.targets[name]
	w.seq++
	s := &Session{ID: w.seq, Nexus: Nexus{ini.IQN, ini.ISID}, Target: name, array: a, port: t, initiator: ini}
	if ini.ISID == "" {
		s.Nexus.ISID = fmt.Sprintf("random-%d", s.ID)
	}
	for _, old := range slices.Clone(t.sessions) {
		if old.Nexus == s.Nexus {
			w.closeSession(old) // the new login takes the old one's place
		}
	}
	for _, l := range t.units {
		if slices.Contains(l.maps, ini.IQN) {
			s.known = append(s.known, l.Number)
			w.touch(l)
		}
	}
	t.sessions = append(t.sessions, s)
	ini.sessions = append(ini.sessions, s)
	w.note("login", name, "", ini.IQN)
	return s, nil
}

// Sessions lists a target's sessions, as its array does.
func (a *Array) Sessions(name string) []*Session {
	var out []*Session
	if a.targets[name] == nil {
		return nil
	}
	for _, s := range a.targets[name].sessions {
		if !s.closing || a.Traits.ListsDraining {
			out = append(out, s)
		}
	}
	return out
}

// Sessions lists the sessions of the unit's target, as its array does.
func (l *LUN) Sessions() []*Session { return l.array.Sessions(l.Target) }

// KillSession ends a session from the array's side. Its initiator may log in
// again at once if it is still mapped; what it brought in still lands.
// One that is stuck does nothing.
func (w *World) KillSession(s *Session) {
	if !s.array.Stuck {
		w.closeSession(s)
	}
}

// Settle lets the commands that a closed session brought in land now: what whoever
// waits until the session is gone sees.
func (w *World) Settle(s *Session) {
	for _, c := range slices.Clone(s.inside) {
		if s.closing {
			w.land(s, c)
		}
	}
}

func (w *World) closeSession(s *Session) {
	if s.closing {
		return
	}
	s.closing = true
	w.note("close session", s.Target, "", s.Nexus.IQN)
	ini := s.initiator
	ini.sessions = slices.DeleteFunc(ini.sessions, func(o *Session) bool { return o == s })
	for _, c := range s.inside {
		w.park(ini, c) // never acknowledged, so the guest will send it again
	}
	if !s.array.Traits.KeysSurvive {
		for _, l := range s.port.units {
			l.dropKeys(func(r registration) bool { return r.nexus == s.Nexus })
			w.touch(l)
		}
	}
	s.drained()
}

// drained forgets a closed session once nothing of it is inside any more.
func (s *Session) drained() {
	if s.closing && len(s.inside) == 0 {
		s.port.sessions = slices.DeleteFunc(s.port.sessions, func(o *Session) bool { return o == s })
	}
}

// accept reports whether the array takes a command of a session.
func (w *World) accept(s *Session, l *LUN, kind Command) error {
	switch {
	case s.closing:
		return fmt.Errorf("%s: %w", s.Nexus.IQN, ErrNoSession)
	case !slices.Contains(l.maps, s.Nexus.IQN) && (s.array.Traits.UnmapStops || !slices.Contains(s.known, l.Number)):
		return fmt.Errorf("%s for %s: %w", l.name(), s.Nexus.IQN, ErrNoUnit)
	case l.Offline || l.array.trouble.Full && kind != CmdRead:
		return fmt.Errorf("%s: %w", l.name(), ErrOffline)
	}
	return l.guard(s, kind)
}

// Submit sends a command of a guest to a unit. What does not get through for now
// is parked and sent again until it does: the guest sees only that it takes long.
// Errors: ErrReservation, which the guest sees; ErrUnreachable if the guest does
// not execute or has parked all that it can.
func (w *World) Submit(ini *Initiator, l *LUN, kind Command) error {
	return w.submit(ini, l, kind, nil)
}

// submit is Submit; then, if it is not nil, hears whether the command became durable:
// of one that is parked the application hears no yes, for it waited too long.
func (w *World) submit(ini *Initiator, l *LUN, kind Command, then func(bool)) error {
	i := ini.instance
	if i == nil || !w.able(i) || !ini.lives() {
		return fmt.Errorf("%s executes nothing: %w", ini.IQN, ErrUnreachable)
	}
	if len(ini.parked) >= parkedMax {
		return fmt.Errorf("%s is blocked: %w", ini.IQN, ErrUnreachable)
	}
	i.writes++
	c := &command{lun: l, kind: kind, epoch: ini.epoch, seq: i.writes, then: then}
	if len(ini.parked) > 0 {
		w.park(ini, c) // in order
		return nil
	}
	err := w.send(ini, c)
	if err != nil && !errors.Is(err, ErrReservation) {
		w.park(ini, c)
		return nil
	}
	return err
}

// send brings a command into the array, over a new session if need be.
func (w *World) send(ini *Initiator, c *command) error {
	a := c.lun.array
	if !w.reachesArray(ini, a) {
		return fmt.Errorf("array %s: %w", a.Name, ErrUnreachable)
	}
	n := slices.IndexFunc(ini.sessions, func(s *Session) bool { return s.array == a && s.Target == c.lun.Target })
	var s *Session
	if n >= 0 {
		s = ini.sessions[n]
	} else {
		var err error
		if s, err = w.Login(ini, a.Name, c.lun.Target); err != nil {
			return err
		}
	}
	if err := w.accept(s, c.lun, c.kind); err != nil {
		return err
	}
	if c.kind == CmdRead {
		return nil
	}
	in := *c
	in.landed, in.aborted = false, false // it is sent once more
	c.then = nil
	s.inside = append(s.inside, &in)
	w.afterSpan(a.latency(), func() { w.land(s, &in) })
	return nil
}

// land completes a command inside the array. Nothing that happened to its
// session, its map or its host stops it; the guest hears of it only over a
// session that still lives.
func (w *World) land(s *Session, c *command) {
	if c.landed {
		return
	}
	s.inside = slices.DeleteFunc(s.inside, func(o *command) bool { return o == c })
	if !c.aborted {
		c.landed = true
		told := !s.closing && s.initiator.lives() && w.reachesArray(s.initiator, s.array)
		if c.lun.shut[c.epoch] && !c.lun.PastUs(c.epoch) {
			w.violate("S2", c.lun.name(), fmt.Sprintf("a write of epoch %d landed after it was shut out", c.epoch))
		}
		w.put(c.lun.disk, c.epoch, c.seq, told)
		c.hear(told)
	}
	c.hear(false)
	s.drained()
}

// park keeps a command in the guest's memory and tries again later.
func (w *World) park(ini *Initiator, c *command) {
	c.hear(false)
	if ini.instance == nil || !ini.lives() {
		return
	}
	ini.parked = append(ini.parked, c)
	w.retryLater(ini)
}

func (w *World) retryLater(ini *Initiator) {
	if ini.retrying {
		return
	}
	ini.retrying = true
	w.After(replayEvery, func() {
		ini.retrying = false
		if !ini.lives() {
			ini.parked = nil
			return
		}
		if w.able(ini.instance) {
			w.replay(ini)
		}
		if len(ini.parked) > 0 {
			w.retryLater(ini)
		}
	})
}

// replay sends parked commands in order, until one does not get through.
func (w *World) replay(ini *Initiator) {
	for len(ini.parked) > 0 {
		err := w.send(ini, ini.parked[0])
		if err != nil && !errors.Is(err, ErrReservation) {
			return
		}
		ini.parked = ini.parked[1:]
	}
}

// Drained reports whether an initiator can bring nothing more to a unit, as its
// array tells it: it is not mapped, and has no session with the target.
func (l *LUN) Drained(iqn string) bool {
	return !slices.Contains(l.maps, iqn) &&
		!slices.ContainsFunc(l.array.Sessions(l.Target), func(s *Session) bool { return s.Nexus.IQN == iqn })
}
