package examine

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"relight/internal/core/fleet"
	"relight/internal/core/pace"
	"relight/internal/provider/aws"
)

// How long what steps ask for takes on EC2, each about the slow end of what is usual:
// what is foretold is for a bad day. They are our assumption; no account was measured.
const (
	detects  = 2 * time.Minute // two of its status checks, and the rules
	ends     = time.Minute
	starts   = 90 * time.Second
	attaches = 10 * time.Second
	verifies = 30 * time.Second
)

// pace foretells when the last server is back if all of them fail at once and each is
// relaunched, and holds that against what was asked for.
func (f Facts) pace() Finding {
	out := Finding{Check: "pace", State: OK}
	if len(f.Servers) == 0 {
		out.State, out.What, out.Why, out.Next = Warn, "no server on EC2 is declared", "there is nothing to examine", "relight import aws i-…"
		return out
	}
	names := map[string]bool{}
	for _, s := range f.Servers {
		names[s.Name] = true
	}
	var nodes []pace.Node
	for _, s := range f.Servers {
		n := pace.Node{Server: s.Name, Priority: s.Spec.Priority, Within: max(f.RTO-detects, 0)}
		for _, a := range s.Spec.After {
			if names[a] { // others are elsewhere, and come back by other quotas
				n.After = append(n.After, a)
			}
		}
		nodes = append(nodes, n)
	}
	plan, err := pace.Compile(nodes, legs(f.Servers), f.Quotas.Limits(f.Share).APIs)
	if err != nil {
		out.State, out.What, out.Why, out.Next = Fail, err.Error(), "they would wait for each other for ever", "relight get servers -o yaml"
		return out
	}
	back := (plan.Back + detects).Round(time.Second)
	out.What = fmt.Sprintf("if all %d fail at once, the last is back after %s, with %.0f %% of the request quotas (Service Quotas tells %d of them, the others are EC2's defaults)", len(nodes), back, 100*f.Share, f.Told)
	if f.RTO == 0 || back <= f.RTO {
		return out
	}
	var late []string
	for _, p := range plan.Late {
		late = append(late, p.Server)
	}
	out.State = Fail
	out.What = fmt.Sprintf("cannot meet its RTO with today's quotas: %d of %d servers (%s) would be back after %s; %s", len(late), len(nodes), some(late), f.RTO, out.What)
	out.Why = "no call is made sooner than its token bucket allows"
	out.Next = "ask AWS for higher RunInstances and StartInstances request rates, spread the servers over accounts or regions, or accept it: relight doctor aws --rto " + back.String()
	return out
}

func some(names []string) string {
	if len(names) > 3 {
		return strings.Join(names[:3], ", ") + " and others"
	}
	return strings.Join(names, ", ")
}

// legs are the calls of a relaunch, with as many parts of an identity as the server
// with the most of each has.
func legs(servers []fleet.Server) []pace.Leg {
	leg := func(kind fleet.StepKind, o fleet.Object, takes time.Duration) pace.Leg {
		return pace.Leg{Uses: aws.Uses(kind, o, fleet.Relaunch), Takes: takes, Gated: true}
	}
	var volumes, interfaces, addresses, names int
	for _, s := range servers {
		id := s.Spec.Identity
		volumes, addresses, names = max(volumes, len(id.Volumes)), max(addresses, len(id.Addresses)), max(names, len(id.Names))
		interfaces = max(interfaces, len(slices.DeleteFunc(slices.Clone(id.Interfaces), func(n fleet.Interface) bool { return n.Index == 0 })))
	}
	out := []pace.Leg{leg(fleet.StepStop, fleet.Object{}, ends), leg(fleet.StepLaunch, fleet.Object{}, starts)}
	for kind, n := range []int{volumes, interfaces, addresses, names} {
		o := []fleet.Object{{Volume: "x"}, {Interface: "x"}, {Address: "x"}, {Name: "x"}}[kind]
		for range n {
			out = append(out, leg(fleet.StepAttach, o, attaches))
		}
	}
	return append(out, pace.Leg{Takes: verifies, Gated: true})
}

// cpus looks whether the account may run one more instance of the largest type: one on
// dead hardware can count for as long as EC2 takes to end it.
func (f Facts) cpus() Finding {
	out := Finding{Check: "vcpus", State: OK}
	need, who := 0, ""
	for _, s := range f.Servers {
		if n := f.CPUs[f.Launches[s.Name].Type]; n > need {
			need, who = n, s.Name
		}
	}
	if f.QuotaCPUs == 0 {
		out.State, out.What, out.Why, out.Next = Warn, "the vCPU quota could not be read", "a launch beyond it is refused (VcpuLimitExceeded)", "aws service-quotas get-service-quota --service-code ec2 --quota-code L-1216C47A"
		return out
	}
	free := f.QuotaCPUs - f.UsedCPUs
	out.What = fmt.Sprintf("%d of %d vCPUs of standard types are used", f.UsedCPUs, f.QuotaCPUs)
	if free < need {
		out.State = Fail
		out.What += fmt.Sprintf("; %s needs %d", who, need)
		out.Why = "an instance that still ends counts, and the next one is refused (VcpuLimitExceeded) until it is gone"
		out.Next = fmt.Sprintf("aws service-quotas request-service-quota-increase --service-code ec2 --quota-code L-1216C47A --desired-value %d", f.UsedCPUs+need)
	}
	return out
}

// capacity looks where a server could be launched. What is free of the pools that all
// customers share, no call tells.
func (f Facts) capacity(s fleet.Server) []Finding {
	t, l := s.Spec.Template.EC2, f.Launches[s.Name]
	if t == nil {
		return nil
	}
	var out []Finding
	add := func(state State, what, why, next string) {
		out = append(out, Finding{"server " + s.Name, state, what, why, next})
	}
	if l.Missing != "" {
		add(Fail, l.Missing, "no instance could be launched", "relight import aws INSTANCE --name "+s.Name)
		return out
	}
	n, known := f.Subnets[l.Subnet]
	if !known {
		return out
	}
	if n.Free == 0 && !primary(s) {
		add(Fail, fmt.Sprintf("subnet %s has no free address", l.Subnet), "a launch needs one for its interface", "keep the primary interface: spec.identity.interfaces with index 0; or free an address")
	}
	for _, v := range s.Spec.Identity.Volumes {
		if z := f.Volumes[v.ID].Zone; z != "" && z != n.Zone {
			add(Fail, fmt.Sprintf("volume %s is in %s and subnet %s in %s", v.Name, z, l.Subnet, n.Zone), "a volume is attached only within its zone", "aws ec2 create-snapshot --volume-id "+v.ID)
		}
	}
	var offered []string
	for _, kind := range append([]string{l.Type}, t.Types...) {
		if list, read := f.Offered[n.Zone]; read && !slices.Contains(list, kind) {
			add(Fail, fmt.Sprintf("%s is not offered in %s", kind, n.Zone), "a launch of it is refused", "aws ec2 describe-instance-type-offerings --location-type availability-zone --filters Name=location,Values="+n.Zone)
			continue
		}
		offered = append(offered, kind)
	}
	reserved := slices.ContainsFunc(f.Reserved, func(r Reserved) bool { return r.Zone == n.Zone && r.Free > 0 && slices.Contains(offered, r.Type) })
	switch {
	case n.Outpost != "":
		out = append(out, f.room(s, n.Outpost, offered)...)
	case len(offered) < 2 && !reserved:
		add(Warn, fmt.Sprintf("it has one machine type in %s (%s) and no reserved capacity", n.Zone, l.Type), "if that is sold out when it fails, it stays down", "add spec.template.ec2.types; or: aws ec2 create-capacity-reservation --instance-type "+l.Type+" --availability-zone "+n.Zone+" --instance-count 1 --instance-platform Linux/UNIX")
	}
	return out
}

// room looks whether an Outpost, and those that a server may go to, take one more of it:
// the slot that it has is lost with the machine below it.
func (f Facts) room(s fleet.Server, outpost string, kinds []string) []Finding {
	var out []Finding
	add := func(state State, what, why, at string) {
		out = append(out, Finding{"server " + s.Name, state, what, why, "aws outposts list-assets --outpost-identifier " + at})
	}
	fits := func(arn string) bool {
		return slices.ContainsFunc(kinds, func(k string) bool { return f.Rooms[arn].Free[k] > 0 })
	}
	places := []string{outpost}
	others := false // places of the region, of which nobody tells what is free
	if e := s.Spec.Template.EC2.Elsewhere; e != nil {
		for _, z := range e.Zones {
			if z.Outpost != "" {
				places = append(places, z.Outpost)
			}
			others = others || z.Outpost == ""
		}
	}
	somewhere := others
	var full []string
	for _, arn := range places {
		r := f.Rooms[arn]
		somewhere = somewhere || r.Free == nil || fits(arn)
		switch {
		case r.Free == nil:
			why := "how much room that has could not be read"
			if r.Blind != "" {
				why += ": " + r.Blind
			}
			add(Warn, "it needs room on the outpost "+arn, why, arn)
		case !fits(arn):
			full = append(full, arn)
		}
	}
	for _, arn := range full {
		what := fmt.Sprintf("the outpost %s has no free slot for %s", arn, strings.Join(kinds, ", "))
		switch {
		case !somewhere:
			add(Fail, what, "when the machine below the server fails, there is nowhere to start it", arn)
		case arn != outpost:
			add(Warn, what, "a start elsewhere passes it over", arn)
		}
	}
	return out
}

func primary(s fleet.Server) bool {
	return slices.ContainsFunc(s.Spec.Identity.Interfaces, func(n fleet.Interface) bool { return n.Index == 0 })
}

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
