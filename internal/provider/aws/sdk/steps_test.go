package sdk_test

import (
	"context"
	"fmt"
	"time"

	"relight/internal/core/fence"
	"relight/internal/core/fleet"
	"relight/internal/provider"
)

// steps makes the calls of a decider for one server.
type steps struct {
	a     *account
	s     fleet.Server
	proof fence.Proof
	rung  fleet.Rung
	// told is the evidence of the last end.
	told []fleet.Evidence
}

func (a *account) steps(s fleet.Server) *steps {
	first, missing := fence.Prove(s, 0, "", nil, a.now())
	if len(missing) > 0 {
		a.t.Fatal(missing)
	}
	return &steps{a: a, s: s, proof: first, rung: fleet.Relaunch}
}

func (x *steps) call(kind fleet.StepKind, epoch fleet.Epoch, o fleet.Object) provider.Call {
	return provider.Call{
		Step: fleet.Step{
			Kind: kind, Server: x.s.Name, Epoch: epoch, Object: o, Rung: x.rung, Within: fleet.Duration(20 * time.Second),
			Token: fmt.Sprintf("t-%s-%d-%s-%s", x.s.Name, epoch, kind, o), Why: "the test asks",
		},
		Server: x.s, Term: 1, Proof: x.proof,
	}
}

// at does steps for one epoch.
func (x *steps) at(epoch fleet.Epoch) func(fleet.StepKind, fleet.Object) error {
	return func(kind fleet.StepKind, o fleet.Object) error {
		_, err := x.a.p.Do(context.Background(), x.call(kind, epoch, o))
		return err
	}
}

// end ends an epoch and returns the proof that it is dead.
func (x *steps) end(epoch fleet.Epoch) fence.Proof {
	x.a.t.Helper()
	for range 100 {
		out, err := x.a.p.Do(context.Background(), x.call(fleet.StepStop, epoch, fleet.Object{}))
		if err != nil {
			x.a.t.Fatal(err)
		}
		x.told = out.Evidence
		if p, missing := fence.Prove(x.s, epoch, "", out.Evidence, x.a.now()); len(missing) == 0 {
			return p
		}
		x.a.locked(func() { x.a.w.Advance(time.Second) })
	}
	x.a.t.Fatalf("epoch %d never ended", epoch)
	return fence.Proof{}
}
