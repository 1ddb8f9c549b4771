package spec

import (
	"cmp"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"relight/internal/core/fleet"
)

// Set is what documents amount to: complete values, sorted by name.
type Set struct {
	Servers  []fleet.Server
	Sites    []fleet.Site
	Policies []fleet.Policy
	// Fleet is the effective Policy called default, whether declared or not.
	Fleet fleet.Policy
}

// resolver checks references over all documents and reports those of the new ones.
type resolver struct {
	errs     collector
	docs     []Doc
	policies map[string]Doc
	sites    map[string]Doc
	servers  []Doc
	site     map[string]fleet.Site
	// arrays are the names of the sites that declare them.
	arrays map[string]string
}

// Resolve checks the references between docs and what exists already, and
// returns docs with all fields filled. A document replaces the existing one of
// its kind and name. Existing documents are not returned, but those that a
// changed Policy or Site would break count as problems too. On problems the Set
// is empty and the error is Problems.
func Resolve(docs, existing []Doc) (Set, error) {
	r := &resolver{docs: docs, policies: map[string]Doc{}, sites: map[string]Doc{}, site: map[string]fleet.Site{}, arrays: map[string]string{}}
	all := Merge(existing, docs)
	var order []string
	for _, d := range docs {
		order = append(order, d.problem("", "", "", "").File)
	}
	repeats(docs, &r.errs)
	if err := r.sort(all); err != nil {
		return Set{}, err
	}
	pol, err := NewPolicies(all)
	if err != nil {
		return Set{}, err
	}
	r.parents()
	r.declareArrays()
	servers := r.check(pol)
	r.starts(servers)
	if err := r.errs.err(order); err != nil {
		return Set{}, err
	}
	return r.set(pol, servers), nil
}

// Merge returns the documents of both lists sorted by kind and name; those of
// over replace those of base.
func Merge(base, over []Doc) []Doc {
	byName := map[string]Doc{}
	for _, d := range slices.Concat(base, over) {
		byName[d.String()] = d
	}
	out := make([]Doc, 0, len(byName))
	for _, d := range byName {
		out = append(out, d)
	}
	slices.SortFunc(out, func(a, b Doc) int {
		return cmp.Or(cmp.Compare(slices.Index(Kinds(), a.Kind), slices.Index(Kinds(), b.Kind)), cmp.Compare(a.Name, b.Name))
	})
	return out
}

func (r *resolver) sort(all []Doc) error {
	for _, d := range all {
		switch d.Kind {
		case KindPolicy:
			r.policies[d.Name] = d
		case KindSite:
			s, err := Site(d)
			if err != nil {
				return err
			}
			r.sites[d.Name], r.site[d.Name] = d, s
		case KindServer:
			r.servers = append(r.servers, d)
		}
	}
	return nil
}

func (r *resolver) at(d Doc, path, message, why, fix string) {
	r.errs.add(d.problem(path, message, why, fix))
}

// parents checks that sites form a tree whose kinds get smaller downwards. That
// alone rules out cycles, but a cycle deserves to be named as one.
func (r *resolver) parents() {
	levels := []fleet.SiteKind{fleet.SiteRegion, fleet.SiteZone, fleet.SiteOutpost, fleet.SiteRack, fleet.SiteHost}
	for _, name := range names(r.sites) {
		s, d := r.site[name], r.sites[name]
		if s.Spec.Parent == "" {
			continue
		}
		parent, known := r.site[s.Spec.Parent]
		if !known {
			r.at(d, "spec.parent", fmt.Sprintf("unknown site %q", s.Spec.Parent), "a failure domain without its parent would not count where it belongs", r.near(s.Spec.Parent, names(r.sites), KindSite))
			continue
		}
		if cycle := r.cycle(name); cycle != nil {
			if cycle[0] == slices.Min(cycle) { // once per cycle, not once per member
				r.at(d, "spec.parent", "the sites "+strings.Join(append(cycle, name), " > ")+" form a circle", "sites form a tree", "correct one of these parents")
			}
			continue
		}
		if slices.Index(levels, parent.Spec.Kind) >= slices.Index(levels, s.Spec.Kind) {
			r.at(d, "spec.parent", fmt.Sprintf("a %s cannot lie in the %s %q", s.Spec.Kind, parent.Spec.Kind, parent.Name),
				"the order from large to small is region, zone, outpost, rack, host", "correct the parent, or one of the two kinds")
		}
	}
}

// cycle returns the circle of parents on which the site lies, or nil.
func (r *resolver) cycle(name string) []string {
	path := []string{name}
	for at := r.site[name].Spec.Parent; at != ""; at = r.site[at].Spec.Parent {
		if at == name {
			return path
		}
		if len(path) > len(r.site) {
			return nil // leads into a circle, but lies not on it
		}
		path = append(path, at)
	}
	return nil
}

func (r *resolver) check(pol *Policies) map[string]fleet.Server {
	out := make(map[string]fleet.Server, len(r.servers))
	holders := map[string]string{}
	for _, d := range r.servers {
		s, err := pol.Effective(d)
		if errors.Is(err, ErrUnknownPolicy) {
			var named fleet.ServerSpec
			if d.spec(&named) == nil {
				r.at(d, "spec.policy", fmt.Sprintf("unknown policy %q", named.Policy), "its rules would fall back to the defaults without a word", r.near(named.Policy, names(r.policies), KindPolicy))
			}
			continue
		}
		if err != nil {
			r.at(d, "", err.Error(), "", "")
			continue
		}
		out[d.Name] = s
		for i, site := range s.Spec.Placement.Sites {
			if _, known := r.sites[site]; !known {
				r.at(d, fmt.Sprintf("spec.placement.sites[%d]", i), fmt.Sprintf("unknown site %q", site), "the server could never be placed there", r.near(site, names(r.sites), KindSite))
			}
		}
		r.timing(d, s.Spec.Rules)
		r.luns(d, s)
		r.claims(d, s, holders)
	}
	return out
}

// timing checks rules against each other once they are filled, because one may
// come from the server and the other from its Policy.
func (r *resolver) timing(d Doc, rules fleet.Rules) {
	h := rules.Health
	if least := h.Check.Interval.Std() + h.Check.Timeout.Std(); !h.Check.IsZero() && h.SuspectAfter.Std() < least {
		r.at(d, "spec.health.suspectAfter", fmt.Sprintf("suspectAfter %s is shorter than interval %s plus timeout %s", shortSpan(h.SuspectAfter.Std()), shortSpan(h.Check.Interval.Std()), shortSpan(h.Check.Timeout.Std())),
			"a healthy server would look silent between two checks", "set spec.health.suspectAfter to at least "+shortSpan(least))
	}
	if l := rules.Ladder; l.MaxBackOff < l.BackOff {
		r.at(d, "spec.ladder.maxBackOff", fmt.Sprintf("maxBackOff %s is shorter than backOff %s", shortSpan(l.MaxBackOff.Std()), shortSpan(l.BackOff.Std())),
			"the wait grows from backOff to maxBackOff", "set spec.ladder.maxBackOff to at least "+shortSpan(l.BackOff.Std()))
	}
}

// claims reports what two servers both want to own: only one could hold it.
func (r *resolver) claims(d Doc, s fleet.Server, holders map[string]string) {
	claim := func(what, path, message string) {
		if first, taken := holders[what]; taken {
			r.at(d, path, fmt.Sprintf("%s belongs to %s already", message, first), "it moves with one server; two would take it from each other", "give each server its own")
			return
		}
		holders[what] = d.String()
	}
	for i, a := range s.Spec.Identity.Addresses {
		claim("ip "+a.IP, fmt.Sprintf("spec.identity.addresses[%d].ip", i), "the address "+a.IP)
	}
	if vm := s.Spec.Template.VM; vm != nil {
		claim("mac "+vm.MAC, "spec.template.vm.mac", "the interface address "+vm.MAC)
	}
	for i, v := range s.Spec.Identity.Volumes {
		at := fmt.Sprintf("spec.identity.volumes[%d]", i)
		switch {
		case v.LUN != nil:
			claim("lun "+v.LUN.Array+" "+v.LUN.Name, at+".lun", fmt.Sprintf("the LUN %q of the array %q", v.LUN.Name, v.LUN.Array))
		case v.ID != "":
			claim("id "+s.Spec.Provider+" "+v.ID, at+".id", fmt.Sprintf("the volume id %q", v.ID))
		case v.Reach != fleet.ReachHost: // paths on one host only may be equal on several
			claim("path "+path.Clean(v.Path), at+".path", fmt.Sprintf("the directory %q", v.Path))
		}
	}
}

func (r *resolver) near(name string, known []string, k Kind) string {
	if near := didYouMean(name, known); near != "" {
		return fmt.Sprintf("did you mean %q?", near)
	}
	return fmt.Sprintf("declare the %s %q, or use the name of one that exists", k, name)
}

func names[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for n := range m {
		out = append(out, n)
	}
	slices.Sort(out)
	return out
}

func (r *resolver) set(pol *Policies, servers map[string]fleet.Server) Set {
	s := Set{Fleet: pol.Fleet()}
	for _, d := range Merge(nil, r.docs) {
		switch d.Kind {
		case KindServer:
			s.Servers = append(s.Servers, servers[d.Name])
		case KindSite:
			s.Sites = append(s.Sites, r.site[d.Name])
		case KindPolicy:
			if p, ok := pol.Policy(d.Name); ok {
				s.Policies = append(s.Policies, p)
			}
		}
	}
	return s
}
