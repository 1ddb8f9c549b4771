package oracle

// S7, exactly-once effect. The world reports two objects for one token. Beside
// that, when a call that starts or attaches is accepted: the world holds at most one
// instance of that epoch, whatever was replayed, came late or twice. What a person has made
// beside it with its tags is theirs.
func (o *Oracle) acceptedOnce(c Call, s *server) {
	n := 0
	for _, i := range o.w.Of(s.name) {
		if i.Epoch == c.Call.Step.Epoch && !i.Copy {
			n++
		}
	}
	if n > 1 {
		o.Violate("S7", s.name, "there are %d instances of epoch %d", n, c.Call.Step.Epoch)
	}
}
