package simulate

import (
	"slices"
	"strings"
	"time"
)

// shrinkTries bounds the work of one Shrink: each try is a whole run.
const shrinkTries = 400

// Shrink looks for the smallest scenario that still breaks the same promise as the
// given one, which must break one. It leaves out faults, servers and hosts, and
// rounds what is left. It returns the result of the smallest run.
func Shrink(first Result) Result {
	s := &shrinker{best: first, wants: first.Violations[0].Invariant}
	for before := -1; s.tries < shrinkTries && s.size() != before; {
		before = s.size()
		s.faults()
		s.needs()
		s.documents()
		s.hosts()
		s.plain()
		s.shorter()
	}
	return s.best
}

type shrinker struct {
	best  Result
	wants string
	tries int
}

func (s *shrinker) size() int {
	sc := s.best.Scenario
	return len(sc.Faults)*1000 + len(sc.Spec) + 100*len(sc.Hosts) + int(sc.For/time.Second)
}

// try runs a smaller scenario and keeps it if it breaks the same promise.
func (s *shrinker) try(change func(*Scenario)) bool {
	if s.tries >= shrinkTries {
		return false
	}
	s.tries++
	sc := s.best.Scenario
	sc.Faults, sc.Hosts, sc.Sites = slices.Clone(sc.Faults), slices.Clone(sc.Hosts), slices.Clone(sc.Sites)
	change(&sc)
	r, err := Run(sc)
	if err != nil || len(r.Violations) == 0 || r.Violations[0].Invariant != s.wants {
		return false
	}
	s.best = r
	return true
}

// faults leaves out faults, half of them at once as long as that works.
func (s *shrinker) faults() {
	for n := len(s.best.Scenario.Faults); n >= 1; n /= 2 {
		for at := 0; at < len(s.best.Scenario.Faults); {
			end := min(at+n, len(s.best.Scenario.Faults))
			if !s.try(func(sc *Scenario) { sc.Faults = slices.Delete(sc.Faults, at, end) }) {
				at = end
			}
		}
	}
}

// needs leaves out what servers wait for: who is waited for cannot be left out himself.
func (s *shrinker) needs() {
	for at := 0; ; {
		lines := strings.Split(s.best.Scenario.Spec, "\n")
		for at < len(lines) && !strings.HasPrefix(lines[at], "  after: ") {
			at++
		}
		if at == len(lines) {
			return
		}
		if !s.try(func(sc *Scenario) { sc.Spec = strings.Join(slices.Delete(lines, at, at+1), "\n") }) {
			at++
		}
	}
}

// documents leaves out single documents of the spec.
func (s *shrinker) documents() {
	for at := 0; ; {
		docs := strings.Split(s.best.Scenario.Spec, docBreak)
		if at >= len(docs) || len(docs) == 1 {
			return
		}
		if !s.try(func(sc *Scenario) { sc.Spec = strings.Join(slices.Delete(docs, at, at+1), docBreak) }) {
			at++
		}
	}
}

// hosts leaves out hosts.
func (s *shrinker) hosts() {
	for at := 0; at < len(s.best.Scenario.Hosts); {
		if !s.try(func(sc *Scenario) { sc.Hosts = slices.Delete(sc.Hosts, at, at+1) }) {
			at++
		}
	}
}

// plain takes away what makes a world less plain.
func (s *shrinker) plain() {
	for _, change := range []func(*Scenario){
		func(sc *Scenario) { sc.Loss = 0 },
		func(sc *Scenario) { sc.Drift = 0 },
		func(sc *Scenario) { sc.Controllers = 1 },
		func(sc *Scenario) { sc.Members = 0 },
		func(sc *Scenario) { sc.Delays = DefaultDelays() },
	} {
		before := s.best.Scenario
		after := before
		if change(&after); after.Loss != before.Loss || after.Drift != before.Drift || after.Controllers != before.Controllers || after.Members != before.Members || after.Delays != before.Delays {
			s.try(change)
		}
	}
}

// shorter ends the faults earlier, rounds their times, and ends the run soon after
// the last of them.
func (s *shrinker) shorter() {
	for at := range s.best.Scenario.Faults {
		s.try(func(sc *Scenario) { sc.Faults[at].At = sc.Faults[at].At.Round(10 * time.Second) })
	}
	if sc := s.best.Scenario; len(sc.Faults) > 0 {
		last := slices.MaxFunc(sc.Faults, func(a, b Fault) int { return int(a.At - b.At) })
		if end := last.At + time.Minute; end < sc.For {
			s.try(func(sc *Scenario) { sc.For = end })
		}
	}
}
