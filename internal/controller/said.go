package controller

import "relight/internal/store"

// said marks the moment of what people allow and forbid. A decision that was made
// before it changed is not written after: whoever froze the fleet, or changed a mode,
// was told that it holds from then on (S11).
type said struct {
	// fleet counts the changes of what may concern every server.
	fleet uint64
	// The server's own document, pause and request.
	server, pause, request store.Revision
}

// forAll reports whether records of the kind may concern every server.
func forAll(kind string) bool {
	switch kind {
	case kindSite, kindPolicy, kindFreeze, kindWindow, kindApproval:
		return true
	}
	return false
}

// said returns the mark of one server.
func (s *State) said(name string) said {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return said{
		fleet:  s.words,
		server: s.tables[kindServer][name].rev, pause: s.tables[kindPause][name].rev, request: s.tables[kindRequest][name].rev,
	}
}

// saysElse reports whether people have said something else about the server since the
// mark was taken, be it in a change that waits in this transaction.
func (tx *Tx) saysElse(name string, since said) bool {
	return tx.words > 0 || tx.state.said(name) != since ||
		tx.touched(kindServer, name) || tx.touched(kindPause, name) || tx.touched(kindRequest, name)
}
