package lease

import (
	"errors"
	"maps"
	"testing"

	"pgregory.net/rapid"

	"relight/internal/core/fleet"
)

func TestAdmit(t *testing.T) {
	have := Obeyed{Term: 5, Given: map[string]Given{"a": {Epoch: 3, Units: 1}}}
	for _, c := range []struct {
		name    string
		order   Order
		lease   fleet.Term
		want    error
		term    fleet.Term
		epoch   fleet.Epoch
		changed bool
	}{
		{"the same again", Order{Term: 5, Kind: fleet.StepLaunch, Server: "a", Epoch: 3}, 5, nil, 5, 3, false},
		{"an older term", Order{Term: 4, Kind: fleet.StepStop, Server: "a", Epoch: 3}, 0, ErrOldTerm, 5, 3, false},
		{"a term older than the lease's", Order{Term: 6, Kind: fleet.StepStop, Server: "a", Epoch: 3}, 7, ErrOldTerm, 5, 3, false},
		{"a newer term", Order{Term: 6, Kind: fleet.StepStop, Server: "a", Epoch: 3}, 0, nil, 6, 3, true},
		{"start of an older epoch", Order{Term: 6, Kind: fleet.StepLaunch, Server: "a", Epoch: 2}, 0, ErrOldEpoch, 5, 3, false},
		{"attach for an older epoch", Order{Term: 5, Kind: fleet.StepAttach, Server: "a", Epoch: 2}, 0, ErrOldEpoch, 5, 3, false},
		{"stop of an older epoch", Order{Term: 5, Kind: fleet.StepStop, Server: "a", Epoch: 2}, 0, nil, 5, 3, false},
		{"a stop gives nothing", Order{Term: 5, Kind: fleet.StepStop, Server: "a", Epoch: 9}, 0, nil, 5, 3, false},
		{"a newer epoch", Order{Term: 5, Kind: fleet.StepAttach, Server: "a", Epoch: 4}, 0, nil, 5, 4, true},
	} {
		after, changed, err := have.Admit(c.order, c.lease)
		if !errors.Is(err, c.want) || changed != c.changed || after.Term != c.term || after.Given["a"].Epoch != c.epoch {
			t.Errorf("%s: %+v, changed %t, %v", c.name, after, changed, err)
		}
		if have.Given["a"].Epoch != 3 {
			t.Fatalf("%s: the state before was changed", c.name)
		}
	}
}

// Neither the term nor any epoch ever falls, and what was refused changes nothing.
func TestObeyedOnlyRises(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var o Obeyed
		for range rapid.IntRange(1, 30).Draw(t, "orders") {
			order := Order{
				Term:   fleet.Term(rapid.Uint64Range(0, 4).Draw(t, "term")),
				Kind:   rapid.SampledFrom([]fleet.StepKind{fleet.StepLaunch, fleet.StepAttach, fleet.StepStop}).Draw(t, "kind"),
				Server: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "server"),
				Epoch:  fleet.Epoch(rapid.Uint64Range(1, 4).Draw(t, "epoch")),
			}
			after, changed, err := o.Admit(order, 0)
			if err != nil && changed || !changed && (after.Term != o.Term || !maps.Equal(after.Given, o.Given)) {
				t.Fatalf("%+v on %+v: %+v, changed %t, %v", order, o, after, changed, err)
			}
			for s, g := range o.Given {
				if after.Given[s].Epoch < g.Epoch || after.Term < o.Term {
					t.Fatalf("%+v fell to %+v", o, after)
				}
			}
			if err == nil && order.Kind != fleet.StepStop && after.Higher(Instance{order.Server, order.Epoch}) != fleet.No {
				t.Fatalf("obeyed %+v though a higher epoch was given: %+v", order, after)
			}
			o = after
		}
	})
}

func TestTogether(t *testing.T) {
	const yes, no, cannot = fleet.Yes, fleet.No, fleet.CannotTell
	for _, c := range []struct {
		heirs []fleet.Answer
		want  fleet.Answer
	}{
		{nil, no},
		{[]fleet.Answer{no, no}, no},
		{[]fleet.Answer{no, cannot, no}, cannot},
		{[]fleet.Answer{cannot, yes}, yes},
		{[]fleet.Answer{yes, cannot}, yes},
	} {
		if got := Together(c.heirs); got != c.want {
			t.Errorf("%v together say %v, want %v", c.heirs, got, c.want)
		}
	}
}
