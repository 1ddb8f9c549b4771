package guest

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestBeatLine(t *testing.T) {
	for _, b := range []Beat{
		{Server: "db-1", Epoch: 7, Seq: 1, Progress: 1 << 60, State: Works},
		{Seq: 2, State: Standby},
		{Server: "db-1", Epoch: 7, Seq: 3, State: Fails, Detail: "no such disk: data"},
	} {
		got, err := ParseBeat(b.Line())
		if err != nil || got != b {
			t.Errorf("%q gave %+v, %v", b.Line(), got, err)
		}
	}
	long := Beat{Server: "a", Epoch: 1, State: Fails, Detail: strings.Repeat("\n€", MaxLine)}.Line()
	if len(long) > MaxLine || strings.Count(long, "\n") != 1 {
		t.Errorf("%d bytes, %d lines", len(long), strings.Count(long, "\n"))
	}
	for _, bad := range []string{"", "hello", beatPrefix, beatPrefix + "a 1 2 3", beatPrefix + "a 1 2 -3 works ", beatPrefix + "a 1 2 3 dead ", beatPrefix + " 1 2 3 works"} {
		if _, err := ParseBeat(bad); !errors.Is(err, ErrMalformed) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func FuzzBeat(f *testing.F) {
	f.Add(Beat{Server: "db-1", Epoch: 7, Seq: 1, Progress: 9, State: Works, Detail: "x y"}.Line())
	f.Fuzz(func(t *testing.T, line string) {
		b, err := ParseBeat(line)
		if err != nil || len(line) > MaxLine/2 {
			return
		}
		again, err := ParseBeat(b.Line())
		if err != nil || again.Server == b.Server && (again.Epoch != b.Epoch || again.Seq != b.Seq || again.Progress != b.Progress || again.State != b.State) {
			t.Fatalf("%q gave %+v, then %+v, %v", line, b, again, err)
		}
	})
}

func TestOrders(t *testing.T) {
	for _, o := range []Order{{Kind: Become, Server: "db-1", Epoch: 7}, {Kind: PowerOff}, {Kind: Quiesce, ID: 3, Hold: 90 * time.Second}, {Kind: Thaw}, {Kind: Panic}, {Kind: Hang}, {Kind: Exit}, {Kind: Mute}} {
		if got, err := ParseOrder(o.Line()); err != nil || got != o {
			t.Errorf("%q gave %+v, %v", o.Line(), got, err)
		}
	}
	for _, bad := range []string{"", "reboot", "become", "become a 0", "become a 1 2", "become  1", "poweroff now", "quiesce", "quiesce 1", "quiesce 1 0", "quiesce x 5", "thaw 1"} {
		if _, err := ParseOrder(bad); !errors.Is(err, ErrMalformed) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestConfig(t *testing.T) {
	c, err := ParseConfig("console=ttyS0 quiet relight.server=db-1 relight.epoch=7 relight.disk=data relight.every=5ms relight.warm")
	if err != nil || c.Server != "db-1" || c.Epoch != 7 || c.App != "probe" || c.Every.String() != "5ms" || c.Beat != DefaultBeat || !c.Warm || c.Faults {
		t.Errorf("%+v, %v", c, err)
	}
	for _, bad := range []string{"relight.epoch=x", "relight.disc=data", "relight.every=5"} {
		if _, err := ParseConfig(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
	if s, e, ok := ParseTag(Tag("db-1", 7) + "\n"); !ok || s != "db-1" || e != 7 {
		t.Errorf("%s %d %v", s, e, ok)
	}
	for _, bad := range []string{"", "Default string", "relight/db-1/0", "relight/db-1", "other/db-1/7"} {
		if _, _, ok := ParseTag(bad); ok {
			t.Errorf("%q is taken", bad)
		}
	}
}

// lun is a volume with the records 1 to n of one epoch.
func lun(blocks, n, epoch uint64) []byte {
	b := make([]byte, blocks*RecordSize)
	for seq := uint64(1); seq <= n; seq++ {
		Record{Seq: seq, Epoch: epoch, Server: HashServer("db-1")}.Put(b[seq%blocks*RecordSize:])
	}
	return b
}

func TestLog(t *testing.T) {
	const blocks = 4000 // more than one read
	read := func(b []byte) Log {
		t.Helper()
		l, err := ReadLog(bytes.NewReader(b), int64(len(b)), true)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	if l := read(lun(blocks, 0, 1)); l.Last.Seq != 0 || l.Fit("db-1") != nil {
		t.Errorf("empty: %+v", l.Last)
	}
	b := lun(blocks, blocks+10, 1)
	Record{Seq: blocks + 11, Epoch: 2, Server: HashServer("db-1")}.Put(b[11*RecordSize:])
	l := read(b)
	if l.Last.Seq != blocks+11 || l.Last.Epoch != 2 || len(l.Records) != blocks || l.Fit("db-1") != nil {
		t.Errorf("%+v of %d, %v", l.Last, len(l.Records), l.Fit("db-1"))
	}
	if err := l.Fit("db-2"); !errors.Is(err, ErrForeign) {
		t.Errorf("another server's: %v", err)
	}
	b[12*RecordSize+3] ^= 1 // the write that was cut short
	if l := read(b); l.Fit("db-1") != nil || len(l.Bad) != 1 {
		t.Errorf("torn at the end: %v, %v", l.Bad, l.Fit("db-1"))
	}
	b[12*RecordSize+3] ^= 1
	b[20*RecordSize+9] ^= 1
	if l := read(b); !errors.Is(l.Fit("db-1"), ErrForeign) {
		t.Errorf("torn elsewhere: %v", l.Bad)
	}
	system := make([]byte, blocks*RecordSize)
	copy(system[1024+56:], []byte{0x53, 0xEF}) // ext4
	if l := read(system); !errors.Is(l.Fit("db-1"), ErrForeign) {
		t.Errorf("a file system: %v", l.Bad)
	}
	if _, err := ReadLog(bytes.NewReader(system), int64(len(system))+RecordSize, false); err == nil {
		t.Error("a short volume is taken")
	}
}

// Disks are found by serial number or unit, whatever they are called.
func TestFindDisk(t *testing.T) {
	sys := t.TempDir()
	put := func(path, content string) {
		t.Helper()
		path = filepath.Join(sys, path)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	put("block/vda/serial", "boot")
	put("block/vdb/serial", "data\n")
	put("devices/2:0:0:12/vpd_pg80", "\x00\x80\x00\x04logs")
	put("block/sda/size", "1")
	if err := os.Symlink("../../devices/2:0:0:12", filepath.Join(sys, "block/sda/device")); err != nil {
		t.Fatal(err)
	}
	for want, dev := range map[string]string{"boot": "/dev/vda", "data": "/dev/vdb", "logs": "/dev/sda", "unit:12": "/dev/sda"} {
		if got, err := findDisk(sys, want); err != nil || got != dev {
			t.Errorf("%s is %s, %v", want, got, err)
		}
	}
	for _, none := range []string{"vda", "dat", "unit:1", "unit:2"} {
		if got, err := findDisk(sys, none); !errors.Is(err, errNoDisk) {
			t.Errorf("%s is %s, %v", none, got, err)
		}
	}
}

// A unit that two ways show is two disks: the one whose way was lost is taken last.
func TestFindDiskByAWayThatWorks(t *testing.T) {
	sys := t.TempDir()
	state := func(disk, state string) {
		t.Helper()
		to := filepath.Join(sys, "devices", disk, disk[2:]+":0:0:12")
		err := errors.Join(os.MkdirAll(to, 0o755), os.MkdirAll(filepath.Join(sys, "block", disk), 0o755), os.WriteFile(filepath.Join(to, "state"), []byte(state+"\n"), 0o644))
		if link := filepath.Join(sys, "block", disk, "device"); err == nil {
			_ = os.Remove(link)
			err = os.Symlink(to, link)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct{ a, b, want string }{
		{"running", "running", "/dev/sda"},
		{"transport-offline", "running", "/dev/sdb"},
		{"blocked", "running", "/dev/sdb"},
		{"running", "offline", "/dev/sda"},
		{"blocked", "transport-offline", "/dev/sda"},
	} {
		state("sda", c.a)
		state("sdb", c.b)
		if got, err := findDisk(sys, "unit:12"); err != nil || got != c.want {
			t.Errorf("%s and %s: %s, %v", c.a, c.b, got, err)
		}
	}
}

// A guest that was told once who it is cannot be told otherwise.
func TestBecomeOnce(t *testing.T) {
	g := &inside{told: make(chan struct{}), state: Standby}
	g.obey(Order{Kind: Become, Server: "db-1", Epoch: 7})
	g.obey(Order{Kind: Become, Server: "db-1", Epoch: 8})
	if b := g.beat(1); b.Server != "db-1" || b.Epoch != 7 || b.State != Starting {
		t.Errorf("%+v", b)
	}
	g.obey(Order{Kind: Hang}) // faults are not allowed
	if g.hung.Load() {
		t.Error("it obeyed")
	}
}

// What firmware that booted from a SAN has left.
func TestFirmwareTable(t *testing.T) {
	g := &inside{sys: t.TempDir()}
	if _, ok := g.firmware(); ok {
		t.Fatal("there is none")
	}
	put := func(path, content string) {
		t.Helper()
		path = filepath.Join(g.sys, "firmware/ibft", path)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content+"\n"), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	put("initiator/initiator-name", "iqn.2026-01.org.example.san:db-1.eu.e12")
	put("ethernet0/ip-addr", "10.77.0.50")
	put("ethernet0/subnet-mask", "255.255.254.0")
	put("ethernet0/gateway", "0.0.0.0")
	table, ok := g.firmware()
	ip, gateway, err := table.address()
	if !ok || ip != "10.77.0.50/23" || gateway != "" || err != nil {
		t.Errorf("%s %q %v", ip, gateway, err)
	}
	if server, epoch := g.identity(); server != "db-1.eu" || epoch != 12 {
		t.Errorf("%s epoch %d", server, epoch)
	}
	put("target0/target-name", "iqn.2026-01.org.example.san:t.db-1.e12")
	put("target0/ip-addr", "10.77.0.1")
	put("target0/port", "3260")
	put("target0/chap-name", "db-1.e12")
	put("target0/chap-secret", "abcdefgh23456789")
	put("target1/target-name", "iqn.2026-01.org.example.san:t.db-1.e12")
	put("target1/ip-addr", "10.78.0.1")
	put("target2/target-name", "iqn.2026-01.org.example.san:t.db-1.e12") // no portal
	put("target2/ip-addr", "0.0.0.0")
	put("target3/target-name", "iqn.2026-01.org.example.san:t.db-1.e12") // the second once more
	put("target3/ip-addr", "10.78.0.1")
	put("target5/target-name", "none: there is no fourth")
	want := []way{
		{target: "iqn.2026-01.org.example.san:t.db-1.e12", portal: "10.77.0.1", port: "3260", user: "db-1.e12", secret: "abcdefgh23456789"},
		{target: "iqn.2026-01.org.example.san:t.db-1.e12", portal: "10.78.0.1", port: "3260", user: "db-1.e12", secret: "abcdefgh23456789"},
	}
	if got := table.ways(); !slices.Equal(got, want) {
		t.Errorf("%+v", got)
	}
	put("initiator/initiator-name", "iqn.2010-04.org.ipxe:00000000-0000")
	if server, epoch := g.identity(); server != "" || epoch != 0 {
		t.Errorf("%s epoch %d", server, epoch)
	}
}
