package lease

import (
	"errors"
	"fmt"
	"maps"

	"relight/internal/core/fleet"
)

// Errors of Admit.
var (
	ErrOldTerm  = errors.New("the controller's term is older than one that this host has obeyed")
	ErrOldEpoch = errors.New("this host was given a higher epoch")
)

// Obeyed is what a host has obeyed so far. It must survive a power loss: a host
// that forgot it would obey a controller that was replaced. The zero value has
// obeyed nobody.
type Obeyed struct {
	// Term is the highest term of a controller whose order was obeyed.
	Term fleet.Term `json:"term"`
	// Given is what was asked for last of each server.
	Given map[string]Given `json:"given,omitempty"`
}

// Given is the highest epoch of a server that a host was told to start.
type Given struct {
	Epoch fleet.Epoch `json:"epoch"`
	// Units is how much of the host it takes.
	Units int `json:"units"`
}

// Order is a controller's order to a host, as far as obedience goes.
type Order struct {
	Term   fleet.Term
	Kind   fleet.StepKind
	Server string
	Epoch  fleet.Epoch
	Units  int
}

// Admit refuses old terms, and starts of old epochs (invariant S10). leaseTerm is
// the term of the host's lease, 0 if it has none: a host knows of a new controller
// by its ack even before the first order. The result is o itself or a changed copy;
// whoever obeys saves a changed one before anything is done for the order.
func (o Obeyed) Admit(order Order, leaseTerm fleet.Term) (after Obeyed, changed bool, err error) {
	if newest := max(o.Term, leaseTerm); order.Term < newest {
		return o, false, fmt.Errorf("term %d: %w, %d", order.Term, ErrOldTerm, newest)
	}
	have := o.Given[order.Server].Epoch
	starts := order.Kind == fleet.StepLaunch || order.Kind == fleet.StepAttach
	if starts && order.Epoch < have {
		return o, false, fmt.Errorf("epoch %d: %w, %d", order.Epoch, ErrOldEpoch, have)
	}
	after = o
	if order.Term > o.Term {
		after.Term, changed = order.Term, true
	}
	if starts && order.Epoch > have {
		after.Given = maps.Clone(o.Given)
		if after.Given == nil {
			after.Given = map[string]Given{}
		}
		after.Given[order.Server], changed = Given{Epoch: order.Epoch, Units: order.Units}, true
	}
	return after, changed, nil
}

// Higher answers a peer's question: was this host given a higher epoch?
func (o Obeyed) Higher(i Instance) fleet.Answer {
	if o.Given[i.Server].Epoch > i.Epoch {
		return fleet.Yes
	}
	return fleet.No
}
