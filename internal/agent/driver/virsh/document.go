package virsh

import (
	"encoding/json"
	"fmt"
)

// Document describes the domain as a Server document in mode observe, in JSON, for
// LUNs on an array of the given name. notes are what a person must look at; lacks
// are why the domain cannot be a server yet, and then the document is nil.
func (d Domain) Document(array string) (doc []byte, notes, lacks []string, err error) {
	name := d.Name
	if !ValidName(name) {
		lacks = append(lacks, fmt.Sprintf("its name %q has other letters than a-z, 0-9 and dashes: virsh domrename", name))
	}
	var volumes []map[string]any
	for _, disk := range d.Disks {
		switch {
		case disk.Device == "cdrom" || disk.Device == "floppy":
			notes = append(notes, fmt.Sprintf("%s, a %s, is left out", disk.Target, disk.Device))
		case disk.LUN == nil:
			lacks = append(lacks, fmt.Sprintf("its disk %s (%s) is not on a SAN: no other host could start it; copy it to a LUN", disk.Target, disk.Source))
		default:
			volumes = append(volumes, map[string]any{"name": disk.Target, "lun": map[string]any{"array": array}})
			notes = append(notes, fmt.Sprintf("%s was unit %d of %s at %s%s: give that LUN the name %s-%s on the array, or write its name into lun.name",
				disk.Target, disk.LUN.Unit, disk.LUN.IQN, disk.LUN.Portal, as(disk.LUN.Initiator), name, disk.Target))
		}
	}
	vm := map[string]any{"memory": d.MemoryMiB, "cpus": d.CPUs}
	switch {
	case d.Kernel != "":
		vm["boot"], vm["kernel"] = "kernel", d.Kernel
		for field, value := range map[string]string{"initrd": d.Initrd, "cmdline": d.Cmdline} {
			if value != "" {
				vm[field] = value
			}
		}
	case len(volumes) == 0 && len(lacks) == 0:
		lacks = append(lacks, "it has neither a disk nor a kernel")
	default:
		vm["boot"] = "lun"
	}
	if d.Firmware != "" {
		vm["firmware"] = d.Firmware
	}
	if d.Watchdog {
		vm["watchdog"] = true
	}
	for i, n := range d.NICs {
		switch {
		case i > 0:
			notes = append(notes, fmt.Sprintf("the interface %s is left out: a server has one", n.MAC))
		case n.Bridge == "":
			notes = append(notes, fmt.Sprintf("the interface %s is in %s, which is no bridge: set spec.template.vm.bridge", n.MAC, n.Network))
			vm["mac"] = n.MAC
		default:
			vm["mac"], vm["bridge"] = n.MAC, n.Bridge
		}
	}
	if len(lacks) > 0 {
		return nil, notes, lacks, nil
	}
	spec := map[string]any{"mode": "observe", "template": map[string]any{"vm": vm}}
	if len(volumes) > 0 {
		spec["identity"] = map[string]any{"volumes": volumes}
	} else {
		spec["fence"] = "power" // nothing else could shut its old epoch out
	}
	doc, err = json.Marshal(map[string]any{
		"apiVersion": "relight/v1alpha1", "kind": "Server", "metadata": map[string]any{"name": name}, "spec": spec,
	})
	return doc, notes, nil, err
}

func as(initiator string) string {
	if initiator == "" {
		return ""
	}
	return " as " + initiator
}
