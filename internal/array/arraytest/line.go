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

// line is the second line of a server, or nil on an array that has none.
func (s *suite) line(server string, units map[int]string) *array.Line {
	s.Helper()
	k, ok := s.h.Array.(array.Reserver)
	if !ok {
		return nil
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
	stands, err := l.Stands(s.ctx, r.Epoch)
	s.must("stands", err)
	if !stands {
		s.Errorf("the second line of %+v does not stand", r)
	}
	return m.Config(t)
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
	if l == nil {
		s.Skip("this array lets no holder in")
	}
	if stands, err := l.Stands(s.ctx, 1); err != nil || stands {
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
	if len(evidence) != 2 || !strings.HasPrefix(evidence[0].Detail, "its reservation key preempted, and the keys read again, initiator out of the map") {
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
	if stands, err := l.Stands(s.ctx, 2); err != nil || !stands {
		s.Errorf("the second line was touched for an old epoch: %v, %v", stands, err)
	}
}

// lineKeepsOut: what the maps let in and should not is refused by the reservation: the
// epoch whose key was taken, before its map is gone.
func (s *suite) lineKeepsOut() {
	units := s.luns(1, 2)
	l := s.line("db", units)
	if l == nil {
		s.Skip("this array lets no holder in")
	}
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
	if l == nil {
		s.Skip("this array lets no holder in")
	}
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
	if l == nil {
		s.Skip("this array lets no holder in")
	}
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
	s.must("put the snapshot back", s.array.RestoreSnapshot(s.ctx, units[1], name))
	s.holds(s.login(s.raised(l, ref("db", 3), units)), 1, 9, "first")
}

// holderLeaves: with the holder its reservation goes, so that an epoch which nobody
// registered writes; and it is in nobody's way.
func (s *suite) holderLeaves() {
	units := s.luns(1)
	l := s.line("db", units)
	if l == nil {
		s.Skip("this array lets no holder in")
	}
	cfg := s.raised(l, ref("db", 1), units)
	if all, err := l.Array.Holders(s.ctx); err != nil || !slices.Equal(all, []string{"db"}) {
		s.Errorf("holders %v, %v", all, err)
	}
	if seen, err := s.array.Maps(s.ctx, "db"); err != nil || len(seen) != 1 || seen[0].Epoch != 1 {
		s.Errorf("maps %+v, %v", seen, err)
	}
	_, err := s.array.Map(s.ctx, s.newMap(ref("web", 1), units), dead("web", 1))
	s.want("another server's map of a kept LUN", err, array.ErrShared)
	c := s.login(cfg)
	_, err = iscsi.Do(s.ctx, c, "register", iscsi.Register(1, 0))
	s.must("give the key up", err)
	fresh := s.login(cfg)
	if s.write(fresh, 1, 9, "unregistered") == nil {
		_, err = l.Preempt(s.ctx, 1)
		s.must("preempt", err)
	}
	s.conflicts("an epoch that is not registered", fresh, 1)
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
