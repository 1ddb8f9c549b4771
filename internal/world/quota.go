package world

import (
	"relight/internal/core/fleet"
	"relight/internal/core/lease"
)

// Registry is what the executors of calls (host agents, a cloud's API) remember
// by themselves, so that it outlives every controller.
type Registry struct {
	// Terms are the highest controller's terms seen by a platform, by server.
	Terms map[string]fleet.Term
	// Obeyed is what each host's agent has obeyed, by host: its disk keeps it.
	Obeyed map[string]lease.Obeyed
	// LeaseTerms are the terms of the hosts' leases, by host.
	LeaseTerms map[string]fleet.Term
	// Fenced are the epochs that an executor promised never to start again, with
	// all before them, by executor and server.
	Fenced map[Executor]fleet.Epoch
	// Replays are the answers given to tokens.
	Replays map[string]Replay
}

// Executor is who carries calls out for one server: a host's name, or "" for a
// platform's API.
type Executor struct{ Host, Server string }

// Replay is the first answer to a token.
type Replay struct {
	// Request is the call in a comparable form: another call with the same token
	// is an error of the caller.
	Request  string
	Detail   string
	Evidence []fleet.Evidence
}

func newRegistry() Registry {
	return Registry{Terms: map[string]fleet.Term{}, Obeyed: map[string]lease.Obeyed{}, LeaseTerms: map[string]fleet.Term{}, Fenced: map[Executor]fleet.Epoch{}, Replays: map[string]Replay{}}
}
