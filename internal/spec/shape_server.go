package spec

import (
	"time"

	"relight/internal/core/fleet"
)

const year = 365 * 24 * time.Hour

func serverShape() *shape {
	own := []field{
		{
			name: "policy", doc: "The Policy that fills what this server leaves out. Without it, the one called `default`, if there is one.",
			shape: &shape{form: text, format: dnsLabel()}, example: "careful",
		},
		{
			name: "provider", doc: "Who runs the instances. Follows from the template.", example: "onprem",
			shape: words("Who runs the instances.",
				option{"onprem", "host agents on your own machines"},
				option{"aws", "EC2"},
				option{"sim", "the simulated world"}),
		},
		{name: "identity", doc: "What moves with the server.", shape: identityShape()},
		{name: "template", doc: "How an instance is made. Exactly one is set.", required: true, shape: templateShape()},
		{name: "placement", doc: "Where instances may run.", shape: placementShape()},
		{
			name: "priority", doc: "Orders recoveries that compete for the same budget, or for the last room: higher first. Room is left to those of higher priority for 15 s; `after` makes one wait for another.", example: "10",
			shape: number(-1000, 1000), def: "0", why: "nobody is more important until you say so",
		},
		{
			name: "after", doc: "Servers that this one needs. While one of them is down and may come back, this one is not started; a wait that lasts too long ends by itself.", example: "[db-1]",
			shape: &shape{form: list, max: 64, elem: &shape{form: text, format: dnsLabel()}},
		},
		{name: "quiesce", doc: "A program that a planned move runs before it stops the server (`relight move`). What fails is never quiesced.", shape: quiesceShape()},
	}
	return &shape{
		form: object, name: "ServerSpec", doc: "The declared intent for one server.",
		fields: append(own, ruleFields()...),
	}
}

func identityShape() *shape {
	volume := &shape{
		form: object, name: "Volume", doc: "A disk of the server.",
		groups: []group{{names: []string{"path", "id", "lun"}, exactly: true}},
		fields: []field{
			{name: "name", doc: "The volume's name within the server.", required: true, example: "data", shape: &shape{form: text, format: dnsLabel()}},
			{name: "path", doc: "Where a directory volume lies, the same on every host that reaches it.", example: "/srv/web-1", shape: &shape{form: text, format: absPath()}},
			{name: "id", doc: "The provider's own name, for volumes that are no directory.", example: "vol-0a1b2c", shape: &shape{form: text, format: plain(256)}},
			{name: "lun", doc: "A unit of a SAN array.", shape: lunShape()},
			{name: "device", doc: "The name under which EC2 attaches it. Left out, it is one by the volume's place in the list.", example: "/dev/sdf", shape: &shape{form: text, format: plain(32)}},
			{name: "mount", doc: "Have the guest agent mount it (EC2). The launch then carries user data that starts the agent.", shape: mountShape()},
			{name: "fromSnapshot", doc: "Allow that it is made anew in another zone, out of its newest complete snapshot, when its own zone cannot start the server (EC2; see template.ec2.elsewhere). What was written after that snapshot is lost.", shape: fromSnapshotShape()},
			{name: "forceDetach", doc: "Allow that it is taken by force from an instance that is proved dead and does not let go of it (EC2). What that had not flushed is lost, and the guest agent checks the file system before each mount, whatever mount.fsck says. Left out: never.", shape: forceDetachShape()},
			{
				name: "reach", doc: "From where it can be used, and with that, what its lock proves. `host` for a path, `zone` for an id, `array` for a LUN if left out.", example: "host",
				shape: words("From where a volume can be used.",
					option{string(fleet.ReachHost), "exists on one host only and never moves"},
					option{string(fleet.ReachMachine), "seen by several host agents on one kernel: the lock dies with its last holder, so a seal under it is a proof"},
					option{string(fleet.ReachShared), "lies on a network file system, whose locks can be lost while the writer lives: the old host must be switched off"},
					option{string(fleet.ReachZone), "attaches to one instance at a time anywhere in its zone; the provider enforces it"},
					option{string(fleet.ReachArray), "a LUN: its array lets in one epoch at a time, and shows that it has shut one out"}),
			},
		},
	}
	address := &shape{
		form: object, name: "Address", doc: "An IP address that clients use to reach the server.",
		fields: []field{
			{name: "ip", doc: "IPv4 or IPv6, without a prefix length.", required: true, example: "10.0.1.9", shape: &shape{form: text, format: ipAddress()}},
			{name: "allocation", doc: "The allocation of an elastic address.", example: "eipalloc-0a1b2c", shape: &shape{form: text, format: plain(256)}},
			{name: "interface", doc: "The interface that an elastic address leads to, one of `interfaces`. Left out: the primary one.", example: "eni-0a1b2c", shape: &shape{form: text, format: plain(64)}},
			{name: "private", doc: "Which private address of that interface. Left out: its primary one.", example: "10.0.1.51", shape: &shape{form: text, format: ipAddress()}},
		},
	}
	return &shape{form: object, name: "Identity", doc: "What moves with the server.", fields: []field{
		{name: "volumes", doc: "The server's disks.", shape: &shape{form: list, elem: volume, key: "name", max: 64}},
		{name: "addresses", doc: "The IP addresses that clients use.", shape: &shape{form: list, elem: address, key: "ip", max: 64}},
		{name: "interfaces", doc: "Network interfaces of EC2.", shape: &shape{form: list, elem: interfaceShape(), key: "id", max: 16}},
		{name: "groups", doc: "Places in a load balancer's target groups.", shape: &shape{form: list, elem: groupShape(), key: "id", max: 64}},
		{name: "names", doc: "DNS records that lead to the first address.", shape: &shape{form: list, elem: dnsNameShape(), key: "name", max: 64}},
	}}
}

func templateShape() *shape {
	process := &shape{form: object, name: "ProcessTemplate", doc: "A Linux process under a keeper.", fields: []field{
		{
			name: "command", doc: "Program and arguments; no shell is involved. `${volume:NAME}` becomes the volume's path, `${address:N}` the address at place N of the list, counted from 0.",
			required: true, example: `["/usr/bin/web", "--data", "${volume:data}"]`,
			shape: &shape{form: list, min: 1, max: 1024, elem: &shape{form: text, format: argument()}},
		},
		{name: "env", doc: "Environment variables.", example: `{LOG_LEVEL: "info"}`, shape: &shape{form: dict, max: 1024, keyFormat: envName(), format: argument()}},
		{name: "dir", doc: "The working directory.", example: "/srv/web-1", shape: &shape{form: text, format: absPath()}},
		{
			name: "stopGrace", doc: "How long the process may take to end by itself on SIGTERM before it is killed.", example: "30s",
			shape: duration(100*time.Millisecond, time.Hour), def: `"10s"`, why: "most programs flush in less; a longer wait delays every planned stop, not a recovery after a crash",
		},
	}}
	sim := &shape{form: object, name: "SimTemplate", doc: "An instance in the simulated world.", fields: []field{
		{name: "size", doc: "A free name for the machine's size.", example: "small", shape: &shape{form: text, format: plain(63)}},
	}}
	return &shape{
		form: object, name: "Template", doc: "How an instance is made.",
		groups: []group{{names: []string{"process", "vm", "ec2", "sim"}, exactly: true}},
		fields: []field{
			{name: "process", doc: "Run it as a Linux process under a keeper (provider `onprem`).", shape: process},
			{name: "vm", doc: "Run it as a virtual machine on a hypervisor host (provider `onprem`).", shape: vmShape()},
			{name: "ec2", doc: "Run it as an instance of EC2 (provider `aws`).", shape: ec2Shape()},
			{name: "sim", doc: "Run it in the simulated world (provider `sim`).", shape: sim},
		},
	}
}

func placementShape() *shape {
	return &shape{form: object, name: "Placement", doc: "Where instances may run.", fields: []field{
		{
			name: "sites", doc: "Allowed sites in order of preference; each stands for all hosts below it. Empty means every host that reaches the volumes.",
			example: "[rack-1, rack-2]", shape: &shape{form: list, unique: true, max: 256, elem: &shape{form: text, format: dnsLabel()}},
		},
		{
			name: "apart", doc: "Label names: servers that share the value of any of these labels never share a host. The server must carry each of them.",
			example: "[app]", shape: &shape{form: list, unique: true, max: 16, elem: &shape{form: text, format: labelKey()}},
		},
		{
			name: "units", doc: "How much of a host's capacity an instance takes.", example: "2",
			shape: number(1, 1_000_000), def: "1", why: "counts servers, until you give hosts and servers sizes",
		},
	}}
}
