package agent

import (
	"bytes"
	"errors"
	"testing"

	"relight/internal/agent/driver/qemu"
	"relight/internal/array/ipxe"
	"relight/internal/provider/onprem/link"
)

func TestSANScript(t *testing.T) {
	disk := func(volume string, unit int) link.Disk {
		return link.Disk{
			Volume: volume, Portal: "10.77.0.1:3260", Target: "iqn.2026-01.org.example.san:t.db-1.e3", Unit: unit,
			Initiator: "iqn.2026-01.org.example.san:db-1.e3", User: "db-1.e3", Secret: "abcdefgh23456789",
		}
	}
	m := qemu.Machine{Server: "db-1", Epoch: 3, Disks: []link.Disk{disk("data", 12), disk("boot", 1)}}
	script, err := SANScript(m)
	if err != nil || !bytes.Contains(script, []byte("sanhook --drive 0x80 iscsi:10.77.0.1::3260:1:")) || !bytes.Contains(script, []byte("--drive 0x81 iscsi:10.77.0.1::3260:c:")) {
		t.Errorf("%v\n%s", err, script)
	}
	m.Disks[0].Initiator = "iqn.2026-01.org.example.other:db-1.e3"
	if _, err := SANScript(m); !errors.Is(err, ipxe.ErrInvalid) {
		t.Errorf("LUNs of two arrays: %v, want ErrInvalid", err)
	}
	if _, err := SANScript(qemu.Machine{Server: "db-1", Epoch: 3, Disks: m.Disks[:1]}); !errors.Is(err, ipxe.ErrInvalid) {
		t.Errorf("no unit 1: %v, want ErrInvalid", err)
	}
}
