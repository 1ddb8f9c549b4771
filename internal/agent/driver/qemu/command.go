package qemu

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"relight/internal/agent/guest"
	"relight/internal/core/fleet"
	"relight/internal/provider/onprem/link"
)

// The files of a machine in its instance's directory, where QEMU runs. Their names
// are relative: a socket's address holds 107 bytes, and the directory's own name
// may be longer.
const (
	MonitorSocket = "qmp.sock"
	BeatSocket    = "guest.sock"
	ConsoleLog    = "console.log"
	scriptFile    = "boot.ipxe"
)

// DefaultBinary is QEMU's program, DefaultIPXE Debian's iPXE as a kernel.
const (
	DefaultBinary = "qemu-system-x86_64"
	DefaultIPXE   = "/usr/lib/ipxe/ipxe.lkrn"
)

// ErrTemplate means that no machine can be made of what was asked for.
var ErrTemplate = errors.New("the machine cannot be made as it is described")

// Machine is what a command line is made of.
type Machine struct {
	Server string
	Epoch  fleet.Epoch
	VM     fleet.VMTemplate
	// Disks are the LUNs, in the order in which the guest is to find them.
	Disks []link.Disk
	// Tap is the host's interface of the machine; empty for no network.
	Tap   string
	Accel Accel
	// Script is for boot sanboot: what iPXE carries out, CHAP secret and all.
	Script []byte
	// Binary is DefaultBinary if empty.
	Binary string
}

// File is one that must lie in the instance's directory, readable by its owner
// only, before QEMU starts.
type File struct {
	Name string
	Data []byte
}

// Command is how QEMU is started.
type Command struct {
	Argv  []string
	Files []File
}

var (
	macAddress = regexp.MustCompile(`^([0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}$`)
	plainName  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)
)

func (m Machine) check() error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%s.%d: %w: %s", m.Server, m.Epoch, ErrTemplate, fmt.Sprintf(format, args...))
	}
	vm := m.VM
	kernel := vm.Boot == fleet.BootKernel || vm.Boot == fleet.BootWarm
	switch {
	case !plainName.MatchString(m.Server):
		return bad("the server's name has other characters than letters, digits, '.', '_' and '-'")
	case vm.Memory <= 0 || vm.CPUs <= 0:
		return bad("memory %d MiB, %d CPUs", vm.Memory, vm.CPUs)
	case !slices.Contains([]fleet.Boot{fleet.BootKernel, fleet.BootLUN, fleet.BootSAN, fleet.BootWarm}, vm.Boot):
		return bad("boot %q is unknown", vm.Boot)
	case kernel && vm.Kernel == "":
		return bad("boot %s needs a kernel", vm.Boot)
	case vm.Boot == fleet.BootLUN && !slices.ContainsFunc(m.Disks, func(d link.Disk) bool { return d.Unit == bootUnit }):
		return bad("boot lun needs a volume with unit %d", bootUnit)
	case vm.Boot == fleet.BootSAN && (len(m.Script) == 0 || m.Tap == ""):
		return bad("boot sanboot needs a bridge and a script for iPXE")
	}
	return m.checkParts(bad)
}

// checkParts refuses what would be read as something else on the command line.
func (m Machine) checkParts(bad func(string, ...any) error) error {
	switch {
	case m.VM.MAC != "" && !macAddress.MatchString(m.VM.MAC):
		return bad("MAC address %q", m.VM.MAC)
	case m.Tap != "" && !plainName.MatchString(m.Tap):
		return bad("interface %q", m.Tap)
	}
	for _, d := range m.Disks {
		if d.Portal == "" || d.Target == "" || d.Initiator == "" || d.Unit < 0 || (d.User == "") != (d.Secret == "") {
			return bad("volume %s says not where it is, or who logs in", d.Volume)
		}
	}
	return nil
}

// bootUnit is the LUN that boot lun and sanboot start from.
const bootUnit = 1

// Build writes the command line. The same machine gives the same one. Errors:
// ErrTemplate.
func Build(m Machine) (Command, error) {
	if err := m.check(); err != nil {
		return Command{}, err
	}
	b := &builder{}
	binary := m.Binary
	if binary == "" {
		binary = DefaultBinary
	}
	b.add(binary, "-name", fmt.Sprintf("guest=%s.%d", m.Server, m.Epoch))
	b.add("-nodefaults", "-no-user-config", "-display", "none")
	// A QEMU that was taken over by its guest can start no program and gain no right.
	b.add("-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny")
	b.add("-machine", "q35", "-accel", string(m.Accel), "-cpu", m.Accel.cpu())
	b.add("-m", strconv.Itoa(m.VM.Memory), "-smp", strconv.Itoa(m.VM.CPUs))
	if m.VM.Firmware != "" {
		b.add("-bios", m.VM.Firmware)
	}
	b.identity(m)
	b.boot(m)
	b.channels(m)
	b.devices(m)
	if m.VM.Boot != fleet.BootWarm && m.VM.Boot != fleet.BootSAN {
		for i, d := range m.Disks {
			b.disk(m, i, d)
		}
	}
	return b.cmd, nil
}

type builder struct{ cmd Command }

func (b *builder) add(args ...string) { b.cmd.Argv = append(b.cmd.Argv, args...) }

// json adds an option whose value is JSON: nothing in it can be taken for another
// option, whatever commas a name holds.
func (b *builder) json(option string, value map[string]any) {
	data, _ := json.Marshal(value) // of strings, numbers and booleans: it cannot fail
	b.add(option, string(data))
}

// identity tells the guest who it is. The serial number and UUID are the server's,
// because what is licensed to a machine must find the same one in each epoch.
func (b *builder) identity(m Machine) {
	sum := sha256.Sum256([]byte("relight server " + m.Server))
	id := hex.EncodeToString(sum[:16])
	tag := guest.Tag(m.Server, uint64(m.Epoch))
	b.add("-uuid", fmt.Sprintf("%s-%s-5%s-8%s-%s", id[:8], id[8:12], id[13:16], id[17:20], id[20:32]))
	b.add("-smbios", "type=1,manufacturer=Relight,product=Relight,serial="+m.Server)
	b.add("-smbios", "type=3,manufacturer=Relight,asset="+tag)
	b.add("-fw_cfg", "name=opt/org.relight/tag,string="+tag)
}

func (b *builder) boot(m Machine) {
	vm := m.VM
	switch vm.Boot {
	case fleet.BootKernel, fleet.BootWarm:
		b.add("-kernel", vm.Kernel)
		if vm.Initrd != "" {
			b.add("-initrd", vm.Initrd)
		}
		line := strings.TrimSpace("console=ttyS0 " + vm.Cmdline)
		if vm.Boot == fleet.BootWarm {
			line += " relight.warm"
		} else {
			line += fmt.Sprintf(" relight.server=%s relight.epoch=%d", m.Server, m.Epoch)
		}
		b.add("-append", line)
	case fleet.BootLUN:
		b.add("-boot", "strict=on")
	case fleet.BootSAN:
		kernel := vm.Kernel
		if kernel == "" {
			kernel = DefaultIPXE
		}
		b.add("-kernel", kernel, "-initrd", scriptFile)
		b.cmd.Files = append(b.cmd.Files, File{Name: scriptFile, Data: m.Script})
	}
}

// channels are the ways in and out that need no network.
func (b *builder) channels(m Machine) {
	b.add("-chardev", "socket,id=qmp,path="+MonitorSocket+",server=on,wait=off", "-mon", "chardev=qmp,mode=control")
	b.add("-chardev", "file,id=console,path="+ConsoleLog+",append=on", "-serial", "chardev:console")
	if m.VM.GuestBeat || m.VM.Boot == fleet.BootWarm {
		b.add("-device", "virtio-serial-pci,id=channel")
		b.add("-chardev", "socket,id=guest,path="+BeatSocket+",server=on,wait=off")
		b.add("-device", "virtserialport,bus=channel.0,chardev=guest,name="+guest.PortName)
	}
}

func (b *builder) devices(m Machine) {
	b.add("-device", "virtio-rng-pci")
	// A guest that panics is held still: its console is read before anything else.
	b.add("-device", "pvpanic-pci", "-action", "panic=pause")
	if m.VM.Watchdog {
		b.add("-device", "i6300esb", "-action", "watchdog=reset")
	}
	if m.Tap != "" {
		b.add("-netdev", "tap,id=net0,ifname="+m.Tap+",script=no,downscript=no")
		nic := map[string]any{"driver": "virtio-net-pci", "netdev": "net0", "id": "nic0", "mac": MAC(m.Server, m.VM)}
		if m.VM.Boot != fleet.BootSAN {
			nic["romfile"] = "" // nothing is booted over the network, so nothing tries to
		}
		b.json("-device", nic)
	}
	if m.VM.Boot == fleet.BootWarm {
		b.add("-device", "virtio-scsi-pci,id=scsi0")
	}
}

func (b *builder) disk(m Machine, i int, d link.Disk) {
	p := plugOf(i, d)
	if p.secret != nil {
		b.json("-object", p.secret)
		b.cmd.Files = append(b.cmd.Files, p.file)
	}
	b.json("-blockdev", p.node)
	dev := map[string]any{"driver": "virtio-blk-pci", "drive": p.name, "id": p.name + "-dev", "serial": Serial(d.Volume)}
	if m.VM.Boot == fleet.BootLUN && d.Unit == bootUnit {
		dev["bootindex"] = 1
	}
	b.json("-device", dev)
}

// MAC is the machine's hardware address: the template's, or one that is made from
// the server's name, so that it is the same in every epoch.
func MAC(server string, vm fleet.VMTemplate) string {
	if vm.MAC != "" {
		return strings.ToLower(vm.MAC)
	}
	sum := sha256.Sum256([]byte("relight mac " + server))
	return fmt.Sprintf("52:54:00:%02x:%02x:%02x", sum[0], sum[1], sum[2])
}

// serialMax is how long a virtio disk's serial number can be, in bytes.
const serialMax = 20

// Serial is by which a guest finds a volume, whatever its device is called: the
// volume's name, or what stands for one that is too long.
func Serial(volume string) string {
	if len(volume) <= serialMax && plainName.MatchString(volume) {
		return volume
	}
	sum := sha256.Sum256([]byte("relight volume " + volume))
	return "rl" + hex.EncodeToString(sum[:9])
}

// plug is what makes a LUN a disk of a machine.
type plug struct {
	name         string
	secret, node map[string]any
	file         File
}

func plugOf(i int, d link.Disk) plug {
	name := "disk" + strconv.Itoa(i)
	p := plug{name: name, node: map[string]any{
		"driver": "iscsi", "node-name": name, "transport": "tcp", "portal": d.Portal, "target": d.Target, "lun": d.Unit,
		"initiator-name": d.Initiator,
		// The host must hold nothing back that the guest was told is durable.
		"cache": map[string]any{"direct": true},
	}}
	if d.User != "" {
		p.file = File{Name: "secret" + strconv.Itoa(i), Data: []byte(d.Secret)}
		p.secret = map[string]any{"qom-type": "secret", "id": p.file.Name, "file": p.file.Name}
		p.node["user"], p.node["password-secret"] = d.User, p.file.Name
	}
	return p
}
