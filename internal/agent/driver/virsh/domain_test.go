package virsh

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"relight/internal/spec"
)

const sample = `<domain type='kvm' id='3'>
  <name>db-1</name>
  <uuid>4dea22b3-1d52-d8f3-2516-782e98ab3fa0</uuid>
  <metadata><x:other xmlns:x="urn:x"/><relight:instance xmlns:relight="urn:relight:instance" server="db-1" epoch="7"/></metadata>
  <memory unit='KiB'>2097153</memory>
  <vcpu placement='static'>2</vcpu>
  <os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type><boot dev='hd'/></os>
  <devices>
    <disk type='network' device='disk'>
      <driver name='qemu' type='raw'/>
      <auth username='u'><secret type='iscsi' usage='x'/></auth>
      <source protocol='iscsi' name='iqn.2026-01.org.example:t1/1'><host name='10.77.0.1' port='3260'/>
        <initiator><iqn name='iqn.2026-01.org.example:db-1'/></initiator></source>
      <target dev='vda' bus='virtio'/>
    </disk>
    <disk type='block' device='disk'>
      <source dev='/dev/disk/by-path/ip-10.77.0.1:3260-iscsi-iqn.2026-01.org.example:t1-lun-12'/><target dev='vdb'/>
    </disk>
    <disk type='file' device='cdrom'><target dev='sda'/></disk>
    <interface type='bridge'><mac address='52:54:00:12:34:56'/><source bridge='br0'/></interface>
    <interface type='network'><mac address='52:54:00:12:34:57'/><source network='default'/></interface>
    <serial type='pty'><source path='/dev/pts/4'/><log file='/var/log/libvirt/db-1.log'/></serial>
    <watchdog model='i6300esb' action='reset'/>
  </devices>
</domain>`

func TestParseXML(t *testing.T) {
	got, err := ParseXML([]byte(sample))
	if err != nil {
		t.Fatal(err)
	}
	want := Domain{
		UUID: "4dea22b3-1d52-d8f3-2516-782e98ab3fa0", Name: "db-1", MemoryMiB: 2049, CPUs: 2,
		Disks: []Disk{
			{Device: "disk", Target: "vda", LUN: &LUN{Portal: "10.77.0.1:3260", IQN: "iqn.2026-01.org.example:t1", Initiator: "iqn.2026-01.org.example:db-1", Unit: 1}},
			{Device: "disk", Target: "vdb", LUN: &LUN{Portal: "10.77.0.1:3260", IQN: "iqn.2026-01.org.example:t1", Unit: 12}},
			{Device: "cdrom", Target: "sda"},
		},
		NICs:    []NIC{{MAC: "52:54:00:12:34:56", Bridge: "br0", Network: "bridge "}, {MAC: "52:54:00:12:34:57", Network: "network default"}},
		Console: "/var/log/libvirt/db-1.log", Watchdog: true, Server: "db-1", Epoch: 7,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestParseXMLRefuses(t *testing.T) {
	for name, change := range map[string][2]string{
		"no XML":      {"<domain", "domain"},
		"another":     {"domain", "network"},
		"no name":     {"<name>db-1</name>", ""},
		"no UUID":     {"4dea22b3", "-"},
		"no memory":   {"2097153", "much"},
		"odd unit":    {"KiB", "acres"},
		"no CPUs":     {">2</vcpu>", ">0</vcpu>"},
		"huge memory": {"unit='KiB'>2097153", "unit='TiB'>9007199254740991"},
	} {
		if _, err := ParseXML([]byte(strings.ReplaceAll(sample, change[0], change[1]))); !errors.Is(err, ErrXML) {
			t.Errorf("%s: %v, want ErrXML", name, err)
		}
	}
	forged, err := ParseXML([]byte(strings.ReplaceAll(sample, `server="db-1"`, `server="x; rm"`)))
	if err != nil || forged.Server != "" || forged.Epoch != 0 {
		t.Errorf("a mark that cannot be ours: %+v, %v", forged, err)
	}
}

func FuzzParseXML(f *testing.F) {
	f.Add([]byte(sample))
	f.Add([]byte(`<!DOCTYPE d [<!ENTITY a "b">]><domain><name>&a;</name></domain>`))
	f.Fuzz(func(t *testing.T, text []byte) {
		d, err := ParseXML(text)
		if err != nil {
			return
		}
		if d.MemoryMiB < 1 || d.CPUs < 1 || d.Name == "" || d.Server != "" && !ValidName(d.Server) {
			t.Errorf("%+v", d)
		}
		doc, _, lacks, err := d.Document("san-1")
		if err != nil || (doc == nil) == (len(lacks) == 0) {
			t.Errorf("%s, %v, %v", doc, lacks, err)
		}
	})
}

// What is imported is a document that the product takes, and it only observes.
func TestDocument(t *testing.T) {
	d, err := ParseXML([]byte(sample))
	if err != nil {
		t.Fatal(err)
	}
	raw, notes, lacks, err := d.Document("san-1")
	if err != nil || len(lacks) > 0 {
		t.Fatal(lacks, err)
	}
	docs, err := spec.Parse(spec.File{Name: "db-1", Data: raw})
	if err != nil {
		t.Fatal(err)
	}
	got, err := spec.Print(spec.YAML, docs...)
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("testdata/db-1.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s\n%s", diff, got)
	}
	if text := strings.Join(notes, "\n"); !strings.Contains(text, "vdb was unit 12 of") || !strings.Contains(text, "sda, a cdrom") || !strings.Contains(text, "34:57 is left out") {
		t.Errorf("notes:\n%s", text)
	}
	d.Disks[1] = Disk{Device: "disk", Target: "vdb", Source: "/var/lib/x.img"}
	d.Name = "DB_1"
	if raw, _, lacks, _ := d.Document("san-1"); raw != nil || len(lacks) != 2 || !strings.Contains(lacks[1], "/var/lib/x.img") {
		t.Errorf("a local disk: %s, %v", raw, lacks)
	}
	kernel := Domain{Name: "k", MemoryMiB: 64, CPUs: 1, Kernel: "/boot/vmlinuz", Cmdline: "quiet"}
	raw, _, lacks, err = kernel.Document("san-1")
	if err != nil || len(lacks) > 0 {
		t.Fatal(lacks, err)
	}
	if _, err := spec.Parse(spec.File{Name: "k", Data: raw}); err != nil {
		t.Error(err)
	}
}
