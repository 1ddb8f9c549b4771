package qemu

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"relight/internal/core/fleet"
	"relight/internal/provider/onprem/link"
)

var update = flag.Bool("update", false, "write the golden files")

func disk(volume string, unit int) link.Disk {
	return link.Disk{
		Volume: volume, Portal: "10.77.0.1:3260", Target: "iqn.2026-01.org.example.san:t:db-1.e7", Unit: unit,
		Initiator: "iqn.2026-01.org.example.san:db-1.e7", User: "db-1.e7", Secret: "very,secret=on",
	}
}

func machineOf(boot fleet.Boot) Machine {
	return Machine{
		Server: "db-1", Epoch: 7, Accel: TCG, Tap: "rl0123456789ab",
		VM: fleet.VMTemplate{
			Memory: 256, CPUs: 2, Boot: boot, Kernel: "/images/vmlinuz", Initrd: "/images/initrd.img",
			Cmdline: "quiet relight.disk=data", Bridge: "br0", GuestBeat: true,
		},
		Disks: []link.Disk{disk("boot", 1), disk("data", 12)},
	}
}

func TestCommandLines(t *testing.T) {
	cases := map[string]Machine{}
	for _, b := range []fleet.Boot{fleet.BootKernel, fleet.BootLUN, fleet.BootWarm, fleet.BootSAN} {
		cases[string(b)] = machineOf(b)
	}
	san := cases[string(fleet.BootSAN)]
	san.Script, san.VM.Kernel = []byte("#!ipxe\n"), ""
	cases[string(fleet.BootSAN)] = san
	all := machineOf(fleet.BootLUN)
	all.Accel, all.VM.Watchdog, all.VM.Firmware, all.VM.MAC = KVM, true, "/firmware,1.bin", "52:54:00:AA:BB:CC"
	all.Disks[1].Volume = "a name, with=commas and more than twenty bytes"
	cases["everything"] = all
	plain := machineOf(fleet.BootKernel)
	plain.Tap, plain.VM.GuestBeat, plain.VM.Initrd, plain.Disks = "", false, "", nil
	cases["nothing"] = plain
	for name, m := range cases {
		t.Run(name, func(t *testing.T) {
			c, err := Build(m)
			if err != nil {
				t.Fatal(err)
			}
			text := strings.Join(c.Argv, "\n") + "\n"
			for _, f := range c.Files {
				text += fmt.Sprintf("file %s %q\n", f.Name, f.Data)
			}
			if strings.Contains(strings.Join(c.Argv, " "), "very") {
				t.Error("the secret is on the command line")
			}
			golden := filepath.Join("testdata", name+".txt")
			if *update {
				if err := os.WriteFile(golden, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if text != string(want) {
				t.Errorf("got\n%s\nwant\n%s", text, want)
			}
			again, err := Build(m)
			if err != nil || strings.Join(again.Argv, "\n") != strings.Join(c.Argv, "\n") {
				t.Error("the second time it is another command line")
			}
		})
	}
}

func TestWhatStaysOverEpochs(t *testing.T) {
	one, two := machineOf(fleet.BootKernel), machineOf(fleet.BootKernel)
	two.Epoch = 8
	for _, m := range []Machine{one, two} {
		c, err := Build(m)
		if err != nil {
			t.Fatal(err)
		}
		text := strings.Join(c.Argv, "\n")
		for _, want := range []string{`"mac":"` + MAC("db-1", one.VM) + `"`, `"serial":"data"`, "serial=db-1", "-uuid\n092e8138-"} {
			if !strings.Contains(text, want) {
				t.Errorf("epoch %d has no %s", m.Epoch, want)
			}
		}
		if !strings.Contains(text, fmt.Sprintf("asset=relight/db-1/%d", m.Epoch)) {
			t.Errorf("epoch %d is not told", m.Epoch)
		}
	}
	if MAC("db-1", fleet.VMTemplate{}) == MAC("db-2", fleet.VMTemplate{}) {
		t.Error("two servers share a hardware address")
	}
}

func TestRefusals(t *testing.T) {
	for name, spoil := range map[string]func(*Machine){
		"server":   func(m *Machine) { m.Server = "a,b" },
		"memory":   func(m *Machine) { m.VM.Memory = 0 },
		"boot":     func(m *Machine) { m.VM.Boot = "floppy" },
		"kernel":   func(m *Machine) { m.VM.Kernel = "" },
		"boot LUN": func(m *Machine) { m.VM.Boot, m.Disks = fleet.BootLUN, m.Disks[1:] },
		"script":   func(m *Machine) { m.VM.Boot = fleet.BootSAN },
		"MAC":      func(m *Machine) { m.VM.MAC = "52:54:00,x" },
		"tap":      func(m *Machine) { m.Tap = "a,script=/bin/sh" },
		"target":   func(m *Machine) { m.Disks[0].Target = "" },
		"secret":   func(m *Machine) { m.Disks[0].Secret = "" },
	} {
		m := machineOf(fleet.BootKernel)
		spoil(&m)
		if _, err := Build(m); !errors.Is(err, ErrTemplate) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSerial(t *testing.T) {
	long, other := Serial("a-name-of-more-than-20"), Serial("a-name-of-more-than-21")
	if Serial("data") != "data" || len(long) > serialMax || long == other || Serial("a b") == "a b" {
		t.Errorf("%s %s %s", Serial("data"), long, Serial("a b"))
	}
}
