package client

import (
	"context"
	"time"

	"relight/internal/core/fleet"
)

// Orphan is what was left on a host or an array by a server that the fleet does not
// have there any more.
type Orphan struct {
	// Kind is instance, address, standby or map.
	Kind   string      `json:"kind,omitempty"`
	Server string      `json:"server,omitempty"`
	Epoch  fleet.Epoch `json:"epoch,omitempty"`
	// On is the host or the array; What is the object's own name there, if it has one.
	On     string    `json:"on"`
	What   string    `json:"what,omitempty"`
	Detail string    `json:"detail,omitempty"`
	Next   string    `json:"next,omitempty"`
	At     time.Time `json:"at,omitzero"`
	// Error is why On could not be asked; Kind is empty then, and what is there is not
	// known.
	Error string `json:"error,omitempty"`
}

// Orphans lists what hosts and arrays have of servers that are not in the fleet.
func (c *Client) Orphans(ctx context.Context) (List[Orphan], error) {
	return get[List[Orphan]](ctx, c, nil, "orphans")
}
