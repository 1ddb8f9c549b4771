package decide

import (
	"fmt"
	"slices"
	"strings"

	"relight/internal/core/fleet"
)

// NoRung says why a person's wish for a rung can never be carried out for a server,
// whatever its state, or is empty.
func NoRung(server fleet.Server, traits fleet.Traits, rung fleet.Rung) string {
	var ladder []fleet.Rung
	for _, r := range server.Spec.Ladder.Rungs {
		ladder = append(ladder, r.Rung)
	}
	switch {
	case rung == "":
		return ""
	case !slices.Contains(traits.Rungs, rung):
		return fmt.Sprintf("provider %s has no %s; it has: %s", traits.Provider, rung, rungs(traits.Rungs))
	case !slices.Contains(ladder, rung):
		return fmt.Sprintf("the ladder of %s has no %s; it has: %s", server.Name, rung, rungs(ladder))
	default:
		return ""
	}
}

func rungs(list []fleet.Rung) string {
	words := make([]string, 0, len(list))
	for _, r := range list {
		words = append(words, string(r))
	}
	return strings.Join(words, ", ")
}

// Vain says that the request in the view can never be carried out, or is empty. It is
// to be dropped. So is one whose rung cannot help a server that is down or cut off: as long
// as it waits it stands in the way of every rung that could (L1).
func Vain(v View) string {
	if v.Request == nil {
		return ""
	}
	why := ""
	switch {
	case asksMove(v):
		why = NoMove(v, v.Request.Host, v.Request.Snapshot)
	case v.Request.Host == "":
		why = NoRung(v.Server, v.Traits, v.Request.Rung)
		fails := v.Finding.Verdict == fleet.Down || v.Finding.Verdict == fleet.Isolated
		if rung := v.Request.Rung; why == "" && rung != "" && fails {
			if why = unsuited(v, rung); why != "" {
				why = fmt.Sprintf("%s: %s; its ladder decides", rung, why)
			}
		}
	}
	if why == "" {
		return ""
	}
	return fmt.Sprintf("what %s asked for cannot be done: %s", v.Request.By, why)
}
