// Package mount decides what a guest agent does next about one volume, given what it
// sees of it. It knows no disk and no kernel: values in, a step out.
//
// Two mistakes must be impossible here. A volume that holds anything is never
// formatted: that takes epoch 1, a spec that allows it, and a volume on which nothing
// at all was found (S8). And a disk is never guessed: it is the one with the volume's
// serial, or there is none.
package mount

import (
	"fmt"
	"strings"

	"relight/internal/core/fleet"
)

// Kind is what is to be done.
type Kind string

// The kinds of steps.
const (
	// Wait: nothing can be done yet; there is no bound to the patience.
	Wait Kind = "wait"
	// Format makes the file system on a blank volume.
	Format Kind = "format"
	// Check has the file system checked.
	Check Kind = "check"
	// Mount mounts it.
	Mount Kind = "mount"
	// Done: it is mounted as it should be.
	Done Kind = "done"
	// Broken: it is mounted, and cannot be used.
	Broken Kind = "broken"
	// Unsure: something is mounted, and nobody can tell yet whether it is the volume.
	Unsure Kind = "unsure"
	// Refuse: what is there is not what the spec says; only a person can tell which of
	// the two is right.
	Refuse Kind = "refuse"
)

// Step is what is to be done about a volume, and why, in words for people.
type Step struct {
	Kind Kind
	Why  string
}

// Content is what is on a disk: Unread, Blank, Foreign, or the name of what it holds,
// such as ext4 or crypto_LUKS.
type Content string

// The contents that have no name of their own.
const (
	// Unread: nobody could look.
	Unread Content = ""
	// Blank: nothing was found by any way of looking.
	Blank Content = "blank"
	// Foreign: something is there that nothing here knows.
	Foreign Content = "foreign"
)

// Disk is a disk of the machine that has the volume's serial.
type Disk struct {
	// Node is its device file, Number the kernel's "major:minor".
	Node, Number string
}

// Mounted is one mount of the machine.
type Mounted struct {
	// Number is the "major:minor" of what is mounted, Source its name.
	Number, Source, Path, Type string
	ReadOnly                   bool
}

// Seen is what was found about one volume, at one moment.
type Seen struct {
	// Disks have the volume's serial. Others names the disks that do not.
	Disks  []Disk
	Others []string
	// Awaits is why a volume that is a LUN has no disk yet, in words. Untold is whether
	// that is because nobody has said which disk it would be.
	Awaits string
	Untold bool
	// Content is what the disk holds; it is looked at only while it is not mounted.
	// Trouble is why it is Unread.
	Content Content
	Trouble string
	// Mounts are all mounts of the machine, in the order in which they were made.
	Mounts []Mounted
	// Fault is why the volume's mounted file system takes no writes, as it says itself.
	Fault string
	// Checked is whether the file system was checked, and found or made clean, since
	// the disk came.
	Checked bool
}

// Serial is what the NVMe disk of a volume of EBS has for a serial: the volume's id
// without its dash.
func Serial(id string) string { return strings.ReplaceAll(id, "-", "") }

// Named names a volume for people, and in the record of what was formatted: by its id, or
// by its LUN.
func Named(v fleet.Volume) string {
	if v.LUN != nil {
		return fmt.Sprintf("LUN %s of array %s", v.LUN.Name, v.LUN.Array)
	}
	return v.ID
}

// has says what makes a disk the volume's own.
func has(v fleet.Volume) string {
	if v.LUN != nil {
		return "is " + Named(v)
	}
	return "has the serial of " + v.ID
}

// Next returns the next step for a volume that is to be mounted by an instance of the
// given epoch. It is safe to ask again after any step, whether that was carried out
// whole, in part or not at all.
func Next(v fleet.Volume, epoch fleet.Epoch, seen Seen) Step {
	m := v.Mount
	on := top(seen.Mounts, m.Path)
	switch {
	case len(seen.Disks) > 1 && v.LUN != nil:
		return refuse("%d disks are %s: %s", len(seen.Disks), Named(v), nodes(seen.Disks))
	case len(seen.Disks) > 1:
		return refuse("%d disks have the serial of %s: %s", len(seen.Disks), v.ID, nodes(seen.Disks))
	case len(seen.Disks) == 0 && on != nil && seen.Untold:
		// An agent that was started anew beside a server that works must not call it broken.
		return Step{Unsure, fmt.Sprintf("%s is mounted on %s, and whether it is %s cannot be told: %s", on.Source, m.Path, Named(v), seen.Awaits)}
	case len(seen.Disks) == 0 && on != nil:
		return Step{Broken, fmt.Sprintf("%s is mounted on %s, and no disk %s", on.Source, m.Path, has(v))}
	case len(seen.Disks) == 0 && v.LUN != nil:
		return Step{Wait, fmt.Sprintf("no disk %s yet: %s", has(v), seen.Awaits)}
	case len(seen.Disks) == 0:
		return Step{Wait, fmt.Sprintf("no disk has the serial %s yet%s", Serial(v.ID), others(seen.Others))}
	}
	disk := seen.Disks[0]
	if on != nil {
		return mounted(v, disk, *on, seen.Fault)
	}
	for _, at := range seen.Mounts {
		if at.Number == disk.Number {
			return refuse("%s is mounted on %s, not on %s; next: umount %s", Named(v), at.Path, m.Path, at.Path)
		}
	}
	return fresh(v, epoch, disk, seen)
}

// mounted judges a volume on whose path there is a mount.
func mounted(v fleet.Volume, disk Disk, on Mounted, fault string) Step {
	switch {
	case on.Number != disk.Number:
		return refuse("%s is mounted on %s, not %s (%s); next: umount %s", on.Source, on.Path, Named(v), disk.Node, on.Path)
	case on.Type != v.Mount.Type:
		return refuse("%s is mounted on %s as %s, not as %s", Named(v), on.Path, on.Type, v.Mount.Type)
	case on.ReadOnly:
		return Step{Broken, fmt.Sprintf("%s is mounted on %s read-only, as the kernel does after errors", Named(v), on.Path)}
	case fault != "":
		return Step{Broken, fmt.Sprintf("%s is mounted on %s and takes no writes: %s", Named(v), on.Path, fault)}
	}
	return Step{Done, fmt.Sprintf("%s is mounted on %s", Named(v), on.Path)}
}

// fresh judges a volume that is mounted nowhere.
func fresh(v fleet.Volume, epoch fleet.Epoch, disk Disk, seen Seen) Step {
	want := v.Mount.Type
	switch seen.Content {
	case Unread:
		return Step{Wait, fmt.Sprintf("%s (%s) cannot be read: %s", Named(v), disk.Node, seen.Trouble)}
	case Blank:
		return blank(v, epoch, disk)
	case Foreign:
		return refuse("%s (%s) is not blank and holds no file system that is known here; it is never formatted", Named(v), disk.Node)
	case Content(want):
	default:
		return refuse("%s (%s) holds %s, and the spec says %s; it is never formatted", Named(v), disk.Node, seen.Content, want)
	}
	if v.Mount.Fsck && !seen.Checked {
		return Step{Check, fmt.Sprintf("%s is to be checked before it is mounted", Named(v))}
	}
	return Step{Mount, fmt.Sprintf("%s (%s) is to be mounted on %s", Named(v), disk.Node, v.Mount.Path)}
}

// blank is the one place from which a format is reached.
func blank(v fleet.Volume, epoch fleet.Epoch, disk Disk) Step {
	next := fmt.Sprintf("next, if it is to be empty: mkfs.%s %s", v.Mount.Type, disk.Node)
	switch {
	case !v.Mount.Format:
		return refuse("%s (%s) is blank, and the spec does not say format; %s", Named(v), disk.Node, next)
	case epoch != 1:
		return refuse("%s (%s) is blank at epoch %d, where data of earlier epochs should be; only epoch 1 formats; %s", Named(v), disk.Node, epoch, next)
	}
	return Step{Format, fmt.Sprintf("%s (%s) is blank, this is epoch 1, and the spec says format", Named(v), disk.Node)}
}

func refuse(format string, args ...any) Step { return Step{Refuse, fmt.Sprintf(format, args...)} }

// top is the mount that a path leads to: the last one made there.
func top(all []Mounted, path string) *Mounted {
	for n := len(all) - 1; n >= 0; n-- {
		if all[n].Path == path {
			return &all[n]
		}
	}
	return nil
}

func nodes(disks []Disk) string {
	var out []string
	for _, d := range disks {
		out = append(out, d.Node)
	}
	return strings.Join(out, ", ")
}

func others(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return fmt.Sprintf(" (there are others: %s)", strings.Join(names, ", "))
}

// Above returns the nearest path above the given one on which another of the volumes
// is to be mounted, or "": mounted after what is below it, it would hide that.
func Above(volumes []fleet.Volume, path string) string {
	above := ""
	for _, v := range volumes {
		if v.Mount != nil && strings.HasPrefix(path, v.Mount.Path+"/") && len(v.Mount.Path) > len(above) {
			above = v.Mount.Path
		}
	}
	return above
}
