package spec

import (
	"fmt"
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
	zone := &shape{form: object, name: "EC2Zone", doc: "A zone and the subnet to live in there.", fields: []field{
		{name: "zone", doc: "The availability zone.", required: true, example: "eu-west-1b", shape: &shape{form: text, format: plain(64)}},
		{name: "subnet", doc: "A subnet in it.", required: true, example: "subnet-0d4e5f", shape: &shape{form: text, format: plain(64)}},
	}}
	return &shape{form: object, name: "EC2Elsewhere", doc: "Where else a server may be started. The rung is `move`.", fields: []field{
		{name: "after", doc: "How long its own zone must have had no room for it.", example: "30m", shape: duration(time.Second, year), def: `"30m"`, why: "most shortages end before that, and nothing is lost by waiting but time"},
		{name: "zones", doc: "The zones, in the order in which they are tried.", required: true, shape: &shape{form: list, elem: zone, key: "zone", min: 1, max: 16}},
	}}
}

// elsewhereRules checks that what allows a start in another zone is complete: half of it
// would be found out on the day on which it is needed.
func elsewhereRules(s fleet.ServerSpec, at reporter) {
	t := s.Template.EC2
	var with, without string
	for i, v := range s.Identity.Volumes {
		switch {
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
	case t.Elsewhere != nil && without != "":
		at("spec.template.ec2.elsewhere", fmt.Sprintf("volume %q never leaves its zone", without), "a server is started elsewhere with all of its volumes or not at all", "give it fromSnapshot: {maxLoss: 24h}, or remove elsewhere")
	case t.Elsewhere != nil && len(s.Identity.Interfaces) > 0:
		at("spec.template.ec2.elsewhere", "interface "+s.Identity.Interfaces[0].ID+" never leaves its zone", "a network interface and its private addresses are bound to its subnet", "reach the server by an elastic address, a target group or a name, and remove the interfaces; or remove elsewhere")
	}
}
