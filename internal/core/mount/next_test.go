package mount

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"relight/internal/core/fleet"
)

const id = "vol-0a1b2c3d"

var (
	disk  = Disk{Node: "/dev/nvme1n1", Number: "259:1"}
	there = []Disk{disk}
)

func data(change func(*fleet.Mount)) fleet.Volume {
	v := fleet.Volume{Name: "data", ID: id, Mount: &fleet.Mount{Path: "/data", Type: "ext4"}}
	if change != nil {
		change(v.Mount)
	}
	return v
}

func TestNext(t *testing.T) {
	format := func(m *fleet.Mount) { m.Format = true }
	fsck := func(m *fleet.Mount) { m.Fsck = true }
	mine := Mounted{Number: disk.Number, Source: disk.Node, Path: "/data", Type: "ext4"}
	change := func(f func(*Mounted)) []Mounted { m := mine; f(&m); return []Mounted{m} }
	for _, row := range []struct {
		name  string
		v     fleet.Volume
		epoch fleet.Epoch
		seen  Seen
		want  Kind
		says  string
	}{
		{"not attached yet", data(nil), 3, Seen{Others: []string{"nvme0n1"}}, Wait, "vol0a1b2c3d yet (there are others: nvme0n1)"},
		{"attached, unreadable", data(format), 1, Seen{Disks: there, Trouble: "input/output error"}, Wait, "input/output error"},
		{"holds the file system", data(nil), 3, Seen{Disks: there, Content: "ext4"}, Mount, "/dev/nvme1n1"},
		{"holds it, format allowed", data(format), 1, Seen{Disks: there, Content: "ext4"}, Mount, ""},
		{"mounted right", data(format), 1, Seen{Disks: there, Mounts: []Mounted{mine}}, Done, ""},
		{"mounted here and bound elsewhere", data(nil), 1, Seen{Disks: there, Mounts: append(change(func(m *Mounted) { m.Path = "/b" }), mine)}, Done, ""},
		{"blank, first epoch, allowed", data(format), 1, Seen{Disks: there, Content: Blank}, Format, "epoch 1"},
		{"blank, first epoch, not allowed", data(nil), 1, Seen{Disks: there, Content: Blank}, Refuse, "does not say format"},
		{"blank, second epoch, allowed", data(format), 2, Seen{Disks: there, Content: Blank}, Refuse, "only epoch 1 formats"},
		{"blank, no epoch", data(format), 0, Seen{Disks: there, Content: Blank}, Refuse, "only epoch 1 formats"},
		{"encrypted", data(format), 1, Seen{Disks: there, Content: "crypto_LUKS"}, Refuse, "holds crypto_LUKS"},
		{"partitioned", data(format), 1, Seen{Disks: there, Content: "gpt"}, Refuse, "holds gpt"},
		{"another file system", data(format), 1, Seen{Disks: there, Content: "xfs"}, Refuse, "holds xfs, and the spec says ext4"},
		{"unknown data", data(format), 1, Seen{Disks: there, Content: Foreign}, Refuse, "never formatted"},
		{"two disks of one serial", data(format), 1, Seen{Disks: []Disk{disk, {Node: "/dev/nvme2n1"}}, Content: Blank}, Refuse, "/dev/nvme1n1, /dev/nvme2n1"},
		{"another disk on its path", data(nil), 1, Seen{Disks: there, Content: "ext4", Mounts: change(func(m *Mounted) { m.Number, m.Source = "259:7", "/dev/nvme7n1" })}, Refuse, "/dev/nvme7n1 is mounted on /data"},
		{"another disk over it", data(nil), 1, Seen{Disks: there, Mounts: append([]Mounted{mine}, change(func(m *Mounted) { m.Number = "0:9" })...)}, Refuse, "not vol-0a1b2c3d"},
		{"mounted elsewhere", data(nil), 1, Seen{Disks: there, Mounts: change(func(m *Mounted) { m.Path = "/mnt" })}, Refuse, "umount /mnt"},
		{"mounted as another type", data(nil), 1, Seen{Disks: there, Mounts: change(func(m *Mounted) { m.Type = "ext2" })}, Refuse, "as ext2"},
		{"fallen to read-only", data(nil), 1, Seen{Disks: there, Mounts: change(func(m *Mounted) { m.ReadOnly = true })}, Broken, "read-only"},
		{"gave up after errors", data(nil), 1, Seen{Disks: there, Mounts: []Mounted{mine}, Fault: "input/output error"}, Broken, "takes no writes: input/output error"},
		{"disk gone below its mount", data(nil), 1, Seen{Mounts: []Mounted{mine}}, Broken, "no disk has the serial"},
		{"to be checked", data(fsck), 4, Seen{Disks: there, Content: "ext4"}, Check, ""},
		{"checked", data(fsck), 4, Seen{Disks: there, Content: "ext4", Checked: true}, Mount, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			got := Next(row.v, row.epoch, row.seen)
			if got.Kind != row.want || !strings.Contains(got.Why, row.says) {
				t.Errorf("%s: %s; want %s that says %q", got.Kind, got.Why, row.want, row.says)
			}
		})
	}
}

// Whatever is seen, nothing but a blank disk of epoch 1 with leave is formatted, and
// nothing but a disk of its serial is touched (S8).
func TestNextFormatsNothingElse(t *testing.T) {
	content := rapid.SampledFrom([]Content{Unread, Blank, Foreign, "ext4", "xfs", "crypto_LUKS", "gpt"})
	number := rapid.SampledFrom([]string{"259:1", "259:2"})
	mount := rapid.Custom(func(t *rapid.T) Mounted {
		return Mounted{
			Number: number.Draw(t, "number"), Path: rapid.SampledFrom([]string{"/data", "/mnt"}).Draw(t, "path"),
			Type: rapid.SampledFrom([]string{"ext4", "xfs"}).Draw(t, "type"), ReadOnly: rapid.Bool().Draw(t, "ro"),
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		v := data(func(m *fleet.Mount) { m.Format, m.Fsck = rapid.Bool().Draw(t, "format"), rapid.Bool().Draw(t, "fsck") })
		epoch := fleet.Epoch(rapid.Uint64Range(0, 3).Draw(t, "epoch"))
		seen := Seen{
			Disks:   rapid.SliceOfN(rapid.Just(disk), 0, 2).Draw(t, "disks"),
			Content: content.Draw(t, "content"), Mounts: rapid.SliceOfN(mount, 0, 3).Draw(t, "mounts"), Checked: rapid.Bool().Draw(t, "checked"),
		}
		got := Next(v, epoch, seen)
		touches := got.Kind == Format || got.Kind == Check || got.Kind == Mount
		busy := false
		for _, m := range seen.Mounts {
			busy = busy || m.Number == disk.Number || m.Path == "/data"
		}
		switch {
		case touches && (len(seen.Disks) != 1 || busy):
			t.Fatalf("%s though the disk is not there, not alone, or in use: %s", got.Kind, got.Why)
		case got.Kind == Format && (epoch != 1 || !v.Mount.Format || seen.Content != Blank):
			t.Fatalf("formats at epoch %d a disk that holds %q", epoch, seen.Content)
		case got.Why == "":
			t.Fatal("says no reason")
		}
	})
}

func TestAbove(t *testing.T) {
	at := func(path string) fleet.Volume { return fleet.Volume{Mount: &fleet.Mount{Path: path}} }
	all := []fleet.Volume{at("/data"), at("/data/a"), at("/data/a/b"), {Name: "raw"}, at("/dat")}
	for path, want := range map[string]string{"/data": "", "/data/a": "/data", "/data/a/b": "/data/a", "/dat": ""} {
		if got := Above(all, path); got != want {
			t.Errorf("above %s is %q, want %q", path, got, want)
		}
	}
}
