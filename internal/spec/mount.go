package spec

import (
	"fmt"
	"regexp"
	"strings"

	"relight/internal/core/fleet"
)

const (
	patternFileSystem  = `^[a-z0-9][a-z0-9._-]*$`
	patternMountOption = `^[A-Za-z0-9._:/=+-]+$`
)

var (
	fileSystemRE  = regexp.MustCompile(patternFileSystem)
	mountOptionRE = regexp.MustCompile(patternMountOption)
)

func mountShape() *shape {
	return &shape{form: object, name: "Mount", doc: "Where and how the guest agent mounts a volume. It finds the disk by its NVMe serial, a LUN by its own login, waits for it as long as it takes, and never formats one that holds anything.", fields: []field{
		{name: "path", doc: "The directory in the guest; it is made if it is not there.", required: true, example: "/data", shape: &shape{form: text, format: absPath()}},
		{name: "type", doc: "The file system, as `mount -t` knows it. A volume that holds another one is not mounted.", example: "xfs", shape: &shape{form: text, format: fileSystem()}, def: `"` + defaultFileSystem + `"`, why: "every Linux has it"},
		{name: "options", doc: "Options as `mount -o` takes them, one each.", example: "[noatime]", shape: &shape{form: list, unique: true, max: 32, elem: &shape{form: text, format: mountOption()}}},
		{name: "format", doc: "Make the file system if the volume is blank. Only the very first instance ever does so (epoch 1), and only if nothing at all is found on the volume.", example: "true", shape: &shape{form: truth}, def: "false", why: "a format by mistake cannot be undone"},
		{name: "fsck", doc: "Check the file system before each mount, with repairs that lose nothing (`fsck -p`, for ext4 also `-f`). What that cannot repair is left to a person.", example: "true", shape: &shape{form: truth}, def: "false", why: "a journal is replayed at the mount anyway, and a full check of a large volume takes long"},
		{name: "hostKeys", doc: "Keep the server's SSH host keys on this volume, in its directory `.relight/ssh`. A new instance takes them in place of the ones that its first boot made, so that clients meet the server that they know. At most one volume of a server.", example: "true", shape: &shape{form: truth}, def: "false", why: "who can read the volume can read the keys"},
	}}
}

func fileSystem() *format {
	return &format{pattern: patternFileSystem, max: 32, check: func(s string) (string, *fault) {
		return matches(s, fileSystemRE, 32, "the name of a file system", "mkfs and mount know them by plain names", "ext4")
	}}
}

// mountOption is one option: a comma in it would be two.
func mountOption() *format {
	return &format{pattern: patternMountOption, max: 128, check: func(s string) (string, *fault) {
		return matches(s, mountOptionRE, 128, "a mount option", "mount takes names and name=value, without commas or spaces", "noatime")
	}}
}

// mountRules checks what several mounts of one server are to each other.
func mountRules(volumes []fleet.Volume, at reporter) {
	where, keys := map[string]string{}, ""
	for i, v := range volumes {
		if v.Mount == nil {
			continue
		}
		path := fmt.Sprintf("spec.identity.volumes[%d].mount", i)
		if first, twice := where[v.Mount.Path]; twice {
			at(path+".path", fmt.Sprintf("volume %q is mounted where volume %q is", v.Name, first), "the later one would hide the earlier one", "give each its own path")
		}
		where[v.Mount.Path] = v.Name
		if !strings.HasPrefix(v.ID, "vol-") && v.ID != "" {
			at(path, fmt.Sprintf("volume %q has no serial that a guest could find it by", v.Name), "a disk of EC2 has its volume's id as serial; device names change from boot to boot", "give it the id of a volume of EBS (vol-…), or remove mount")
		}
		if v.Mount.HostKeys && keys != "" {
			at(path+".hostKeys", fmt.Sprintf("volumes %q and %q both keep the host keys", keys, v.Name), "after a change they would tell two stories", "choose one")
		} else if v.Mount.HostKeys {
			keys = v.Name
		}
		for _, o := range v.Mount.Options {
			if o == "ro" || o == "bind" || o == "remount" {
				at(path+".options", fmt.Sprintf("option %q is not for a volume of a server", o), "a volume that is mounted, but read-only or elsewhere, is what the agent reports as broken", "remove it")
			}
		}
	}
}
