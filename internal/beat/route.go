package beat

// way is the index of the present way: that of the target, or the one behind all
// targets for the detour. Each way has a session of its own, because a detour may
// lead to another controller.
func (s *Sender) way() int {
	if s.detour {
		return s.cfg.Targets
	}
	return s.target
}

// route chooses the way of the next round. A sender that is not answered tries the
// next controller, and once all were tried the detour, or sooner if its lease would
// end meanwhile. On the detour it stays until a datagram is answered.
func (s *Sender) route(now int64) {
	switch {
	case s.detour:
	case s.cfg.Detour && s.urgent(now):
		s.turnOff()
	case s.misses < missesToSwitch:
	case s.cfg.Detour && s.tried+1 >= s.cfg.Targets:
		s.turnOff()
	default:
		s.target = (s.target + 1) % s.cfg.Targets
		s.misses = 0
		s.tried++
	}
}

// urgent reports whether the lease would end before a second round from now could
// save it.
func (s *Sender) urgent(now int64) bool {
	return s.misses > 0 && now < s.lease.Until && s.lease.Until-now < 2*int64(s.cfg.Every)
}

func (s *Sender) turnOff() {
	s.detour, s.misses, s.tried, s.unasked = true, 0, 0, 0
}

// probe returns a short beat for the direct way if it is time for one. Each goes to
// the next controller.
func (s *Sender) probe(now int64) []byte {
	if !s.detour {
		return nil
	}
	if s.unasked++; s.unasked < probeRounds && s.misses < missesToSwitch {
		return nil
	}
	s.unasked = 0
	s.target = (s.target + 1) % s.cfg.Targets
	return s.datagram(now, s.target, nil)
}

// answered takes note of which way an ack came. Any that came directly ends the
// detour.
func (s *Sender) answered(way int) {
	switch {
	case s.detour && way < s.cfg.Targets:
		s.detour, s.target, s.misses, s.tried = false, way, 0, 0
	case way == s.way():
		s.misses, s.tried = 0, 0
	}
}
