package spec

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"relight/internal/core/fleet"
)

// lunOf returns the volume at place i of the server's list with its LUN's fields
// filled; nil if it is no LUN.
func lunOf(server string, i int, v fleet.Volume) *fleet.LUN {
	if v.LUN == nil {
		return nil
	}
	l := *v.LUN
	if l.Name == "" {
		l.Name = server + "-" + v.Name
	}
	if l.Unit == 0 {
		l.Unit = i + 1
	}
	return &l
}

// lunRules checks what a server's LUNs mean to each other and to its template.
func lunRules(d Doc, s fleet.ServerSpec, at reporter) {
	units, luns := map[int]string{}, map[string]string{}
	for i, v := range s.Identity.Volumes {
		path := fmt.Sprintf("spec.identity.volumes[%d]", i)
		l := lunOf(d.Name, i, v)
		if l == nil {
			if v.Reach == fleet.ReachArray {
				at(path+".reach", fmt.Sprintf("volume %q is no LUN", v.Name), "only an array lets in one epoch at a time", "give it a lun instead, or use another reach")
			}
			continue
		}
		if v.Reach != "" && v.Reach != fleet.ReachArray {
			at(path+".reach", fmt.Sprintf("a LUN cannot have reach %q", v.Reach), "its array decides who may use it", "write array, or remove the line")
		}
		if s.Template.Process != nil {
			at(path+".lun", fmt.Sprintf("a process cannot use the LUN of volume %q", v.Name), "a process opens directories; nothing would log in to the array for it", "give the volume a path, or run the server as a virtual machine (template.vm)")
		}
		if first, twice := units[l.Unit]; twice {
			at(path+".lun.unit", fmt.Sprintf("volume %q has unit %d, as volume %q has", v.Name, l.Unit, first), "the server could see only one of the two; without a line, the unit is the volume's place in the list", "give each its own unit")
		} else {
			units[l.Unit] = v.Name
		}
		lun := l.Array + "/" + l.Name
		if first, twice := luns[lun]; twice && l.Array != "" {
			at(path+".lun", fmt.Sprintf("volume %q is the LUN of volume %q", v.Name, first), "two disks with the same blocks destroy what is on them", "give each its own LUN")
		} else {
			luns[lun] = v.Name
		}
	}
}

// vmRules checks a template of a virtual machine against itself and the volumes.
func vmRules(d Doc, s fleet.ServerSpec, fence bool, at reporter) {
	vm := s.Template.VM
	if vm == nil {
		return
	}
	const path = "spec.template.vm"
	luns, first := 0, false
	for i, v := range s.Identity.Volumes {
		if l := lunOf(d.Name, i, v); l != nil {
			luns, first = luns+1, first || l.Unit == 1
		} else if place := map[bool]string{true: "path", false: "id"}[v.Path != ""]; v.Path+v.ID != "" {
			at(fmt.Sprintf("spec.identity.volumes[%d].%s", i, place), fmt.Sprintf("a virtual machine cannot use volume %q", v.Name), "it sees disks, not directories of its host; nothing would shut out its old epoch", "give the volume a lun")
		}
	}
	boot := bootOf(*vm)
	switch kernel := boot == fleet.BootKernel || boot == fleet.BootWarm; {
	case kernel && vm.Kernel == "":
		at(path+".boot", fmt.Sprintf("boot %s needs a kernel", boot), "there is nothing to start", "add kernel, the file's path on each host")
	case !kernel && vm.Kernel+vm.Initrd+vm.Cmdline != "":
		at(path+".boot", fmt.Sprintf("boot %s uses no kernel, initrd or cmdline", boot), "the LUN brings its own; a line that nobody reads would silently do nothing", "remove them, or write boot: kernel")
	}
	switch {
	case luns == 0 && boot != fleet.BootKernel:
		at(path+".boot", fmt.Sprintf("boot %s needs a LUN", boot), "the server has no volume with a lun", "add one to spec.identity.volumes, or set a kernel")
	case !first && luns > 0 && (boot == fleet.BootLUN || boot == fleet.BootSAN):
		at(path+".boot", fmt.Sprintf("boot %s starts from unit 1, and no volume has it", boot), "the firmware looks at the first unit only", "give the boot volume unit 1")
	}
	if fence && s.Fence.VolumesSuffice() && luns == 0 {
		at("spec.fence", fmt.Sprintf("fence %s has nothing to fence", s.Fence), "a virtual machine without LUNs has no storage that could refuse its old epoch", "write power, or give it a volume with a lun")
	}
}

// bootOf is from where a machine starts.
func bootOf(vm fleet.VMTemplate) fleet.Boot {
	switch {
	case vm.Boot != "":
		return vm.Boot
	case vm.Kernel != "":
		return fleet.BootKernel
	default:
		return fleet.BootLUN
	}
}

// options are those of an array's driver.
type options struct{ must, may []string }

// driverOptions lists each driver's options.
func driverOptions() map[fleet.ArrayDriver]options {
	return map[fleet.ArrayDriver]options{
		fleet.ArrayTGT:   {[]string{"dir"}, []string{"control", "prefix"}},
		fleet.ArrayLIO:   {[]string{"dir"}, []string{"tree", "prefix"}},
		fleet.ArrayONTAP: {[]string{"url", "user", "password_script", "svm", "volume"}, []string{"ca", "prefix"}},
	}
}

func arrayRules(s fleet.SiteSpec, at reporter) {
	table := driverOptions()
	for i, a := range s.Arrays {
		known, ok := table[a.Driver]
		if !ok {
			continue
		}
		path := fmt.Sprintf("spec.arrays[%d]", i)
		for n, portal := range a.MorePortals {
			if slices.Contains(a.Portals()[:n+1], portal) {
				at(fmt.Sprintf("%s.morePortals[%d]", path, n), fmt.Sprintf("%q is there twice", portal), "it would be no further way", "name another portal of the array, or none")
			}
		}
		if a.Reservations == fleet.ReservationsLine && a.Driver != fleet.ArrayLIO {
			at(path+".reservations", fmt.Sprintf("the driver %s has no second line", a.Driver), "a registration of its arrays is good for one session alone, and nobody can register for the machine that writes", "leave reservations out: the storage fence does not depend on them")
		}
		for _, name := range known.must {
			if a.Options[name] == "" {
				at(path, fmt.Sprintf("the array %q has no option %s", a.Name, name), fmt.Sprintf("the driver %s cannot work without it", a.Driver), "add "+name+" to its options")
			}
		}
		all := slices.Concat(known.must, known.may)
		for _, name := range slices.Sorted(maps.Keys(a.Options)) {
			if _, secret := secretOptions[name]; !slices.Contains(all, name) && !secret {
				fix := "use one of " + strings.Join(all, ", ")
				if near := didYouMean(name, all); near != "" {
					fix = fmt.Sprintf("did you mean %q?", near)
				}
				at(path+".options."+name, fmt.Sprintf("the driver %s has no option %s", a.Driver, quote(name)), "an option that nobody reads would silently do nothing", fix)
			}
		}
	}
}
