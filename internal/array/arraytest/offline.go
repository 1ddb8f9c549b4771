package arraytest

import (
	"context"
	"strings"

	"relight/internal/array"
)

// unkillable is an array that ends no session.
type unkillable struct{ array.Array }

// Kill reports its effect and has none.
func (unkillable) Kill(context.Context, array.Session) error { return nil }

// offline is the last resort of a fence: sessions that nobody can end have no LUN any
// more, and the next epoch works beside them.
func (s *suite) offline() {
	units := s.luns(1, 12)
	first := s.start(ref("db", 1), units)
	c := s.login(first)
	s.must("write", s.write(c, 1, 0, "one"))
	s.journal(ref("db", 1))
	inner := s.array
	s.array = unkillable{inner}
	s.resort = &array.Offline{LUNs: []string{units[1], units[12]}}
	evidence, err := s.runFence(ref("db", 1), first)
	s.must("fence", err)
	listed := len(s.list(ref("db", 1))) > 0 // some arrays end them with the map
	if len(evidence) != 2 || evidence[0].Offline != listed || strings.Contains(evidence[0].Detail, "still listed") != listed {
		s.Errorf("with sessions listed (%v) the evidence is %+v", listed, evidence)
	}
	s.must("off line again", s.array.Offline(s.ctx, ref("db", 1), s.resort.LUNs))
	if err := s.write(c, 1, 0, "stale"); err == nil {
		s.Error("an epoch wrote to a LUN that is off line")
	}

	second := s.start(ref("db", 2), units)
	d := s.login(second)
	s.holds(d, 1, 0, "one")
	s.must("write of the next epoch", s.write(d, 1, 0, "two"))
	s.must("and on the other LUN", s.write(d, 12, 0, "two"))
	if err := s.write(c, 1, 0, "stale"); err == nil {
		s.Error("the old epoch wrote beside the next")
	}
	s.away("the old epoch", first)
	// Seen again later: what is left is fenced again, and goes with its last session.
	_, err = s.runFence(ref("db", 1), first)
	s.must("the same fence again", err)
	s.must("a write of the next epoch", s.write(d, 1, 1, "undisturbed"))
	s.holds(d, 1, 0, "two")
	s.array, s.resort = inner, nil
	_, err = s.runFence(ref("db", 1), first)
	s.must("a fence that ends sessions", err)
	if seen, err := s.array.Maps(s.ctx, "db"); err != nil || len(seen) != 1 || seen[0].Epoch != 2 {
		s.Errorf("there is %+v, %v", seen, err)
	}
	s.must("a last write", s.write(d, 12, 1, "undisturbed"))
}
