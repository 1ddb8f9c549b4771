package oracle

import (
	"fmt"
	"strings"
)

// S7, exactly-once effect. The world reports two objects for one token. Beside
// that, when a call that starts or attaches is accepted: the world holds at most one
// instance of that epoch, whatever was replayed, came late or twice. What a person has made
// beside it with its tags is theirs.
//
// And a token stands for one request: what is sent under it again is the very same. A
// platform answers another one from memory, or refuses it for ever.
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

func (o *Oracle) sentOnce(c Call, s *server) {
	st := c.Call.Step
	if st.Token == "" || !st.Kind.NeedsProof() {
		return
	}
	asks := strings.Join(strings.Fields(fmt.Sprintf("%s %s of epoch %d on %s", st.Kind, st.Object, st.Epoch, st.Host)), " ")
	if before, known := s.tokens[st.Token]; known && before != asks {
		o.Violate("S7", s.name, "token %s was sent for %s, and now for %s", st.Token, before, asks)
	}
	s.tokens[st.Token] = asks
}
