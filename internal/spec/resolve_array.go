package spec

import (
	"fmt"
	"slices"

	"relight/internal/core/fleet"
)

// declareArrays collects the arrays of all sites. Two of one name could not be told
// apart by the volumes that name them.
func (r *resolver) declareArrays() {
	for _, name := range names(r.sites) {
		for i, a := range r.site[name].Spec.Arrays {
			if first, taken := r.arrays[a.Name]; taken {
				r.at(r.sites[name], fmt.Sprintf("spec.arrays[%d].name", i), fmt.Sprintf("the array %q is declared by the site %q already", a.Name, first), "volumes name their array, and only one of the two could be meant", "rename one of them, or declare it at a site above both")
				continue
			}
			r.arrays[a.Name] = name
		}
	}
}

// luns checks that the arrays of a server's LUNs exist where it may run.
func (r *resolver) luns(d Doc, s fleet.Server) {
	for i, v := range s.Spec.Identity.Volumes {
		if v.LUN == nil {
			continue
		}
		path := fmt.Sprintf("spec.identity.volumes[%d].lun.array", i)
		site, known := r.arrays[v.LUN.Array]
		if !known {
			fix := fmt.Sprintf("declare it in spec.arrays of a Site above the hosts, or use one of %v", names(r.arrays))
			if len(r.arrays) == 0 {
				fix = "declare it in spec.arrays of a Site above the hosts"
			}
			if near := didYouMean(v.LUN.Array, names(r.arrays)); near != "" {
				fix = fmt.Sprintf("did you mean %q?", near)
			}
			r.at(d, path, fmt.Sprintf("unknown array %q", v.LUN.Array), "nobody could let the server in, or shut an old epoch out", fix)
			continue
		}
		sites := s.Spec.Placement.Sites
		if len(sites) > 0 && !slices.ContainsFunc(sites, func(place string) bool { return r.above(site, place) || r.above(place, site) }) {
			r.at(d, path, fmt.Sprintf("the array %q serves the site %q, where the server may not run", v.LUN.Array, site), fmt.Sprintf("its placement allows %v only", sites), "declare the array at a site above these, or allow the site "+fmt.Sprintf("%q", site))
		}
	}
}

// above reports whether the site is the other one, or holds it.
func (r *resolver) above(site, other string) bool {
	for range len(r.site) + 1 { // sites in a circle are reported elsewhere
		if site == other {
			return true
		}
		if other = r.site[other].Spec.Parent; other == "" {
			return false
		}
	}
	return false
}
