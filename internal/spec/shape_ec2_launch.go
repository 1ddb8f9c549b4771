package spec

import (
	"encoding/base64"
	"fmt"
	"strings"
)

func ec2LaunchShape() *shape {
	word := func(doc string, list ...option) *shape { return words(doc, list...) }
	short := func(n int) *shape { return &shape{form: text, format: plain(n)} }
	names := func(n int) *shape { return &shape{form: list, unique: true, max: int64(n), elem: short(256)} }
	return &shape{form: object, name: "EC2Launch", doc: "What an instance is launched with. What is left out is the launch template's, or EC2's own.", fields: []field{
		{name: "capture", doc: "Which capture of a running instance this is: `relight import aws` counts those that differ.", example: "1", shape: number(1, 1_000_000)},
		{name: "image", doc: "The AMI.", example: "ami-0a1b2c", shape: short(64)},
		{name: "type", doc: "The machine type.", example: "m7i.large", shape: short(64)},
		{name: "key", doc: "The key pair's name.", example: "ops", shape: short(255)},
		{name: "profile", doc: "The instance profile's ARN.", example: "arn:aws:iam::123456789012:instance-profile/licence", shape: short(2048)},
		{name: "userData", doc: "User data in base64, as EC2 keeps it: at most 16 KiB before that. Whoever reads the document reads it.", example: "I2Nsb3VkLWNvbmZpZwo=", shape: &shape{form: text, format: base64Text(16 << 10)}},
		{name: "groups", doc: "Security groups of an interface that is made with the instance; one of `identity.interfaces` brings its own.", example: "[sg-0a1b2c]", shape: names(16)},
		{name: "root", doc: "The disk that it starts from, made anew from the image at each launch.", shape: ec2RootShape()},
		{name: "metadata", doc: "Options of the metadata service.", shape: &shape{form: object, name: "EC2Metadata", doc: "Options of the metadata service.", fields: []field{
			{name: "tokens", doc: "Whether a request needs a token.", example: "required", shape: word("Whether a request needs a token.", option{"required", "IMDSv2 alone"}, option{"optional", "IMDSv1 too"})},
			{name: "hopLimit", doc: "How many network hops an answer may take.", example: "2", shape: number(1, 64)},
			{name: "off", doc: "The guest cannot reach it at all.", example: "true", shape: &shape{form: truth}},
			{name: "ipv6", doc: "It answers over IPv6 too.", example: "true", shape: &shape{form: truth}},
			{name: "tags", doc: "The guest may read its instance's tags there.", example: "true", shape: &shape{form: truth}},
		}}},
		{name: "place", doc: "Where below its subnet it runs.", shape: &shape{form: object, name: "EC2Place", doc: "Where below its subnet an instance runs.", fields: []field{
			{name: "tenancy", doc: "Whose hardware it runs on.", example: "dedicated", shape: word("Whose hardware it runs on.", option{"default", "shared"}, option{"dedicated", "this account's alone"}, option{"host", "a dedicated host"})},
			{name: "host", doc: "The dedicated host's id. An instance that needs this one host is lost with it.", example: "h-0a1b2c", shape: short(64)},
			{name: "hostGroup", doc: "The host resource group's ARN.", example: "arn:aws:resource-groups:eu-west-1:123456789012:group/hosts", shape: short(2048)},
			{name: "pinned", doc: "It stays on its dedicated host while it is stopped.", example: "true", shape: &shape{form: truth}},
			{name: "group", doc: "The placement group's name.", example: "spread-1", shape: short(255)},
			{name: "partition", doc: "The partition of the placement group.", example: "2", shape: number(1, 7)},
		}}},
		{name: "reservation", doc: "Which reserved capacity it uses.", shape: &shape{form: object, name: "EC2Reservation", doc: "Which reserved capacity an instance uses.", fields: []field{
			{name: "preference", doc: "Whether it uses reserved capacity.", example: "open", shape: word("Whether it uses reserved capacity.", option{"open", "any open reservation that fits"}, option{"none", "never"}, option{"capacity-reservations-only", "nothing else"})},
			{name: "id", doc: "The capacity reservation.", example: "cr-0a1b2c", shape: short(64)},
			{name: "group", doc: "The ARN of a resource group of reservations.", example: "arn:aws:resource-groups:eu-west-1:123456789012:group/odcr", shape: short(2048)},
		}}},
		{name: "cpu", doc: "Cores and threads, where they are not the type's own.", shape: &shape{form: object, name: "EC2CPU", doc: "Cores and threads of an instance.", fields: []field{
			{name: "cores", doc: "Its cores.", required: true, example: "4", shape: number(1, 1024)},
			{name: "threads", doc: "Threads of each core.", required: true, example: "1", shape: number(1, 2)},
		}}},
		{name: "hostname", doc: "What the guest is called.", shape: &shape{form: object, name: "EC2Hostname", doc: "What the guest is called, and which private records lead to it.", fields: []field{
			{name: "type", doc: "What the name is made of.", example: "ip-name", shape: word("What the name is made of.", option{"ip-name", "its private address"}, option{"resource-name", "its id, which changes at a relaunch"})},
			{name: "a", doc: "An A record leads to the name made of its id.", example: "true", shape: &shape{form: truth}},
			{name: "aaaa", doc: "An AAAA record does.", example: "true", shape: &shape{form: truth}},
		}}},
		{name: "credits", doc: "CPU credits of a burstable type.", example: "unlimited", shape: word("CPU credits of a burstable type.", option{"standard", "those that it earned"}, option{"unlimited", "more, at a price"})},
		{name: "onShutdown", doc: "What a shutdown from within the guest does.", example: "stop", shape: word("What a shutdown from within the guest does.", option{"stop", "the instance can be started again"}, option{"terminate", "it is gone, and disks that end with it too"})},
		{name: "bandwidth", doc: "Which bandwidth is raised at the other's cost.", example: "vpc-1", shape: word("Which bandwidth is raised.", option{"default", "neither"}, option{"vpc-1", "the network's"}, option{"ebs-1", "the volumes'"})},
		{name: "ebsOptimized", doc: "Bandwidth of its own to volumes, for older types.", example: "true", shape: &shape{form: truth}},
		{name: "monitoring", doc: "Metrics once a minute.", example: "true", shape: &shape{form: truth}},
		{name: "enclave", doc: "It may run enclaves.", example: "true", shape: &shape{form: truth}},
		{name: "hibernation", doc: "It may hibernate.", example: "true", shape: &shape{form: truth}},
		{name: "licenses", doc: "ARNs of licence configurations.", example: "[arn:aws:license-manager:eu-west-1:123456789012:license-configuration:lic-0a1b]", shape: names(16)},
		{name: "tags", doc: "Tags beside ours.", example: `{team: "billing"}`, shape: tagsShape()},
	}}
}

func ec2RootShape() *shape {
	return &shape{form: object, name: "EC2Root", doc: "The disk that an instance starts from.", fields: []field{
		{name: "device", doc: "Its name in the image.", required: true, example: "/dev/xvda", shape: &shape{form: text, format: plain(32)}},
		{name: "size", doc: "GiB.", example: "20", shape: number(1, 65536)},
		{name: "type", doc: "The volume type.", example: "gp3", shape: &shape{form: text, format: plain(16)}},
		{name: "iops", doc: "IOPS that are paid for.", example: "3000", shape: number(100, 1_000_000)},
		{name: "throughput", doc: "MiB/s that are paid for.", example: "125", shape: number(125, 10_000)},
		{name: "encrypted", doc: "It is encrypted.", example: "true", shape: &shape{form: truth}},
		{name: "key", doc: "The KMS key's ARN.", example: "arn:aws:kms:eu-west-1:123456789012:key/0a1b2c", shape: &shape{form: text, format: plain(2048)}},
		{name: "keep", doc: "It stays when the instance ends.", example: "true", shape: &shape{form: truth}},
		{name: "tags", doc: "Its tags.", example: `{backup: "daily"}`, shape: tagsShape()},
	}}
}

// tagsShape is what EC2 allows as tags: 50, keys up to 128 characters, values up to 256.
func tagsShape() *shape {
	return &shape{form: dict, max: 50, keyFormat: plain(512), format: tagValue()}
}

func tagValue() *format {
	return &format{pattern: `^[^\x00-\x1f\x7f]*$`, max: 1024, check: func(s string) (string, *fault) {
		if len(s) <= 1024 && !strings.ContainsFunc(s, isControl) {
			return s, nil
		}
		return s, &fault{message: fmt.Sprintf("%s is no value of a tag", quote(s)), why: "EC2 takes at most 256 characters, none of them a control character", fix: "shorten it"}
	}}
}

// base64Text is a text in base64 of at most so many bytes before that.
func base64Text(most int) *format {
	return &format{pattern: `^[A-Za-z0-9+/]+={0,2}$`, max: base64.StdEncoding.EncodedLen(most), check: func(s string) (string, *fault) {
		raw, err := base64.StdEncoding.DecodeString(s)
		if err == nil && len(raw) > 0 && len(raw) <= most {
			return s, nil
		}
		return s, &fault{message: fmt.Sprintf("the text is not base64 of 1 to %d bytes", most), why: "EC2 refuses other user data", fix: "write what `base64 -w0 FILE` prints"}
	}}
}
