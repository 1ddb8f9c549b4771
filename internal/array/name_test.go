package array_test

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"relight/internal/array"
	"relight/internal/core/fleet"
)

const prefix = "iqn.2026-01.org.example.san"

func TestIQN(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		gen := rapid.Custom(func(t *rapid.T) array.Ref {
			return array.Ref{
				Server: rapid.StringMatching(`[a-z]([a-z0-9.-]{0,6}[a-z0-9])?(\.e[0-9])?`).Draw(t, "server"),
				Epoch:  fleet.Epoch(rapid.Uint64Range(1, 120).Draw(t, "epoch")),
			}
		})
		a, b := gen.Draw(t, "a"), gen.Draw(t, "b")
		x, err := array.IQN(prefix, a)
		y, err2 := array.IQN(prefix, b)
		if err != nil || err2 != nil {
			t.Fatal(err, err2)
		}
		if (x == y) != (a == b) {
			t.Fatalf("%v and %v are %s and %s", a, b, x, y)
		}
		if back, ok := array.ParseIQN(prefix, x); !ok || back != a {
			t.Fatalf("%s is %v (%v)", x, back, ok)
		}
	})
	for _, r := range []array.Ref{{Server: "DB", Epoch: 1}, {Server: "", Epoch: 1}, {Server: "db", Epoch: 0}, {Server: "a:b", Epoch: 1}, {Server: strings.Repeat("x", 200), Epoch: 1}} {
		if n, err := array.IQN(prefix, r); !errors.Is(err, array.ErrInvalid) {
			t.Errorf("%v is %q, %v", r, n, err)
		}
	}
	for _, n := range []string{"", prefix, prefix + ":db", prefix + ":db.e01", prefix + ":db.e0", prefix + ":.e1", "iqn.other:db.e1"} {
		if r, ok := array.ParseIQN(prefix, n); ok {
			t.Errorf("%q is %v", n, r)
		}
	}
}

func TestNewMap(t *testing.T) {
	r := array.Ref{Server: "db", Epoch: 2}
	a, err := array.NewMap(prefix, r, map[int]string{1: "a"}, bytes.NewReader(bytes.Repeat([]byte{1, 77, 200}, 9)))
	if err != nil || len(a.Secret) != 16 || a.User != "db.e2" || a.Initiator != prefix+":db.e2" {
		t.Errorf("%+v, %v", a, err)
	}
	if _, err := array.NewMap(prefix, r, nil, strings.NewReader("short")); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a secret of too little chance: %v", err)
	}
}

// TestURI: firmware reads the unit in hexadecimal.
func TestURI(t *testing.T) {
	target := array.Target{Portal: "10.0.0.1:3260", IQN: "iqn.x:y"}
	for unit, want := range map[int]string{1: "1", 9: "9", 10: "a", 16: "10", 255: "ff"} {
		if got := target.URI(unit); got != "iscsi:10.0.0.1::3260:"+want+":iqn.x:y" {
			t.Errorf("unit %d: %s", unit, got)
		}
	}
}

func TestScan(t *testing.T) {
	const size = 4 << 20
	at := func(place int, magic string) []byte {
		b := make([]byte, size)
		copy(b[place:], magic)
		return b
	}
	for want, disk := range map[string][]byte{
		"":                               make([]byte, size),
		"ext2/3/4":                       at(0x438, "\x53\xef"),
		"xfs":                            at(0, "XFSB"),
		"btrfs":                          at(0x10040, "_BHRfS_M"),
		"LUKS":                           at(0, "LUKS\xba\xbe"),
		"LVM":                            at(512, "LABELONE"),
		"GPT":                            at(512, "EFI PART"),
		"GPT (backup)":                   at(size-512, "EFI PART"),
		"partition table or boot record": at(510, "\x55\xaa"),
		"swap":                           at(4086, "SWAPSPACE2"),
		"Linux RAID":                     at(4096, "\xfc\x4e\x2b\xa9"),
		"ZFS":                            at(0x20000+5*1024, "\x0c\xb1\xba\x00\x00\x00\x00\x00"),
		"VMFS":                           at(0x100000-512, "\x0d\xd0\x01\xc0"),
		"data of an unknown kind":        at(size-1, "x"),
	} {
		got, err := array.Scan(bytes.NewReader(disk), size)
		var list []string
		if want != "" {
			list = []string{want}
		}
		if err != nil || !slices.Equal(got, list) {
			t.Errorf("%s: found %v, %v", want, got, err)
		}
	}
	if got, err := array.Scan(bytes.NewReader(make([]byte, 100)), size); err == nil {
		t.Errorf("a LUN that cannot be read is said to hold %v", got)
	}
	if got, err := array.Scan(bytes.NewReader(make([]byte, 4096)), 4096); err != nil || len(got) > 0 {
		t.Errorf("a small LUN: %v, %v", got, err)
	}
}

func TestKey(t *testing.T) {
	db, web := array.Key("db", 7), array.Key("web", 7)
	if uint32(db) != 7 || db>>32 == web>>32 || db>>32 == 0 || array.Key("db", 0) == 0 || array.Key("db", 8) != db+1 {
		t.Errorf("%#x, %#x", db, web)
	}
}

// A holder's name is that of no epoch, whatever servers are called.
func TestHolderName(t *testing.T) {
	units := map[int]string{1: "data"}
	for _, server := range []string{"db", "db.e1", "db.holder", "db.holder.e1"} {
		m, err := array.NewHolder(prefix, server, units, strings.NewReader("0123456789abcdef"))
		if err == nil {
			err = array.CheckHolder(m)
		}
		if err != nil || m.Initiator != prefix+":"+server+".holder" {
			t.Errorf("%+v, %v", m, err)
		}
		if r, ok := array.ParseIQN(prefix, m.Initiator); ok {
			t.Errorf("%s is %+v", m.Initiator, r)
		}
	}
	long, err := array.NewHolder(prefix, strings.Repeat("a", 223-len(prefix)-len(":.e1")), units, strings.NewReader("0123456789abcdef"))
	if !errors.Is(err, array.ErrInvalid) {
		t.Errorf("%+v, %v", long, err)
	}
	if m, err := array.NewMap(prefix, array.Ref{Server: "db", Epoch: 1}, units, strings.NewReader("0123456789abcdef")); err != nil || !errors.Is(array.CheckHolder(m), array.ErrInvalid) {
		t.Errorf("an epoch's map counts as a holder's, %v", err)
	}
}
