package providertest

import (
	"slices"

	"relight/internal/core/fleet"
)

// Cases returns all cases.
func Cases() []Case {
	return slices.Concat(startCases(), replayCases(), fenceCases(), holdCases(), inPlaceCases(), sightCases())
}

func lacksRung(r fleet.Rung) func(Harness) string {
	return func(h Harness) string {
		t := h.Provider.Traits()
		if !slices.Contains(t.Rungs, r) || (r == fleet.RestartApp && t.AppIsInstance) {
			return "it has no rung " + string(r) + " that works in place"
		}
		return ""
	}
}

func lacksPlaces(h Harness) string {
	if !h.Provider.Traits().Places {
		return "it chooses the hosts itself"
	}
	return ""
}

func lacksCut(h Harness) string {
	if h.Cut == nil {
		return "its hosts cannot be cut off"
	}
	return ""
}

func lacksSeals(h Harness) string {
	if !h.Provider.Traits().Seals {
		return "its volumes carry no epoch file"
	}
	return ""
}

func lacksWakes(h Harness) string {
	if h.Provider.Wakes() == nil {
		return "it has no wakes"
	}
	return ""
}
