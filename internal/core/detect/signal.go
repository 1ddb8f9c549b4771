package detect

import (
	"cmp"
	"slices"
	"strings"

	"relight/internal/core/fleet"
)

// sortSignals puts the earliest first and breaks ties by source, so that results
// do not depend on the order of arrival.
func sortSignals(list []fleet.Signal) {
	slices.SortStableFunc(list, earlierSignal)
}

func earlierSignal(a, b fleet.Signal) int {
	return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.Source.Channel, b.Source.Channel),
		cmp.Compare(a.Source.Vantage, b.Source.Vantage), cmp.Compare(a.Question, b.Question))
}

// inOrder returns the signals in one order, so that the order of arrival changes
// no verdict. A list that is in order already is not copied.
func inOrder(list []fleet.Signal) []fleet.Signal {
	if slices.IsSortedFunc(list, earlierSignal) {
		return list
	}
	list = slices.Clone(list)
	sortSignals(list)
	return list
}

// describe says in words what a signal says.
func describe(s fleet.Signal) string {
	yes := s.Answer == fleet.Yes
	switch s.Source.Channel {
	case fleet.ChannelBeat:
		if s.CannotLie {
			return say(yes, "its host agent's beat says that it runs", "its host agent's beat says that it ended", s.Detail)
		}
		return say(yes, "its beats reach the "+s.Source.Vantage, "no beat of it reaches the "+s.Source.Vantage, s.Detail)
	case fleet.ChannelProbe:
		return say(yes, "a probe from "+s.Source.Vantage+" succeeds", "a probe from "+s.Source.Vantage+" fails", s.Detail)
	case fleet.ChannelStorage:
		return say(yes, s.Source.Vantage+" sees its heartbeat on the storage", s.Source.Vantage+" sees no heartbeat on the storage", s.Detail)
	case fleet.ChannelKernel:
		return say(yes, "its kernel tells "+s.Source.Vantage+" that no agent runs", "its kernel tells "+s.Source.Vantage+" nothing", s.Detail)
	case fleet.ChannelApp:
		return say(yes, "its own check on "+s.Source.Vantage+" passes", "its own check on "+s.Source.Vantage+" fails", s.Detail)
	case fleet.ChannelAgent:
		return say(yes, "the agent of "+s.Source.Vantage+" runs it", "the agent of "+s.Source.Vantage+" says that it ended", s.Detail)
	default:
		return say(yes, "the provider's record says that it runs", "the provider's record says that it does not run", s.Detail)
	}
}

func say(yes bool, is, isNot, detail string) string {
	what := isNot
	if yes {
		what = is
	}
	if detail == "" {
		return what
	}
	return what + " (" + detail + ")"
}

func describeAll(list []fleet.Signal) string {
	parts := make([]string, 0, len(list))
	for _, s := range list {
		// A host's beats and those about its server come over one channel.
		if what := describe(s); !slices.Contains(parts, what) {
			parts = append(parts, what)
		}
	}
	return strings.Join(parts, ", ")
}

func orNothing(s string) string {
	if s == "" {
		return "no detail"
	}
	return s
}
