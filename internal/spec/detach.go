package spec

import (
	"fmt"
	"time"

	"relight/internal/core/fleet"
)

// defaultForceAfter is longer than EC2 was seen to take for a detach that ends by itself.
const defaultForceAfter = fleet.Duration(10 * time.Minute)

func forceDetachShape() *shape {
	return &shape{form: object, name: "ForceDetach", doc: "When a volume may be taken by force from an instance that is proved dead.", fields: []field{
		{name: "after", doc: "How long the ordinary detach must have been asked for in vain.", example: "10m", shape: duration(time.Minute, year), def: `"10m"`, why: "most attachments that hang end before that, and then nothing is lost"},
	}}
}

// forceDetachRules checks that what is taken by force is checked before it is mounted.
func forceDetachRules(s fleet.ServerSpec, at reporter) {
	for i, v := range s.Identity.Volumes {
		path := fmt.Sprintf("spec.identity.volumes[%d].forceDetach", i)
		switch {
		case v.ForceDetach == nil || s.Template == (fleet.Template{}):
		case s.Template.EC2 == nil:
			at(path, fmt.Sprintf("nobody takes volume %q by force", v.Name), "only volumes of EC2 hang at an instance that is gone", "remove forceDetach, or use template.ec2")
		case v.Mount == nil:
			at(path, fmt.Sprintf("nobody would check volume %q after it was taken by force", v.Name), "what its old instance had not flushed is lost, and only the guest agent checks a file system before it is mounted", "add mount: {path: …, type: …}, or remove forceDetach")
		}
	}
}
