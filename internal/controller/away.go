package controller

import "relight/internal/core/fleet"

// located joins to a server of EC2 where its status says that it is: a provider asks
// for the volumes that it really has, which its document may not name.
func (s *State) located(server fleet.Server) fleet.Server {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.locatedHere(server)
}

// locatedHere is located for who holds the lock.
func (s *State) locatedHere(server fleet.Server) fleet.Server {
	if server.Spec.Template.EC2 == nil {
		return server // nobody else is ever away
	}
	if st, ok := peek[fleet.Status](s, kindStatus, server.Name); ok {
		server.Away = st.Away
	}
	return server
}

// whereItIs is a server's status for people. That it is away is over once its document
// names other volumes.
func whereItIs(v viewed) fleet.Status {
	s := v.Status
	if !s.Away.Holds(v.Server.Spec) {
		s.Away = nil
	}
	return s
}
