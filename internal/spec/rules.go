package spec

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"relight/internal/core/fleet"
)

// rules checks what spans several fields of one document. It runs on documents
// with faults too, to say everything at once; fields with faults are just unset.
// Whole says that there were none.
func (c *checker) rules(d Doc, whole bool) {
	at := func(path, message, why, fix string) { c.errs.add(d.problem(path, message, why, fix)) }
	switch d.Kind {
	case KindServer:
		var s fleet.ServerSpec
		if d.spec(&s) != nil {
			return
		}
		volumeRules(s, at)
		lunRules(d, s, at)
		ec2Rules(s, at)
		templateRules(s, at)
		quiesceRules(s, at)
		_, fence := c.marks["spec.fence"]
		vmRules(d, s, fence, at)
		apartRules(d, s, at)
		rungRules(s.Ladder.Rungs, at)
	case KindPolicy:
		var p fleet.PolicySpec
		if d.spec(&p) != nil {
			return
		}
		rungRules(p.Ladder.Rungs, at)
		for _, name := range []string{"budget", "storm"} {
			if _, set := c.marks["spec."+name]; set && d.Name != DefaultPolicy && d.Name != "" {
				at("spec."+name, fmt.Sprintf("spec.%s has no meaning in the Policy %q", name, d.Name),
					"it guards the whole fleet, and only the Policy called default does that", "move it into the Policy called default")
			}
		}
	case KindSite:
		var s fleet.SiteSpec
		if d.spec(&s) != nil {
			return
		}
		siteRules(d, s, whole, at)
		arrayRules(s, at)
	}
}

// reporter adds a problem at a path of the document in hand.
type reporter func(path, message, why, fix string)

func volumeRules(s fleet.ServerSpec, at reporter) {
	where := map[string]string{}
	for i, v := range s.Identity.Volumes {
		path := fmt.Sprintf("spec.identity.volumes[%d]", i)
		if place := v.Path + v.ID; place != "" {
			if first, twice := where[place]; twice {
				at(path, fmt.Sprintf("volume %q lies where volume %q lies", v.Name, first), "two volumes in one place would be fenced and locked as one", "give each its own path or id")
			} else {
				where[place] = v.Name
			}
		}
		switch {
		case v.Path != "" && v.Reach == fleet.ReachZone:
			at(path+".reach", "a path cannot reach a zone", "nothing stops two hosts from opening the same directory; a provider enforces it for ids only", `use host, machine or shared`)
		case v.ID != "" && v.Reach != "" && v.Reach != fleet.ReachZone:
			at(path+".reach", fmt.Sprintf("a volume with an id cannot have reach %q", v.Reach), "its provider attaches it to one instance at a time within its zone", `write zone, or remove the line`)
		}
		if v.ID != "" && s.Template.Process != nil {
			at(path+".id", fmt.Sprintf("a process cannot use volume %q", v.Name), "a process opens directories; nothing would attach an id for it", "give the volume a path")
		}
	}
}

// providerOf is the provider that carries out a template.
func providerOf(t fleet.Template) string {
	switch {
	case t.Process != nil, t.VM != nil:
		return "onprem"
	case t.EC2 != nil:
		return "aws"
	case t.Sim != nil:
		return "sim"
	default:
		return ""
	}
}

var placeholder = regexp.MustCompile(`\$\{[^}]*\}?`)

func templateRules(s fleet.ServerSpec, at reporter) {
	if want := providerOf(s.Template); s.Provider != "" && want != "" && s.Provider != want {
		at("spec.provider", fmt.Sprintf("provider %q cannot run this template", s.Provider), "its template is run by "+want, fmt.Sprintf("write %s, or remove the line", want))
	}
	if s.Template.Process != nil {
		commandRules(s, "spec.template.process.command", s.Template.Process.Command, "the instance would start with a path that does not exist", at)
	}
}

// commandRules checks a program with its arguments; lost is what a volume that is not
// there would do.
func commandRules(s fleet.ServerSpec, field string, command []string, lost string, at reporter) {
	var volumes []string
	for _, v := range s.Identity.Volumes {
		volumes = append(volumes, v.Name)
	}
	for i, arg := range command {
		path := fmt.Sprintf("%s[%d]", field, i)
		if i == 0 && arg == "" {
			at(path, "the program has no name", "the first element is the program", `write its path, such as "/usr/bin/web"`)
		}
		for _, p := range placeholder.FindAllString(arg, -1) {
			kind, name, _ := strings.Cut(strings.Trim(p, "${}"), ":")
			n, err := strconv.ParseUint(name, 10, 8)
			switch {
			case kind == "volume" && slices.Contains(volumes, name), kind == "address" && err == nil && int(n) < len(s.Identity.Addresses):
			case kind == "volume":
				at(path, fmt.Sprintf("%s names no volume of this server", p), lost, suggestion(name, volumes))
			case kind == "address":
				at(path, fmt.Sprintf("%s names no address of this server", p), fmt.Sprintf("it has %d, counted from 0", len(s.Identity.Addresses)), "correct the number, or add the address to spec.identity.addresses")
			case didYouMean(kind, []string{"volume", "address"}) != "": // anything else may be meant for a shell in the command
				at(path, fmt.Sprintf("unknown placeholder %s", quote(p)), "it would reach the program as it is", "use ${volume:NAME} or ${address:N}")
			}
		}
	}
}

func apartRules(d Doc, s fleet.ServerSpec, at reporter) {
	for i, key := range s.Placement.Apart {
		if _, carries := d.Labels[key]; key != "" && !carries {
			fix := fmt.Sprintf("add the label %s to metadata.labels", key)
			if near := didYouMean(key, slices.Sorted(maps.Keys(d.Labels))); near != "" {
				fix = fmt.Sprintf("did you mean %q?", near)
			}
			at(fmt.Sprintf("spec.placement.apart[%d]", i), fmt.Sprintf("the server has no label %q", key), "without it nothing would be kept apart", fix)
		}
	}
}

func rungRules(rungs []fleet.RungSpec, at reporter) {
	order := fleet.Rungs()
	for i := 1; i < len(rungs); i++ {
		before, here := slices.Index(order, rungs[i-1].Rung), slices.Index(order, rungs[i].Rung)
		if here >= 0 && here < before {
			at(fmt.Sprintf("spec.ladder.rungs[%d].rung", i), fmt.Sprintf("%s comes after %s", rungs[i].Rung, rungs[i-1].Rung),
				"a recovery climbs from the gentlest action to the farthest", "put it before")
		}
	}
}

func siteRules(d Doc, s fleet.SiteSpec, whole bool, at reporter) {
	if d.Name == "fleet" {
		at("metadata.name", `a site cannot be called "fleet"`, "that word means all servers wherever a scope is named", "choose another name")
	}
	if s.Power != nil && s.Kind != "" && s.Kind != fleet.SiteHost {
		at("spec.power", fmt.Sprintf("a %s has no power device", s.Kind), "power fencing switches off one host", "move it into the Site of the host")
	}
	powerRules(s.Power, at)
	if whole && s.Parent == d.Name {
		at("spec.parent", fmt.Sprintf("the site %q is its own parent", d.Name), "sites form a tree", "name the site that holds it, or remove the line")
	}
}
