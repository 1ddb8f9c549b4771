package spec

import (
	"fmt"
	"slices"
	"time"

	"relight/internal/core/fleet"
)

// defaultElsewhereAfter outlasts most of what EC2 calls a shortage, and is shorter than
// what people take to decide.
const defaultElsewhereAfter = fleet.Duration(30 * time.Minute)

func fromSnapshotShape() *shape {
	return &shape{form: object, name: "FromSnapshot", doc: "What may be lost of a volume that is made anew from a snapshot.", fields: []field{
		{name: "maxLoss", doc: "How old the newest complete snapshot may be when that is decided. An older one holds the server.", required: true, example: "24h", shape: duration(time.Minute, year)},
	}}
}

func elsewhereShape() *shape {
	swap := &shape{form: object, name: "EC2ZoneInterface", doc: "An interface that takes the place of one of the server's own.", fields: []field{
		{name: "instead", doc: "The id of the one in identity.interfaces.", required: true, example: "eni-0a1b2c", shape: &shape{form: text, format: plain(64)}},
		{name: "id", doc: "The id of the one in the zone's subnet.", required: true, example: "eni-0d4e5f", shape: &shape{form: text, format: plain(64)}},
	}}
	zone := &shape{form: object, name: "EC2Zone", doc: "A zone, or an Outpost in it, and the subnet to live in there.", fields: []field{
		{name: "zone", doc: "The availability zone.", required: true, example: "eu-west-1b", shape: &shape{form: text, format: plain(64)}},
		{name: "subnet", doc: "A subnet in it.", required: true, example: "subnet-0d4e5f", shape: &shape{form: text, format: plain(64)}},
		{name: "outpost", doc: "The ARN of the Outpost that the subnet lies on. Volumes of EBS stay on their Outpost: a server with some goes to none.", example: `"arn:aws:outposts:eu-west-1:123456789012:outpost/op-0a1b2c"`, shape: &shape{form: text, format: plain(256)}},
		{name: "arrays", doc: "The arrays whose LUNs an instance there reaches. A server with a LUN on another is not started there.", example: "[san-1]", shape: &shape{form: list, unique: true, max: 16, elem: &shape{form: text, format: plain(64)}}},
		{name: "interfaces", doc: "Interfaces that wait there for the server. One that is not named is made anew in the subnet, with the security groups of the old one.", shape: &shape{form: list, elem: swap, key: "instead", max: 16}},
	}}
	return &shape{form: object, name: "EC2Elsewhere", doc: "Where else a server may be started. The rung is `move`.", fields: []field{
		{name: "after", doc: "How long its own zone must have had no room for it, or been lost.", example: "30m", shape: duration(time.Second, year), def: `"30m"`, why: "most shortages end before that, and nothing is lost by waiting but time"},
		{name: "zones", doc: "The zones, in the order in which they are tried.", required: true, shape: &shape{form: list, elem: zone, key: "subnet", min: 1, max: 16}},
	}}
}

// elsewhereRules checks that what allows a start in another zone is complete: half of it
// would be found out on the day on which it is needed.
func elsewhereRules(s fleet.ServerSpec, at reporter) {
	t := s.Template.EC2
	var with, without string
	for i, v := range s.Identity.Volumes {
		switch {
		case v.LUN != nil && v.FromSnapshot != nil:
			at(fmt.Sprintf("spec.identity.volumes[%d].fromSnapshot", i), fmt.Sprintf("volume %q is a LUN, which is not made anew", v.Name), "wherever the server is started, it uses the same one", "remove fromSnapshot")
		case v.LUN != nil:
		case v.FromSnapshot == nil:
			without = v.Name
		case t == nil && s.Template != (fleet.Template{}):
			at(fmt.Sprintf("spec.identity.volumes[%d].fromSnapshot", i), fmt.Sprintf("nobody would make volume %q anew", v.Name), "only volumes of EC2 are made from snapshots", "remove fromSnapshot, or use template.ec2")
		default:
			with = v.Name
		}
	}
	if t == nil {
		return
	}
	switch {
	case t.Elsewhere == nil && with != "":
		at("spec.template.ec2.elsewhere", fmt.Sprintf("volume %q may be made anew, but the spec names no other zone", with), "nothing says where the server would be started", "add elsewhere: {zones: [{zone: …, subnet: …}]}, or remove fromSnapshot")
	case t.Elsewhere == nil:
		for i, n := range s.Identity.Interfaces {
			if n.NewAddress {
				at(fmt.Sprintf("spec.identity.interfaces[%d].newAddress", i), "interface "+n.ID+" may be replaced, but the spec names no other zone", "nothing says where the server would be started", "add template.ec2.elsewhere, or remove newAddress")
			}
		}
	case without != "":
		at("spec.template.ec2.elsewhere", fmt.Sprintf("volume %q never leaves its zone", without), "a server is started elsewhere with all of its volumes or not at all", "give it fromSnapshot: {maxLoss: 24h}, or remove elsewhere")
	default:
		elsewhereInterfaceRules(s, at)
		elsewhereOutpostRules(s, at)
		elsewhereArrayRules(s, at)
	}
}

// elsewhereInterfaceRules checks that each interface may be replaced, and that what waits
// in a zone waits for one that there is.
func elsewhereInterfaceRules(s fleet.ServerSpec, at reporter) {
	own := map[string]bool{}
	for i, n := range s.Identity.Interfaces {
		own[n.ID] = true
		if !n.NewAddress {
			at(fmt.Sprintf("spec.identity.interfaces[%d]", i), "interface "+n.ID+" never leaves its zone", "a network interface and its private addresses are bound to its subnet", "allow that another one takes its place: newAddress: true; or remove elsewhere")
		}
	}
	for i, z := range s.Template.EC2.Elsewhere.Zones {
		for k, n := range z.Interfaces {
			if !own[n.Instead] {
				at(fmt.Sprintf("spec.template.ec2.elsewhere.zones[%d].interfaces[%d].instead", i, k), "the server has no interface "+n.Instead, "nothing would take its place", "name one of spec.identity.interfaces, or remove the line")
			}
		}
	}
}

// elsewhereOutpostRules checks that no volume is to follow to an Outpost, and that no two
// places have one name: a place that refused is left out by that.
func elsewhereOutpostRules(s fleet.ServerSpec, at reporter) {
	first := map[string]int{}
	for i, z := range s.Template.EC2.Elsewhere.Zones {
		path := fmt.Sprintf("spec.template.ec2.elsewhere.zones[%d]", i)
		bound := slices.IndexFunc(s.Identity.Volumes, func(v fleet.Volume) bool { return v.LUN == nil })
		if z.Outpost != "" && bound >= 0 {
			at(path+".outpost", fmt.Sprintf("volume %q cannot follow to an Outpost", s.Identity.Volumes[bound].Name), "volumes of EBS stay on their Outpost, and an Outposts server has none", "keep the data on a LUN (lun: {array: …}); or remove outpost")
		}
		if k, twice := first[z.Place()]; twice {
			at(path, fmt.Sprintf("%s is named twice, by zones[%d] too", z.Place(), k), "one that has no room is left out by its name", "keep one of the two")
		}
		first[z.Place()] = i
	}
}

// elsewhereArrayRules checks that each place reaches the arrays of the server's LUNs.
func elsewhereArrayRules(s fleet.ServerSpec, at reporter) {
	for i, z := range s.Template.EC2.Elsewhere.Zones {
		path := fmt.Sprintf("spec.template.ec2.elsewhere.zones[%d]", i)
		if array := z.Misses(s.Identity.Volumes); array != "" {
			at(path, fmt.Sprintf("nothing says that %s reaches the array %q", z.Place(), array), "a LUN is where its array is, and the server would start without its data", fmt.Sprintf("if instances there reach it, add arrays: [%s]; if not, remove the place", array))
		}
		for k, array := range z.Arrays {
			if !slices.ContainsFunc(s.Identity.Volumes, func(v fleet.Volume) bool { return v.LUN != nil && v.LUN.Array == array }) {
				at(fmt.Sprintf("%s.arrays[%d]", path, k), fmt.Sprintf("the server has no LUN on an array %q", array), "a line that nobody reads would silently do nothing", "remove it, or correct the name")
			}
		}
	}
}
