package spec

import (
	"fmt"
	"slices"
	"strings"

	"relight/internal/core/fleet"
)

// starts checks that the servers which others wait for exist and form no circle: in
// one, each would wait for the others until the bound of its wait.
func (r *resolver) starts(servers map[string]fleet.Server) {
	known := make(map[string]bool, len(r.servers))
	for _, d := range r.servers {
		known[d.Name] = true
	}
	for _, d := range r.servers {
		s, ok := servers[d.Name]
		if !ok {
			continue // it is reported elsewhere
		}
		for i, name := range s.Spec.After {
			path := fmt.Sprintf("spec.after[%d]", i)
			switch {
			case !known[name]:
				r.at(d, path, fmt.Sprintf("unknown server %q", name), "nobody could tell when it works", r.near(name, names(known), KindServer))
			case slices.Index(s.Spec.After, name) < i:
				r.at(d, path, fmt.Sprintf("%q is named twice", name), "", "remove one of the two")
			default:
				r.circle(d, path, name, servers)
			}
		}
	}
}

// circle reports the way from a server back to the one that waits for it, once for
// each circle: at the member whose name comes first.
func (r *resolver) circle(d Doc, path, first string, servers map[string]fleet.Server) {
	way := wayTo(d.Name, first, servers, map[string]bool{})
	if way == nil || d.Name != slices.Min(way) {
		return
	}
	r.at(d, path, "the servers "+strings.Join(append([]string{d.Name}, way...), " > ")+" wait for each other in a circle", "none of them could start first", "remove one of these from spec.after")
}

// wayTo returns the servers from one to the goal along what they wait for, or nil.
func wayTo(goal, from string, servers map[string]fleet.Server, seen map[string]bool) []string {
	if from == goal {
		return []string{from}
	}
	if seen[from] {
		return nil
	}
	seen[from] = true
	for _, next := range servers[from].Spec.After {
		if way := wayTo(goal, next, servers, seen); way != nil {
			return append([]string{from}, way...)
		}
	}
	return nil
}
