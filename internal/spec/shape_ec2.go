package spec

import (
	"time"

	"relight/internal/core/fleet"
)

func ec2Shape() *shape {
	return &shape{form: object, name: "EC2Template", doc: "An instance of EC2. Whatever its rules say, suspectAfter is at least 20s, downAfter 30s, impairedAfter 1m, startupGrace 3m and verifyWithin 5m: EC2 tells no sooner.", fields: []field{
		{name: "launchTemplate", doc: "The id of the launch template. Without it, `launch` has an image and a type.", example: "lt-0a1b2c", shape: &shape{form: text, format: plain(64)}},
		{name: "version", doc: "Its version, a number: one that moves would make another server in the middle of a recovery.", example: "3", shape: number(1, 1_000_000)},
		{name: "launch", doc: "What an instance is launched with beside the launch template, or instead of one. `relight import aws` writes it.", shape: ec2LaunchShape()},
		{name: "subnet", doc: "The subnet that it lives in, unless its primary interface or the template says so.", example: "subnet-0a1b2c", shape: &shape{form: text, format: plain(64)}},
		{name: "elsewhere", doc: "Other zones and Outposts that it may be started in, with volumes made from snapshots: what they lack is lost. Each of its volumes needs fromSnapshot, each of its interfaces newAddress.", shape: elsewhereShape()},
		{name: "types", doc: "Instance types to try, in order, when the template's has no capacity.", example: "[m7i.large, m6i.large]", shape: &shape{form: list, unique: true, max: 16, elem: &shape{form: text, format: plain(64)}}},
		{
			name: "autoRecovery", doc: "Who moves the instance when its hardware fails: never both.", example: "ours", def: `"ours"`,
			why: "the platform's recovery asks no budget and tells nobody",
			shape: words("Who moves the instance when its hardware fails.",
				option{string(fleet.AutoRecoveryPlatform), "EC2's simplified automatic recovery; Relight steps in once that has had its time"},
				option{string(fleet.AutoRecoveryOurs), "Relight; it switches EC2's off"}),
		},
		{name: "guestBeat", doc: "Whether the guest agent is started in the instance and beats. It is, whatever this says, if a volume has a mount.", example: "true", shape: &shape{form: truth}, def: "false", why: "an image without the agent would never beat"},
		{name: "skipOSShutdown", doc: "End an instance without waiting for its operating system: a quicker fence, no flush.", example: "true", shape: &shape{form: truth}, def: "false", why: "a shutdown flushes what a guest still holds"},
	}}
}

func interfaceShape() *shape {
	return &shape{form: object, name: "Interface", doc: "A network interface of EC2, with its private addresses and hardware address.", fields: []field{
		{name: "id", doc: "Its id.", required: true, example: "eni-0a1b2c", shape: &shape{form: text, format: plain(64)}},
		{name: "index", doc: "Its place on the instance; 0 is the primary one.", example: "1", shape: number(0, 15), def: "0", why: "most servers have one interface"},
		{name: "mac", doc: "Its hardware address as it was captured; shown by `relight import aws --diff` if it has changed.", example: `"0a:1b:2c:3d:4e:5f"`, shape: &shape{form: text, format: plain(17)}},
		{name: "addresses", doc: "Its private addresses as they were captured, the primary first.", example: "[10.0.1.9]", shape: &shape{form: list, unique: true, max: 64, elem: &shape{form: text, format: ipAddress()}}},
		{name: "groups", doc: "Its security groups as they were captured.", example: "[sg-0a1b2c]", shape: &shape{form: list, unique: true, max: 16, elem: &shape{form: text, format: plain(64)}}},
		{name: "newAddress", doc: "Allow that another interface takes its place in another zone, with other private addresses and another hardware address (EC2; see template.ec2.elsewhere). Licences that are bound to the hardware address do not follow.", example: "true", shape: &shape{form: truth}},
		{name: "noSourceCheck", doc: "It was captured without the check of source and destination.", example: "true", shape: &shape{form: truth}},
	}}
}

func groupShape() *shape {
	return &shape{form: object, name: "Group", doc: "A target group.", fields: []field{
		{name: "id", doc: "Its ARN.", required: true, example: "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/web/6d0ecf831eec9f09", shape: &shape{form: text, format: plain(256)}},
		{name: "ports", doc: "The ports on which the server is registered there, where it is not the group's own.", example: "[8080, 8443]", shape: &shape{form: list, unique: true, max: 16, elem: number(1, 65535)}},
	}}
}

func dnsNameShape() *shape {
	return &shape{form: object, name: "DNSName", doc: "A DNS record of Route 53.", fields: []field{
		{name: "name", doc: "The record's name.", required: true, example: "db.example.com", shape: &shape{form: text, format: plain(253)}},
		{name: "zone", doc: "The id of the hosted zone.", required: true, example: "Z0123456789ABC", shape: &shape{form: text, format: plain(64)}},
		{name: "ttl", doc: "How long resolvers may keep the answer.", example: "60s", shape: duration(time.Second, 24*time.Hour), def: `"1m"`, why: "clients that keep it longer wait longer for a server that has moved"},
		{name: "ipv6", doc: "Have a record of type AAAA beside it, which leads to the first IPv6 address of the first of `interfaces`.", example: "true", shape: &shape{form: truth}, def: "false", why: "an IPv6 address moves with its interface, and few servers have one"},
	}}
}
