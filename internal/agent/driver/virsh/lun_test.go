package virsh

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"relight/internal/core/fleet"
	"relight/internal/provider/onprem/link"
)

func disksOf(epoch string) []link.Disk {
	return []link.Disk{
		{Volume: "vda", Portal: "10.77.0.1:3260", Target: "iqn.2026-01.org.relight:san-1", Unit: 1, Initiator: "iqn.x:db-1.e" + epoch, User: "u" + epoch, Secret: "s"},
		{Volume: "logs", Portal: "[fd00::1]:3260", Target: "iqn.2026-01.org.relight:san-1", Unit: 12, Initiator: "iqn.x:db-1.e" + epoch},
	}
}

// An epoch's LUNs replace those of the one before, and nothing else of a description.
func TestWithDisks(t *testing.T) {
	text := strings.Replace(sample, "<target dev='vda' bus='virtio'/>", "<target dev='vda' bus='virtio'/><boot order='1'/><address type='pci' bus='0x05'/><alias name='x'/>", 1)
	out, err := WithDisks([]byte(text), "db-1", disksOf("8"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseXML(out)
	if err != nil {
		t.Fatal(err)
	}
	want, _ := ParseXML([]byte(text))
	lun := func(portal string, unit int) *LUN {
		return &LUN{Portal: portal, IQN: "iqn.2026-01.org.relight:san-1", Initiator: "iqn.x:db-1.e8", Unit: unit}
	}
	want.Disks = []Disk{
		{Device: "disk", Target: "vda", LUN: lun("10.77.0.1:3260", 1)},
		{Device: "disk", Target: "vdb", LUN: lun("[fd00::1]:3260", 12)},
		{Device: "cdrom", Target: "sda"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, part := range []string{
		"<target dev='vda' bus='virtio'/><boot order='1'/><address type='pci' bus='0x05'/></disk>", "<serial>logs</serial>",
		"<auth username='u8'><secret type='iscsi' uuid='" + secretID("db-1", "vda") + "'/></auth>", "cache='none'", "<x:other xmlns:x=\"urn:x\"/>",
	} {
		if !strings.Contains(string(out), part) {
			t.Errorf("%s is not in %s", part, out)
		}
	}
	if n := strings.Count(string(out), "<auth"); n != 1 {
		t.Errorf("%d disks have a secret, want 1", n)
	}
	again, err := WithDisks(out, "db-1", disksOf("9"))
	if err != nil || strings.Contains(string(again), "db-1.e8") || strings.Count(string(again), "<disk ") != 3 {
		t.Errorf("the next epoch: %s, %v", again, err)
	}
	if same, err := WithDisks(again, "db-1", disksOf("9")); err != nil || string(same) != string(again) {
		t.Errorf("a repeated launch is another one: %v\n%s", err, cmp.Diff(string(again), string(same)))
	}
	for _, bad := range []string{"", "<domain", "<domain><devices/></domain>", "<domain></domain>"} {
		if _, err := WithDisks([]byte(bad), "db-1", disksOf("8")); !errors.Is(err, ErrXML) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// A disk of the host alone keeps its name, and the volume's gets another.
func TestWithDisksKeepsWhatIsNoLUN(t *testing.T) {
	text := "<domain><devices><disk type='file' device='disk'><source file='/x'/><target dev='vda'/></disk></devices></domain>"
	out, err := WithDisks([]byte(text), "db-1", disksOf("8")[1:])
	if err != nil || !strings.Contains(string(out), "file='/x'") || !strings.Contains(string(out), "<target dev='vdb' bus='virtio'/>") {
		t.Errorf("%s, %v", out, err)
	}
}

func TestDescribe(t *testing.T) {
	vm := fleet.VMTemplate{Memory: 256, CPUs: 2, Boot: fleet.BootKernel, Kernel: "/boot/a&b", Initrd: "/i", Cmdline: "quiet <x>", Bridge: "br0", MAC: "52:54:00:00:00:01", Watchdog: true}
	text, err := Describe("db-1", 4, vm, true)
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseXML(text)
	want := Domain{
		UUID: idOf("relight server db-1"), Name: "db-1", MemoryMiB: 256, CPUs: 2, Kernel: "/boot/a&b", Initrd: "/i",
		Cmdline: "console=ttyS0 quiet <x> relight.server=db-1 relight.epoch=4", NICs: []NIC{{MAC: "52:54:00:00:00:01", Bridge: "br0", Network: "bridge "}},
		Console: "/var/log/libvirt/qemu/db-1-console.log", Watchdog: true, Made: true, Server: "db-1", Epoch: 4,
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" || !strings.HasPrefix(string(text), "<domain type='kvm'>") {
		t.Errorf("%v %s", err, diff)
	}
	if _, err := WithDisks(text, "db-1", disksOf("4")); err != nil {
		t.Error(err)
	}
	for _, boot := range []fleet.Boot{fleet.BootWarm, fleet.BootSAN} {
		vm.Boot = boot
		if _, err := Describe("db-1", 4, vm, false); !errors.Is(err, ErrTemplate) {
			t.Errorf("%s: %v", boot, err)
		}
	}
	if _, err := Describe("../x", 4, fleet.VMTemplate{Boot: fleet.BootLUN}, false); !errors.Is(err, ErrTemplate) {
		t.Errorf("a server of no such name: %v", err)
	}
}
