package neighbour

import (
	"net/netip"
	"testing"
)

var mac = [6]byte{2, 3, 4, 5, 6, 7}

func TestGratuitousARP(t *testing.T) {
	f := Frames(mac, netip.MustParseAddr("10.0.0.9"))
	head := "\xff\xff\xff\xff\xff\xff\x02\x03\x04\x05\x06\x07\x08\x06\x00\x01\x08\x00\x06\x04"
	sender := "\x02\x03\x04\x05\x06\x07\x0a\x00\x00\x09"
	want := []string{
		head + "\x00\x01" + sender + "\x00\x00\x00\x00\x00\x00\x0a\x00\x00\x09",
		head + "\x00\x02" + sender + sender,
	}
	if len(f) != 2 || string(f[0]) != want[0] || string(f[1]) != want[1] {
		t.Errorf("% x", f)
	}
}

func TestUnsolicitedAdvertisement(t *testing.T) {
	f := Frames(mac, netip.MustParseAddr("fd00::9"))
	ip := "\xfd" + string(make([]byte, 14)) + "\x09"
	want := "\x33\x33\x00\x00\x00\x01\x02\x03\x04\x05\x06\x07\x86\xdd" +
		"\x60\x00\x00\x00\x00\x20\x3a\xff" + ip + "\xff\x02" + string(make([]byte, 13)) + "\x01" +
		// 507d is the checksum of addresses, length, protocol and message.
		"\x88\x00\x50\x7d\x20\x00\x00\x00" + ip + "\x02\x01\x02\x03\x04\x05\x06\x07"
	if len(f) != 1 || string(f[0]) != want {
		t.Errorf("% x\n% x", f, want)
	}
}
