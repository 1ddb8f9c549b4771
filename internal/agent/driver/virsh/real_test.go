package virsh

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"relight/internal/agent/driver/virsh/virshtest"
	"relight/internal/core/fleet"
	"relight/internal/spec"
)

// patience bounds every wait; only a bug reaches it.
const patience = 60 * time.Second

func startLibvirt(t *testing.T) *Conn {
	t.Helper()
	return &Conn{URI: virshtest.Start(t, virshtest.Apart)}
}

func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-ctx.Done():
			t.Fatalf("not in time: %s", what)
		case <-tick.C:
		}
	}
}

// define defines a domain whose disk says hello on a console file and halts.
func define(t *testing.T, c *Conn, name string) (Domain, string) {
	t.Helper()
	dir := t.TempDir()
	console := filepath.Join(dir, "console")
	disk := make([]byte, 1<<20)
	copy(disk, []byte{0xfa, 0x31, 0xc0, 0x8e, 0xd8, 0xbe, 0x16, 0x7c, 0xba, 0xf8, 0x03, 0xfc, 0xac, 0x84, 0xc0, 0x74, 0x03, 0xee, 0xeb, 0xf8, 0xf4, 0xf4})
	copy(disk[0x16:], "<hello>\n\x00")
	disk[510], disk[511] = 0x55, 0xaa
	image := filepath.Join(dir, "disk.img")
	xml := `<domain type='qemu'><name>` + name + `</name><memory unit='MiB'>64</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='pc'>hvm</type></os>
<devices><emulator>/usr/bin/qemu-system-x86_64</emulator>
<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='` + image + `'/><target dev='vda' bus='virtio'/></disk>
<serial type='file'><source path='` + console + `'/></serial></devices></domain>`
	path := filepath.Join(dir, "domain.xml")
	for name, data := range map[string][]byte{image: disk, path: []byte(xml)} {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.call(t.Context(), "define", path); err != nil {
		t.Fatal(err)
	}
	all, err := c.Domains(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range all {
		if d.Name == name {
			return d, console
		}
	}
	t.Fatalf("%s is not listed: %+v", name, all)
	return Domain{}, ""
}

func hellos(console string) int {
	text, _ := os.ReadFile(console)
	return strings.Count(string(text), "<hello>")
}

func TestRealLibvirt(t *testing.T) {
	c := startLibvirt(t)
	ctx := t.Context()
	d, console := define(t, c, "db-1")
	if d.State != ShutOff || !d.Persistent || d.Autostart || d.MemoryMiB != 64 || d.CPUs != 1 || d.Console != console || d.Server != "" || len(d.Disks) != 1 {
		t.Fatalf("%+v", d)
	}
	must := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	again := func() Domain {
		t.Helper()
		d, err := c.Domain(ctx, d.UUID)
		must("read", err)
		return d
	}
	must("mark", c.Mark(ctx, d, "db-1", 1))
	must("start", c.Start(ctx, d.UUID))
	until(t, "the guest runs", func() bool { return hellos(console) == 1 })
	if d := again(); d.State != "running" || d.Server != "db-1" || d.Epoch != 1 {
		t.Fatalf("%+v", d)
	}
	must("mark a running one", c.Mark(ctx, again(), "db-1", 2))
	must("reset", c.Reset(ctx, d.UUID))
	until(t, "the guest was reset", func() bool { return hellos(console) == 2 })
	must("destroy", c.Destroy(ctx, d.UUID))
	if d := again(); d.State != ShutOff || d.Epoch != fleet.Epoch(2) {
		t.Fatalf("%+v", d)
	}
	if _, err := c.Domain(ctx, "00000000-0000-4000-8000-000000000000"); err == nil || !strings.Contains(err.Error(), ErrNotFound.Error()) {
		t.Errorf("a domain that is not there: %v", err)
	}
}

// What libvirt itself prints of a machine on a SAN becomes a document.
func TestRealImport(t *testing.T) {
	c := startLibvirt(t)
	path := filepath.Join(t.TempDir(), "domain.xml")
	text := strings.NewReplacer("type='kvm'", "type='qemu'", " id='3'", "", "<interface type='network'><mac address='52:54:00:12:34:57'/><source network='default'/></interface>", "").Replace(sample)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := c.call(t.Context(), "define", path); err != nil {
		t.Fatal(err)
	}
	all, err := c.Domains(t.Context())
	if err != nil || len(all) != 1 {
		t.Fatalf("%+v, %v", all, err)
	}
	d := all[0]
	units := map[string]int{}
	for _, disk := range d.Disks { // libvirt puts them into an order of its own
		if disk.LUN != nil {
			units[disk.Target] = disk.LUN.Unit
		}
	}
	if d.Server != "db-1" || d.Epoch != 7 || len(d.Disks) != 3 || len(units) != 2 || units["vda"] != 1 || units["vdb"] != 12 {
		t.Errorf("%+v", d)
	}
	raw, _, lacks, err := d.Document("san-1")
	if err != nil || len(lacks) > 0 {
		t.Fatal(lacks, err)
	}
	if _, err := spec.Parse(spec.File{Name: "db-1", Data: raw}); err != nil {
		t.Error(err)
	}
}
