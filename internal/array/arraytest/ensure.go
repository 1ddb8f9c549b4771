package arraytest

import (
	"strings"

	"relight/internal/array"
	"relight/internal/core/fleet"
)

// ensure has the array prepare an epoch's LUNs, as its attach does.
func (s *suite) ensure(e fleet.Epoch, may bool, luns ...array.LUN) ([]string, error) {
	return array.Ensure(s.ctx, s.array, ref("db", e), dead("db", e), luns, may)
}

// is wants a LUN to be there with a size.
func (s *suite) is(name string, bytes int64) {
	s.Helper()
	l, err := s.array.LUN(s.ctx, name)
	s.must("look at "+name, err)
	if l != (array.LUN{Name: name, Bytes: bytes}) {
		s.Errorf("there is %+v, want %s of %d bytes", l, name, bytes)
	}
}

// isNot wants a LUN not to be there.
func (s *suite) isNot(names ...string) {
	s.Helper()
	for _, name := range names {
		_, err := s.array.LUN(s.ctx, name)
		s.want("look at "+name, err, array.ErrNotFound)
	}
}

// The LUNs of a first epoch are made if they are not there, each once, however often it is
// asked; what is there stays as it is, its size and its data.
func (s *suite) firstEpoch() {
	s.isNot("vol-a", "vol-b")
	want := []array.LUN{{Name: "vol-a", Bytes: size}, {Name: "vol-b", Bytes: size}}
	s.must("create", s.array.Create(s.ctx, want[0]))
	told, err := s.ensure(1, true, want...)
	s.must("first", err)
	if len(told) != 1 || !strings.Contains(told[0], "LUN vol-b") || !strings.Contains(told[0], "was made") {
		s.Errorf("told %q", told)
	}
	c := s.login(s.start(ref("db", 1), map[int]string{1: "vol-a", 2: "vol-b"}))
	s.must("write", s.write(c, 2, 7, "of epoch 1"))
	for range 2 {
		told, err = s.ensure(1, true, want...)
		s.must("again", err)
		if len(told) != 0 {
			s.Errorf("told again %q", told)
		}
	}
	for _, bytes := range []int64{size / 2, 2 * size} {
		told, err = s.ensure(1, true, array.LUN{Name: "vol-b", Bytes: bytes})
		s.must("another size", err)
		if len(told) != 1 || !strings.Contains(told[0], "LUN vol-b has 2097152 bytes, not") {
			s.Errorf("told %q", told)
		}
		s.is("vol-b", size)
	}
	s.holds(c, 2, 7, "of epoch 1")
}

// An empty LUN in the place of one that is gone would start a server without its data.
func (s *suite) neverAgain() {
	l := array.LUN{Name: "vol-a", Bytes: size}
	for _, may := range []bool{false, true} {
		_, err := s.ensure(2, may, l)
		s.want("for epoch 2", err, array.ErrNotFound)
	}
	_, err := s.ensure(1, false, l)
	s.want("for a first epoch that had its LUNs", err, array.ErrNotFound)
	_, err = array.Ensure(s.ctx, s.array, ref("db", 1), dead("db", 2), []array.LUN{l}, true)
	s.want("without a proof", err, array.ErrNoProof)
	s.isNot("vol-a")
}

// What does not fit is refused and leaves nothing: neither half of it, nor another LUN of
// the same server that would fit alone. Once there is room all are made.
func (s *suite) firstFull() {
	fits, huge := array.LUN{Name: "vol-a", Bytes: size}, array.LUN{Name: "vol-b", Bytes: 1 << 60}
	for range 2 {
		_, err := s.ensure(1, true, huge)
		s.want("more than there is", err, array.ErrFull)
		s.isNot("vol-b")
	}
	for _, both := range [][]array.LUN{{fits, huge}, {huge, fits}} {
		_, err := s.ensure(1, true, both...)
		s.want("one of two does not fit", err, array.ErrFull)
		s.isNot("vol-a", "vol-b")
	}
	told, err := s.ensure(1, true, fits, array.LUN{Name: "vol-b", Bytes: size})
	s.must("with room", err)
	if len(told) != 2 {
		s.Errorf("told %q", told)
	}
	s.is("vol-a", size)
	s.is("vol-b", size)
	// What is there already needs no room.
	_, err = s.ensure(1, true, array.LUN{Name: "vol-a", Bytes: size}, array.LUN{Name: "vol-c", Bytes: 1 << 60})
	s.want("beside one that is there", err, array.ErrFull)
	s.is("vol-a", size)
	s.isNot("vol-c")
}
