package spec

import (
	"time"

	"relight/internal/core/fleet"
)

func lunShape() *shape {
	return &shape{form: object, name: "LUN", doc: "A unit of a SAN array that is one of the server's volumes.", fields: []field{
		{name: "array", doc: "The array, as a Site above the server's hosts declares it.", required: true, example: "san-1", shape: &shape{form: text, format: dnsLabel()}},
		{name: "name", doc: "The LUN's name on its array. Without it, the server's name, a dash, and the volume's.", example: "db-1-data", shape: &shape{form: text, format: lunName()}},
		{name: "unit", doc: "The number under which the server sees it. Without it, the volume's place in the list, counted from 1.", example: "1", shape: number(1, 255)},
		{name: "size", doc: "GiB. With it, a LUN that its array does not have is made, empty, when the server is started for the first time; one that is there is used as it is, whatever its size. From the second epoch on none is ever made. Without it, the LUN must be there.", example: "20", shape: number(1, 65536)},
	}}
}

func vmShape() *shape {
	path := func() *shape { return &shape{form: text, format: absPath()} }
	return &shape{form: object, name: "VMTemplate", doc: "A virtual machine on a hypervisor host.", fields: []field{
		{
			name: "memory", doc: "Its memory in MiB.", example: "2048",
			shape: number(16, 16<<20), def: "512", why: "boots any small Linux; a machine that needs more says so",
		},
		{
			name: "cpus", doc: "Its number of virtual CPUs.", example: "2",
			shape: number(1, 1024), def: "1", why: "one is enough to run, and takes the least from neighbours",
		},
		{
			name: "boot", doc: "From where it starts. `kernel` if a kernel is set, otherwise `lun`.", example: "lun",
			shape: words("From where a virtual machine starts.",
				option{string(fleet.BootKernel), "starts a kernel that lies on the host; the LUNs are its data"},
				option{string(fleet.BootLUN), "starts from unit 1 through the machine's firmware; the hypervisor is the initiator"},
				option{string(fleet.BootSAN), "starts iPXE, which logs in to unit 1 by itself, as Outposts do"},
				option{string(fleet.BootWarm), "plugs the LUNs into a standby guest that already runs on the host"}),
		},
		{name: "kernel", doc: "The kernel's file, on each host.", example: "/srv/boot/vmlinuz", shape: path()},
		{name: "initrd", doc: "The initial file system's file, on each host.", example: "/srv/boot/initrd", shape: path()},
		{name: "cmdline", doc: "The kernel's command line.", example: "console=ttyS0 root=/dev/vda", shape: &shape{form: text, format: plain(2047)}},
		{name: "firmware", doc: "A file on each host that replaces the machine's own BIOS.", example: "/usr/share/ovmf/OVMF.fd", shape: path()},
		{name: "bridge", doc: "The host's bridge that the network interface joins. Without it the machine has no network.", example: "br0", shape: &shape{form: text, format: interfaceName()}},
		{name: "mac", doc: "The network interface's address, the same in every epoch. Without it, one that is made of the server's name.", example: `"02:00:0a:00:01:16"`, shape: &shape{form: text, format: macAddress()}},
		{name: "watchdog", doc: "Whether it has a watchdog device that resets it.", example: "true", shape: &shape{form: truth}},
		{name: "guestBeat", doc: "Whether a guest agent in it beats over the machine's serial channel.", example: "true", shape: &shape{form: truth}},
		{
			name: "stopGrace", doc: "How long the guest may take to end by itself when it is told to, before its power is cut.", example: "60s",
			shape: duration(100*time.Millisecond, time.Hour), def: `"30s"`, why: "a guest stops its services and unmounts in less; a recovery after a crash does not wait for it",
		},
	}}
}

func arrayShape() *shape {
	return &shape{form: object, name: "Array", doc: "A SAN array and how controllers talk to it.", fields: []field{
		{name: "name", doc: "Its name, by which volumes refer to it; unique in the fleet.", required: true, example: "san-1", shape: &shape{form: text, format: dnsLabel()}},
		{
			name: "driver", doc: "What it is.", required: true, example: "tgt",
			shape: words("What an array is.",
				option{string(fleet.ArrayTGT), "the Linux target in user space (tgtd), on the controller's machine"},
				option{string(fleet.ArrayLIO), "the Linux target in the kernel, on the controller's machine"},
				option{string(fleet.ArrayONTAP), "NetApp ONTAP, by its REST interface"}),
		},
		{name: "portal", doc: "Where initiators log in, address:port.", required: true, example: "10.0.9.1:3260", shape: &shape{form: text, format: hostPort()}},
		{
			name: "morePortals", doc: "Further ways to the same targets. A host logs in through the first of all that answers when a machine starts; iPXE uses all of them.",
			example: `["10.0.8.1:3260"]`, shape: &shape{form: list, max: 7, elem: &shape{form: text, format: hostPort()}},
		},
		{
			name: "lunOffline", doc: "Whether a fence may take the LUNs of the epoch that it shuts out off line, once that epoch's sessions are still listed after half of its time. The array must say that no command is left inside; sessions without a LUN then count as shut out. `relight doctor array` tries it.",
			example: "lastResort", def: `"never"`, why: "that sessions are gone is the plainer word, and needs less of an array",
			shape: words("When a fence may take LUNs off line.",
				option{string(fleet.LUNOfflineNever), "the fence waits until no session is listed, and else has failed"},
				option{string(fleet.LUNOfflineLast), "sessions that cannot be ended are left without a LUN"}),
		},
		{
			name: "reservations", doc: "Whether an initiator of Relight's own holds a SCSI reservation on the LUNs, so that only the epoch that is registered with its key can write, whatever maps say. `lio` only, and only while the array passes the probe that `relight doctor array` shows; the fence does not depend on it. Not for guests that make reservations of their own.",
			example: "secondLine", def: `"never"`, why: "a reservation that is left behind by mistake stops the server's own writes; the fence is whole without one",
			shape: words("What SCSI reservations are used for.",
				option{string(fleet.ReservationsNever), "nothing; what an earlier setting left is taken away at the next start"},
				option{string(fleet.ReservationsLine), "a second line: who is not registered cannot write"}),
		},
		{
			name: "options", doc: "The driver's own. `tgt`: `dir`, `control`, `prefix`. `lio`: `dir`, `tree`, `prefix`. `ontap`: `url`, `user`, `password_script`, `svm`, `volume`, `ca`, `prefix`. Passwords are refused; use `password_script`.",
			example: `{dir: /srv/san}`, shape: &shape{form: dict, max: 32, keyFormat: arrayOption(), format: line()},
		},
	}}
}
