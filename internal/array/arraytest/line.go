package arraytest

import (
	"context"
	"errors"
	"slices"
	"strings"

	"relight/internal/array"
	"relight/internal/array/iscsi"
)

// probing is what a probe tries with on a LUN that an epoch has: as the holder against the
// epoch where the array has one, else with two sessions of the epoch.
func (s *suite) probing(cfg iscsi.Config, units map[int]string) array.Probing {
	s.Helper()
	holding := cfg
	if k, ok := s.h.Array.(array.Reserver); ok {
		m := s.holder("db", units)
		t, err := k.LetHolder(s.ctx, m)
		s.must("let the holder in", err)
		holding = m.Config(t)
	}
	holding.ISID = [6]byte{0x80, 1, 0, 0, 0, 0}
	cfg.ISID = [6]byte{0x80, 2, 0, 0, 0, 0}
	other := s.login(cfg)
	return array.Probing{
		Holder: s.login(holding), Other: other, LUN: 1,
		Again: func(context.Context) (iscsi.Path, error) {
			_ = other.Close()
			other = s.login(cfg)
			return other, nil
		},
		Another: func(context.Context) (iscsi.Path, error) {
			beside := cfg
			beside.ISID = [6]byte{0x80, 3, 0, 0, 0, 0}
			return s.login(beside), nil
		},
	}
}

func (s *suite) reservations() {
	units := s.luns(1)
	cfg := s.start(ref("db", 1), units)
	var with array.Probing
	for range 2 { // it cleans up behind itself
		with = s.probing(cfg, units)
		got, err := array.Probe(s.ctx, with)
		s.must("probe", err)
		ok, why := got.SecondLine()
		s.Logf("second line %v: %v; %+v", ok, why, got)
		if ok != s.h.SecondLine || !got.Preempts || got.Commands["WRITE(16)"] != array.Stopped || len(got.Commands) != 9 {
			s.Errorf("second line %v, want %v: %+v", ok, s.h.SecondLine, got)
		}
		if _, lets := s.h.Array.(array.Reserver); ok && !lets {
			s.Error("reservations are a second line, and the driver lets no holder in")
		}
	}
	c := s.login(cfg)
	s.must("write", s.write(c, 1, 900, "somebody's"))
	s.must("write", s.write(c, 1, 0, "somebody's"))
	_, err := array.Probe(s.ctx, with)
	s.want("probe of a LUN with data", err, array.ErrConflict)
	s.holds(c, 1, 0, "somebody's")
}

func (s *suite) holder(server string, units map[int]string) array.Map {
	s.Helper()
	m, err := array.NewHolder(s.h.Prefix, server, units, strings.NewReader("holderofholders!"))
	s.must("new holder", err)
	return m
}

// line is the second line of a server; a test of it is skipped on an array that has none.
func (s *suite) line(server string, units map[int]string) *array.Line {
	s.Helper()
	k, ok := s.h.Array.(array.Reserver)
	if !ok {
		s.Skip("this array lets no holder in")
	}
	return &array.Line{Array: k, Holder: s.holder(server, units), Dial: s.h.Connect}
}

// raised maps an epoch with the second line raised.
func (s *suite) raised(l *array.Line, r array.Ref, units map[int]string) iscsi.Config {
	s.Helper()
	s.must("lower", l.Lower(s.ctx, r.Epoch))
	m := s.newMap(r, units)
	t, err := s.array.Map(s.ctx, m, dead(r.Server, r.Epoch))
	s.must("map", err)
	s.must("raise", l.Raise(s.ctx, m, t))
	s.stands(l, r, true)
	return m.Config(t)
}

// stands wants the line to stand for an epoch that has a map, or not to.
func (s *suite) stands(l *array.Line, r array.Ref, want bool) {
	s.Helper()
	at, err := s.h.Array.(array.Locator).Locate(s.ctx, r)
	s.must("locate", err)
	if is, err := l.Stands(s.ctx, s.known[r], at); err != nil || is != want {
		s.Errorf("the second line of %+v stands: %v, %v; want %v", r, is, err, want)
	}
}

// conflicts wants a write to be refused for the reservation.
func (s *suite) conflicts(what string, c array.Conn, unit int) {
	s.Helper()
	err := s.write(c, unit, 9, "stale")
	var status *iscsi.StatusError
	if !errors.As(err, &status) || status.Reply.Status != iscsi.ReservationConflict {
		s.Errorf("%s: write to unit %d gave %v, want a reservation conflict", what, unit, err)
	}
}

// secondLine: the epoch that runs writes through any session, under any identifier; its
// key carries its number; the fence takes that away and says so; the next one has its own.
func (s *suite) secondLine() {
	units := s.luns(1, 12)
	l := s.line("db", units)
	if stands, err := l.Stands(s.ctx, array.Map{}, array.Target{}); err != nil || stands {
		s.Errorf("a second line stands from the start: %v, %v", stands, err)
	}
	first := s.raised(l, ref("db", 1), units)
	for range 3 { // each with an identifier of its own, as QEMU reconnects
		c := s.login(first)
		for unit := range units {
			s.must("write of the epoch that runs", s.write(c, unit, 9, "first"))
		}
		keys, err := iscsi.Keys(s.ctx, c, 12)
		slices.Sort(keys)
		if want := []uint64{array.Key("db", 0), array.Key("db", 1)}; err != nil || !slices.Equal(keys, want) {
			s.Errorf("keys %#x, %v, want %#x", keys, err, want)
		}
		_ = c.Close()
	}
	s.must("raise again", l.Raise(s.ctx, s.known[ref("db", 1)], array.Target{Portal: first.Portal, IQN: first.Target}))

	s.journal(ref("db", 1))
	s.keys = l
	evidence, err := s.runFence(ref("db", 1), first)
	s.must("fence", err)
	if len(evidence) != 2 || !strings.HasPrefix(evidence[0].Detail, "reservation keys up to its own preempted, and the keys read again, initiator out of the map") {
		s.Errorf("evidence %+v", evidence)
	}
	second := s.raised(l, ref("db", 2), units)
	c := s.login(second)
	for unit := range units {
		s.must("write of the next epoch", s.write(c, unit, 9, "second"))
	}
	if holder, ours, held, err := iscsi.Holder(s.ctx, c, 1); err != nil || !held || !ours || holder != array.Key("db", 0) {
		s.Errorf("the reservation is held by %#x, %v, %v, %v", holder, ours, held, err)
	}
	s.want("raise of the epoch before", l.Raise(s.ctx, s.known[ref("db", 1)], array.Target{}), array.ErrFenced)
	s.want("lower for the epoch before", l.Lower(s.ctx, 1), array.ErrFenced)
	s.stands(l, ref("db", 2), true)
}

// lineKeepsOut: what the maps let in and should not is refused by the reservation: the
// epoch whose key was taken, before its map is gone.
func (s *suite) lineKeepsOut() {
	units := s.luns(1, 2)
	l := s.line("db", units)
	cfg := s.raised(l, ref("db", 1), units)
	c := s.login(cfg)
	s.must("write", s.write(c, 1, 9, "first"))
	taken, err := l.Preempt(s.ctx, 1)
	if err != nil || taken != 2 {
		s.Errorf("%d keys were taken, %v", taken, err)
	}
	for unit := range units {
		s.conflicts("an epoch without its key", c, unit)
	}
	again := s.login(cfg)
	s.conflicts("an epoch that comes back without its key", again, 2)
	s.holds(again, 1, 9, "first")
	if taken, err := l.Preempt(s.ctx, 1); err != nil || taken != 0 {
		s.Errorf("%d keys were taken the second time, %v", taken, err)
	}
}

// lineUndisturbed: where somebody else has keys on a LUN, they stay, and the line is not
// raised.
func (s *suite) lineUndisturbed() {
	units := s.luns(1)
	l := s.line("db", units)
	cfg := s.start(ref("db", 1), units)
	c := s.login(cfg)
	_, err := iscsi.Do(s.ctx, c, "register", iscsi.Register(1, 0xabcdef))
	s.must("register", err)
	s.want("lower", l.Lower(s.ctx, 1), array.ErrForeign)
	s.want("raise", l.Raise(s.ctx, s.known[ref("db", 1)], array.Target{Portal: cfg.Portal, IQN: cfg.Target}), array.ErrForeign)
	if keys, err := iscsi.Keys(s.ctx, c, 1); err != nil || !slices.Equal(keys, []uint64{0xabcdef}) {
		s.Errorf("keys %#x, %v", keys, err)
	}
	s.must("write", s.write(c, 1, 9, "first"))
}

// holderAndSnapshot: the holder writes nothing, and is in the way neither of a snapshot nor
// of its being put back; the line is raised anew after that.
func (s *suite) holderAndSnapshot() {
	units := s.luns(1)
	l := s.line("db", units)
	cfg := s.raised(l, ref("db", 1), units)
	c := s.login(cfg)
	s.must("write", s.write(c, 1, 9, "first"))
	name := array.SnapshotName(ref("db", 1))
	_, err := s.array.Snapshot(s.ctx, units[1], name)
	s.want("snapshot while the epoch has a map", err, array.ErrMapped)
	s.stop(ref("db", 1), cfg)
	_, err = s.array.Snapshot(s.ctx, units[1], name)
	s.must("snapshot", err)
	cfg = s.raised(l, ref("db", 2), units)
	c = s.login(cfg)
	s.must("write", s.write(c, 1, 9, "second"))
	s.stop(ref("db", 2), cfg)
	cfg = s.raised(l, ref("db", 3), units)
	s.want("a snapshot is put back under an epoch", s.array.RestoreSnapshot(s.ctx, units[1], name), array.ErrMapped)
	s.stands(l, ref("db", 3), true)
	s.stop(ref("db", 3), cfg)
	s.must("put the snapshot back", s.array.RestoreSnapshot(s.ctx, units[1], name))
	s.holds(s.login(s.raised(l, ref("db", 4), units)), 1, 9, "first")
}

// holderLeaves: with the holder its reservation goes, so that an epoch which nobody
// registered writes; and it is in nobody's way.
func (s *suite) holderLeaves() {
	units := s.luns(1)
	l := s.line("db", units)
	cfg := s.raised(l, ref("db", 1), units)
	if all, err := l.Array.Holders(s.ctx); err != nil || !slices.Equal(all, []string{"db"}) {
		s.Errorf("holders %v, %v", all, err)
	}
	if seen, err := s.array.Maps(s.ctx, "db"); err != nil || len(seen) != 1 || seen[0].Epoch != 1 {
		s.Errorf("maps %+v, %v", seen, err)
	}
	// A session of the epoch gives its key up, as a cluster's tool in a guest does: on Linux
	// no session of it may write then, whatever the list of keys says.
	beside := cfg
	beside.ISID = [6]byte{0x80, 9}
	c := s.login(beside)
	_, err := iscsi.Do(s.ctx, c, "register", iscsi.Register(1, 5))
	s.must("take another key", err)
	_, err = iscsi.Do(s.ctx, c, "register", iscsi.Register(1, 0))
	s.must("give the key up", err)
	fresh := s.login(cfg)
	s.conflicts("an epoch that gave its key up", fresh, 1)
	s.stands(l, ref("db", 1), false)
	s.must("lower", l.Lower(s.ctx, 1))
	s.must("write without a reservation", s.write(fresh, 1, 9, "free"))
	s.must("raise", l.Raise(s.ctx, s.known[ref("db", 1)], array.Target{Portal: cfg.Portal, IQN: cfg.Target}))
	s.must("write once it is registered again", s.write(fresh, 1, 9, "again"))
	s.stands(l, ref("db", 1), true)
	for range 2 {
		s.must("drop the holder", l.Array.DropHolder(s.ctx, "db"))
	}
	s.must("write once the holder is gone", s.write(fresh, 1, 9, "free"))
	if all, err := l.Array.Holders(s.ctx); err != nil || len(all) > 0 {
		s.Errorf("holders %v, %v", all, err)
	}
	s.want("raise without a holder", l.Raise(s.ctx, s.known[ref("db", 1)], array.Target{Portal: cfg.Portal, IQN: cfg.Target}), array.ErrNotFound)
	if taken, err := l.Preempt(s.ctx, 1); err != nil || taken != 0 {
		s.Errorf("without a holder %d keys were taken, %v", taken, err)
	}
	s.must("lower", l.Lower(s.ctx, 1))
	s.h.Restart()
	s.must("lower after a restart", l.Lower(s.ctx, 1))
}

// holderOfALUNHandedOn: another server's holder is no owner; an epoch is. What a server that
// had the LUN before has left is taken away for the next one's first map.
func (s *suite) holderOfALUNHandedOn() {
	units := s.luns(1, 2)
	db := s.line("db", map[int]string{1: units[1]})
	cfg := s.raised(db, ref("db", 1), db.Holder.Units)
	web := s.line("web", units)
	_, err := web.Array.LetHolder(s.ctx, web.Holder)
	s.want("a holder on a LUN that another's epoch has", err, array.ErrShared)
	_, err = s.array.Map(s.ctx, s.newMap(ref("web", 1), units), dead("web", 1))
	s.want("a map of a LUN that another's epoch has", err, array.ErrShared)
	s.stands(db, ref("db", 1), true)
	taken := db.Holder
	taken.Server, taken.Units = "other", map[int]string{1: units[2]}
	_, err = db.Array.LetHolder(s.ctx, taken)
	s.want("a holder under another's name", err, array.ErrDuplicate)

	s.stop(ref("db", 1), cfg)
	c := s.login(s.start(ref("web", 1), units))
	s.must("write of the LUN's next server", s.write(c, 1, 9, "web"))
	if all, err := db.Array.Holders(s.ctx); err != nil || len(all) > 0 {
		s.Errorf("holders %v, %v", all, err)
	}
	// Its own holder follows its LUNs.
	s.must("lower", web.Lower(s.ctx, 1))
	other := s.line("web", map[int]string{7: units[2]})
	s.must("lower with other units", other.Lower(s.ctx, 1))
	t, there, err := other.Array.Holder(s.ctx, "web")
	if err != nil || !there {
		s.Fatalf("holder %v, %v", there, err)
	}
	seen, err := iscsi.Units(s.ctx, s.login(other.Holder.Config(t)))
	seen = slices.DeleteFunc(seen, func(n int) bool { return n == 0 })
	if err != nil || !slices.Equal(seen, []int{7}) {
		s.Errorf("the holder sees %v, %v", seen, err)
	}
}
