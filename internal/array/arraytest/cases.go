package arraytest

import (
	"context"
	"slices"
	"strings"

	"relight/internal/array"
	"relight/internal/array/iscsi"
	"relight/internal/core/fence"
	"relight/internal/core/fleet"
)

func (s *suite) create() {
	l := array.LUN{Name: "vol-a", Bytes: size}
	for range 3 {
		s.must("create", s.array.Create(s.ctx, l))
	}
	s.want("another size", s.array.Create(s.ctx, array.LUN{Name: "vol-a", Bytes: 2 * size}), array.ErrConflict)
}

// A LUN that does not fit is refused whole, and what is there goes on.
func (s *suite) full() {
	c := s.login(s.start(ref("db", 1), s.luns(1)))
	s.must("write", s.write(c, 1, 7, "before"))
	s.want("more than there is", s.array.Create(s.ctx, array.LUN{Name: "vol-b", Bytes: 1 << 60}), array.ErrFull)
	// What did not fit must not look like a LUN.
	_, err := s.array.Map(s.ctx, s.newMap(ref("web", 1), map[int]string{1: "vol-b"}), dead("web", 1))
	s.want("map of a LUN that did not fit", err, array.ErrNotFound)
	s.holds(c, 1, 7, "before")
	s.must("write", s.write(c, 1, 8, "after"))
	s.must("create after a failure", s.array.Create(s.ctx, array.LUN{Name: "vol-b", Bytes: size}))
}

func (s *suite) invalid() {
	for _, l := range []array.LUN{
		{Name: "", Bytes: size},
		{Name: "../x", Bytes: size},
		{Name: "a b", Bytes: size},
		{Name: "a", Bytes: 0},
		{Name: "a", Bytes: -size},
		{Name: "a", Bytes: 100},
	} {
		s.want("create "+l.Name, s.array.Create(s.ctx, l), array.ErrInvalid)
	}
	good := s.newMap(ref("db", 1), s.luns(1))
	for what, change := range map[string]func(*array.Map){
		"no units":       func(m *array.Map) { m.Units = nil },
		"unit 0":         func(m *array.Map) { m.Units = map[int]string{0: "vol-a"} },
		"unit 256":       func(m *array.Map) { m.Units = map[int]string{256: "vol-a"} },
		"no secret":      func(m *array.Map) { m.Secret = "" },
		"a short secret": func(m *array.Map) { m.Secret = "tooshort" },
		"no user":        func(m *array.Map) { m.User = "" },
		"no initiator":   func(m *array.Map) { m.Initiator = "" },
	} {
		m := good
		change(&m)
		_, err := s.array.Map(s.ctx, m, dead("db", 1))
		s.want(what, err, array.ErrInvalid)
	}
	if seen, err := s.array.Maps(s.ctx, "db"); err != nil || len(seen) > 0 {
		s.Errorf("refused maps left %v, %v", seen, err)
	}
}

func (s *suite) proof() {
	m := s.newMap(ref("db", 2), s.luns(1))
	for what, p := range map[string]fence.Proof{
		"the zero proof": {}, "of another server": dead("web", 2), "of another epoch": dead("db", 3), "of the first": dead("db", 1),
	} {
		_, err := s.array.Map(s.ctx, m, p)
		s.want("map with "+what, err, array.ErrNoProof)
	}
	s.start(m.Ref, m.Units)
}

// unitNumbers: from 10 on a number that is read in the wrong base is another unit.
func (s *suite) unitNumbers() {
	numbers := []int{1, 9, 10, 16, 26, 255}
	cfg := s.start(ref("db", 1), s.luns(numbers...))
	c := s.login(cfg)
	seen, err := iscsi.Units(s.ctx, c)
	s.must("report units", err)
	seen = slices.DeleteFunc(seen, func(n int) bool { return n == 0 }) // a target's own
	slices.Sort(seen)
	if !slices.Equal(seen, numbers) {
		s.Errorf("units %v, want %v", seen, numbers)
	}
	for _, n := range numbers {
		s.must("write", s.write(c, n, 7, strings.Repeat("x", n)))
	}
	for _, n := range numbers {
		s.holds(c, n, 7, strings.Repeat("x", n))
		if got, err := iscsi.Capacity(s.ctx, c, n); err != nil || got != size {
			s.Errorf("unit %d has %d bytes, %v", n, got, err)
		}
	}
}

func (s *suite) credentials() {
	cfg := s.start(ref("db", 1), s.luns(1))
	_ = s.login(cfg)
	wrong := cfg
	wrong.Secret += "x"
	s.refused("a wrong secret", wrong)
	wrong = cfg
	wrong.User = ""
	s.away("no secret at all", wrong)
	wrong = cfg
	wrong.User += "x"
	s.refused("an unknown user", wrong)
	s.must("other LUN", s.array.Create(s.ctx, array.LUN{Name: "other", Bytes: size}))
	web := s.start(ref("web", 1), map[int]string{1: "other"})
	wrong = cfg
	wrong.User, wrong.Secret = web.User, web.Secret
	s.refused("another server's secret", wrong)
	_ = s.login(cfg)
}

func (s *suite) unmapped() {
	cfg := s.start(ref("db", 1), s.luns(1))
	stranger := cfg
	stranger.Initiator = s.h.Prefix + ":stranger.e1"
	s.refused("a stranger that knows the secret", stranger)
	s.bystander()
	s.must("unmap", s.array.Unmap(s.ctx, ref("db", 1)))
	s.refused("an initiator that was unmapped", cfg)
	s.must("close", s.array.Close(s.ctx, ref("db", 1)))
	s.away("an initiator whose map is closed", cfg)
}

// bystander maps another server: an array with no map at all may drop connections
// where it would refuse a login.
func (s *suite) bystander() {
	s.Helper()
	s.must("bystander's LUN", s.array.Create(s.ctx, array.LUN{Name: "bystander", Bytes: size}))
	_ = s.login(s.start(ref("bystander", 1), map[int]string{1: "bystander"}))
}

func (s *suite) duplicate() {
	units := s.luns(1)
	cfg := s.start(ref("db", 1), units)
	s.must("other LUN", s.array.Create(s.ctx, array.LUN{Name: "other", Bytes: size}))
	m := s.newMap(ref("web", 1), map[int]string{1: "other"})
	m.Initiator = cfg.Initiator
	_, err := s.array.Map(s.ctx, m, dead("web", 1))
	s.want("another server under the same name", err, array.ErrDuplicate)
	if seen, err := s.array.Maps(s.ctx, "web"); err != nil || len(seen) > 0 && len(seen[0].Initiators) > 0 {
		s.Errorf("the refused map is %v, %v", seen, err)
	}
	_ = s.login(cfg)
}

// shared: a LUN that somebody else has is given to nobody, however the specs came to
// name it twice.
func (s *suite) shared() {
	units := s.luns(1, 2)
	cfg := s.start(ref("db", 1), units)
	s.must("own LUN", s.array.Create(s.ctx, array.LUN{Name: "own", Bytes: size}))
	m := s.newMap(ref("web", 1), map[int]string{1: "own", 5: units[2]})
	_, err := s.array.Map(s.ctx, m, dead("web", 1))
	s.want("another server's LUN", err, array.ErrShared)
	if seen, err := s.array.Maps(s.ctx, "web"); err != nil || len(seen) > 0 {
		s.Errorf("the refused map is %v, %v", seen, err)
	}
	_ = s.login(cfg)
}

// allMaps: what is left of a server that nobody asks about is found all the same.
func (s *suite) allMaps() {
	lister, ok := s.h.Array.(array.Lister)
	if !ok {
		s.Fatal("the driver lists maps of asked servers alone: what others left is never seen")
	}
	units := s.luns(1, 2)
	_ = s.login(s.start(ref("db", 1), map[int]string{1: units[1]}))
	web := s.start(ref("web", 3), map[int]string{1: units[2]})
	all, err := lister.AllMaps(s.ctx)
	s.must("all maps", err)
	slices.SortFunc(all, func(a, b array.Mapped) int { return strings.Compare(a.Server, b.Server) })
	if len(all) != 2 || all[0].Ref != ref("db", 1) || all[1].Ref != ref("web", 3) || !slices.Equal(all[1].Initiators, []string{web.Initiator}) {
		s.Errorf("all maps are %+v", all)
	}
	if r, ok := s.h.Array.(array.Remover); ok && !strings.Contains(r.RemoveBy(ref("web", 3)), "web.e3") {
		s.Errorf("%q does not name the map", r.RemoveBy(ref("web", 3)))
	}
}

func (s *suite) oneEpoch() {
	units := s.luns(1)
	first := s.start(ref("db", 1), units)
	_, err := s.array.Map(s.ctx, s.newMap(ref("db", 2), units), dead("db", 2))
	s.want("epoch 2 while 1 has a map", err, array.ErrHeld)
	c := s.login(first)
	s.must("unmap", s.array.Unmap(s.ctx, ref("db", 1)))
	_, err = s.array.Map(s.ctx, s.newMap(ref("db", 2), units), dead("db", 2))
	s.want("epoch 2 while 1 has a session", err, array.ErrHeld)
	s.journal(ref("db", 1))
	_, err = s.runFence(ref("db", 1), first)
	s.must("fence", err)
	_ = c.Close()
	_ = s.login(s.start(ref("db", 2), units))
	// Without the journal, too: the array alone shows that epoch 1 is past.
	_, err = s.h.Array.Map(s.ctx, s.newMap(ref("db", 1), units), dead("db", 1))
	s.want("epoch 1 while 2 has a map", err, array.ErrFenced)
}

func (s *suite) repeat() {
	units := s.luns(1, 2)
	cfg := s.start(ref("db", 1), units)
	c := s.login(cfg)
	for range 3 {
		if again := s.start(ref("db", 1), units); again != cfg {
			s.Errorf("the map moved from %v to %v", cfg, again)
		}
	}
	s.must("a write on the old session", s.write(c, 1, 0, "still here"))
	_ = c.Close()
	s.eventually("the session is gone", func() bool { return len(s.list(ref("db", 1))) == 0 })
	for _, r := range []array.Ref{ref("db", 1), ref("db", 1), ref("never", 4)} {
		s.must("unmap", s.array.Unmap(s.ctx, r))
		s.must("unmap", s.array.Unmap(s.ctx, r))
		s.must("close", s.array.Close(s.ctx, r))
		s.must("close", s.array.Close(s.ctx, r))
		s.must("kill", s.array.Kill(s.ctx, array.Session{Ref: r, ID: "77", Initiator: "iqn.2026-01.x:y"}))
	}
	if seen, err := s.array.Maps(s.ctx, "db"); err != nil || len(seen) > 0 {
		s.Errorf("after close there is %v, %v", seen, err)
	}
}

func (s *suite) list(r array.Ref) []array.Session {
	s.Helper()
	got, err := s.array.Sessions(s.ctx, r)
	s.must("sessions", err)
	return got
}

func (s *suite) sessions() {
	units := s.luns(1)
	cfg := s.start(ref("db", 1), units)
	if got := s.list(ref("db", 1)); len(got) != 0 {
		s.Errorf("sessions before any login: %v", got)
	}
	a, b := s.login(cfg), s.login(cfg) // one name twice: both must be seen
	got := s.list(ref("db", 1))
	for _, one := range got {
		if one.Initiator != cfg.Initiator {
			s.Errorf("session %v, want one of %s", one, cfg.Initiator)
		}
	}
	if n := len(got); n == 0 || !s.h.OneListed && (n != 2 || got[0].ID == got[1].ID) {
		s.Fatalf("sessions %v of two logins", got)
	}
	if got := s.list(ref("web", 1)); len(got) != 0 {
		s.Errorf("sessions of another server: %v", got)
	}
	s.want("close with sessions", s.array.Close(s.ctx, ref("db", 1)), array.ErrBusy)
	s.must("unmap", s.array.Unmap(s.ctx, ref("db", 1)))
	if len(s.list(ref("db", 1))) > 0 { // some arrays end them with the map
		s.want("close with sessions of an unmapped epoch", s.array.Close(s.ctx, ref("db", 1)), array.ErrBusy)
	}
	for _, one := range got {
		s.must("kill", s.array.Kill(s.ctx, one))
		s.must("kill again", s.array.Kill(s.ctx, one))
	}
	s.eventually("both are gone", func() bool { return len(s.list(ref("db", 1))) == 0 })
	for _, c := range []array.Conn{a, b} {
		if err := s.write(c, 1, 0, "late"); err == nil {
			s.Error("a killed session wrote")
		}
	}
}

func (s *suite) fenceEpoch() {
	units := s.luns(1)
	old := s.start(ref("db", 1), units)
	c := s.login(old)
	s.must("write", s.write(c, 1, 0, "one"))
	s.journal(ref("db", 1))
	evidence, err := s.runFence(ref("db", 1), old)
	s.must("fence", err)
	if len(evidence) != 2 || evidence[0].Volume != "data" || evidence[1].Volume != "log" {
		s.Fatalf("evidence %v, want one for each volume", evidence)
	}
	for _, e := range evidence {
		if e.Method != fleet.InitiatorRemoved || e.Server != "db" || e.Epoch != 1 || e.By != "array "+s.array.Name() || !strings.Contains(e.Detail, "login refused") {
			s.Errorf("evidence %+v", e)
		}
	}
	if err := s.write(c, 1, 0, "stale"); err == nil {
		s.Error("the fenced epoch wrote")
	}
	again, err := s.runFence(ref("db", 1), old)
	if err != nil || len(again) != 2 {
		s.Errorf("the same fence again: %v, %v", again, err)
	}
	next := s.start(ref("db", 2), units)
	d := s.login(next)
	s.holds(d, 1, 0, "one")
	s.must("write of the next epoch", s.write(d, 1, 0, "two"))
	mixed := next
	mixed.User, mixed.Secret = old.User, old.Secret
	s.refused("the new name with the old secret", mixed)
	s.away("the old epoch at its old target", old)
	mixed = old
	mixed.Target = next.Target
	s.refused("the old epoch at the new target", mixed)
	// A fence of the past again, while the next epoch works, leaves it alone.
	_, err = s.runFence(ref("db", 1), old)
	s.must("the old fence again", err)
	s.must("write after it", s.write(d, 1, 1, "undisturbed"))
}

func (s *suite) fenceJournal() {
	cfg := s.start(ref("db", 1), s.luns(1))
	c := s.login(cfg)
	_, err := s.runFence(ref("db", 1), cfg)
	s.want("a fence that is not in the journal", err, array.ErrNotJournaled)
	s.must("write after the refused fence", s.write(c, 1, 0, "works"))
}

func (s *suite) fencedForEver() {
	units := s.luns(1)
	cfg := s.start(ref("db", 1), units)
	s.journal(ref("db", 1))
	_, err := s.runFence(ref("db", 1), cfg)
	s.must("fence", err)
	tryAll := func(when string) {
		s.Helper()
		_, err := s.array.Map(s.ctx, s.newMap(ref("db", 1), units), dead("db", 1))
		s.want("map of the fenced epoch "+when, err, array.ErrFenced)
		s.away("login of the fenced epoch "+when, cfg)
	}
	s.bystander()
	tryAll("after the fence")
	s.start(ref("db", 2), units)
	tryAll("beside the next")
	s.h.Restart()
	s.bystander()
	tryAll("after a restart")
	s.start(ref("db", 2), units)
	tryAll("after the replay")
}

func (s *suite) restart() {
	units := s.luns(1, 12)
	cfg := s.start(ref("db", 1), units)
	c := s.login(cfg)
	s.must("write", s.write(c, 12, 3, "kept"))
	s.h.Restart()
	for _, name := range units {
		s.must("create again", s.array.Create(s.ctx, array.LUN{Name: name, Bytes: size}))
	}
	if again := s.start(ref("db", 1), units); again != cfg {
		s.Errorf("after the replay the map is %v, was %v", again, cfg)
	}
	d := s.login(cfg)
	s.holds(d, 12, 3, "kept")
	wrong := cfg
	wrong.Secret += "x"
	s.refused("a wrong secret after the replay", wrong)
}

func (s *suite) foreign() {
	c := s.login(s.start(ref("db", 1), s.luns(1, 2)))
	scan := func(unit int) []string {
		s.Helper()
		found, err := array.Scan(iscsi.Unit{Ctx: s.ctx, Path: c, LUN: unit, Size: size}, size)
		s.must("scan", err)
		return found
	}
	if found := scan(1); len(found) > 0 {
		s.Errorf("a fresh LUN has %v", found)
	}
	super := make([]byte, 2*iscsi.Block)
	copy(super[0x38:], "\x53\xef")
	_, err := iscsi.Do(s.ctx, c, "write", iscsi.Write16(1, 2, super))
	s.must("write", err)
	if found := scan(1); !slices.Equal(found, []string{"ext2/3/4"}) {
		s.Errorf("found %v, want ext", found)
	}
	s.must("write", s.write(c, 2, size/iscsi.Block-1, "EFI PART"))
	if found := scan(2); !slices.Equal(found, []string{"GPT (backup)"}) {
		s.Errorf("found %v, want a backup GPT", found)
	}
	if found := scan(1); len(found) == 0 {
		s.Error("the first LUN's data is gone")
	}
}

// ended: a call whose context is over must say so, and never that all is well.
func (s *suite) ended() {
	cfg := s.start(ref("db", 1), s.luns(1))
	_ = s.login(cfg)
	over, cancel := context.WithCancel(s.ctx)
	cancel()
	if got, err := s.array.Sessions(over, ref("db", 1)); err == nil {
		s.Errorf("sessions with an ended context: %v", got)
	}
	if got, err := s.array.Maps(over, "db"); err == nil {
		s.Errorf("maps with an ended context: %v", got)
	}
	if err := s.array.Unmap(over, ref("db", 1)); err == nil {
		s.Error("unmap with an ended context")
	}
}
