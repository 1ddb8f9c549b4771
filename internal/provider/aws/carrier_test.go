package aws

import (
	"fmt"
	"testing"

	"relight/internal/core/fleet"
)

// Of several instances that carry one epoch, those that have ended least tell of it,
// whichever was launched last.
func TestTheLeastEndedTellOfAnEpoch(t *testing.T) {
	machine := func(id, state string) Machine {
		return Machine{ID: id, State: state, Tags: map[string]string{TagEpoch: "1"}}
	}
	for _, c := range []struct{ states, want []string }{
		{[]string{"running"}, []string{"i-0"}},
		{[]string{"running", "terminated"}, []string{"i-0"}},
		{[]string{"terminated", "running"}, []string{"i-1"}},
		{[]string{"stopped", "terminated"}, []string{"i-0"}},
		{[]string{"stopped", "shutting-down"}, []string{"i-1"}},
		{[]string{"running", "pending"}, []string{"i-0", "i-1"}},
		{[]string{"terminated", "terminated"}, []string{"i-0", "i-1"}},
	} {
		var list []Machine
		for n, state := range c.states {
			list = append(list, machine(fmt.Sprint("i-", n), state))
		}
		var got []string
		for _, m := range leastEnded(carriers(append(list, Machine{ID: "i-9", State: "running"}), 1)) {
			got = append(got, m.ID)
		}
		if fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("%v: %v tell of it, want %v", c.states, got, c.want)
		}
	}
}

// What speaks for life counts, whichever of two that carry one epoch says it, and in
// whichever order they are looked at: an answer that changed with the order would count as
// one that flaps. Other epochs keep their own.
func TestTheBetterWordOfTwoCounts(t *testing.T) {
	says := func(epoch fleet.Epoch, q fleet.Question, a fleet.Answer) fleet.Signal {
		return fleet.Signal{Source: fleet.Source{Channel: fleet.ChannelProvider, Vantage: "eu"}, Question: q, Epoch: epoch, Answer: a}
	}
	ill := []fleet.Signal{says(1, fleet.Alive, fleet.Yes), says(1, fleet.Works, fleet.No)}
	well := []fleet.Signal{says(1, fleet.Alive, fleet.CannotTell), says(1, fleet.Works, fleet.Yes)}
	for _, order := range [][2][]fleet.Signal{{ill, well}, {well, ill}} {
		got := withBest(withBest([]fleet.Signal{says(2, fleet.Works, fleet.No)}, order[0]), order[1])
		if len(got) != 3 || got[0].Answer != fleet.No || got[1].Answer != fleet.Yes || got[2].Answer != fleet.Yes {
			t.Errorf("%+v", got)
		}
	}
}
