package neighbour

import (
	"net/netip"
	"testing"
)

func TestQuestionNamesNobody(t *testing.T) {
	head := "\xff\xff\xff\xff\xff\xff\x02\x03\x04\x05\x06\x07\x08\x06\x00\x01\x08\x00\x06\x04\x00\x01"
	want := head + "\x02\x03\x04\x05\x06\x07\x00\x00\x00\x00" + "\x00\x00\x00\x00\x00\x00\x0a\x00\x00\x09"
	if got := question(mac, netip.MustParseAddr("10.0.0.9")); string(got) != want {
		t.Errorf("% x", got)
	}
	ip := "\xfd" + string(make([]byte, 12)) + "\xab\xcd\xef"
	group := "\xff\x02" + string(make([]byte, 9)) + "\x01\xff\xab\xcd\xef"
	want = "\x33\x33\xff\xab\xcd\xef\x02\x03\x04\x05\x06\x07\x86\xdd" +
		"\x60\x00\x00\x00\x00\x18\x3a\xff" + string(make([]byte, 16)) + group +
		"\x87\x00\xe0\x71\x00\x00\x00\x00" + ip
	if got := question(mac, netip.MustParseAddr("fd00::ab:cdef")); string(got) != want {
		t.Errorf("% x, want % x", got, want)
	}
}

// Only those who say that they have the address, to whom asked, are its holders.
func TestAnswers(t *testing.T) {
	ip, other := netip.MustParseAddr("10.0.0.9"), [6]byte{2, 9, 9, 9, 9, 9}
	reply := gratuitous(other, ip.As4(), true)
	copy(reply[:6], mac[:])
	if who, ok := answer(reply, mac, ip); !ok || who != other {
		t.Errorf("a reply: %x %v", who, ok)
	}
	six := netip.MustParseAddr("fd00::9")
	if who, ok := answer(advertisement(other, six.As16()), mac, six); !ok || who != other {
		t.Errorf("an advertisement: %x %v", who, ok)
	}
	for what, f := range map[string][]byte{
		"an announcement to all":   gratuitous(other, ip.As4(), true),
		"a question of another":    question(other, ip),
		"a reply about another":    append(append([]byte{}, reply[:28]...), append([]byte{10, 0, 0, 8}, reply[32:]...)...),
		"a frame that breaks off":  reply[:40],
		"nothing":                  nil,
		"an advertisement, broken": advertisement(other, six.As16())[:70],
	} {
		if who, ok := answer(f, mac, ip); ok {
			t.Errorf("%s is taken for an answer of %x", what, who)
		}
	}
	routed := advertisement(other, six.As16())
	routed[21] = 64 // it came through a router: not from this Ethernet
	for what, f := range map[string][]byte{
		"another's address": advertisement(other, netip.MustParseAddr("fd00::8").As16()),
		"a solicitation":    question(other, six), "one from afar": routed,
	} {
		if who, ok := answer(f, mac, six); ok {
			t.Errorf("%s is taken for an answer of %x", what, who)
		}
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add(gratuitous(mac, [4]byte{10, 0, 0, 9}, true), true)
	f.Add(advertisement(mac, [16]byte{0: 0xfd, 15: 9}), false)
	f.Fuzz(func(_ *testing.T, frame []byte, four bool) {
		ip := netip.MustParseAddr("fd00::9")
		if four {
			ip = netip.MustParseAddr("10.0.0.9")
		}
		_, _ = answer(frame, mac, ip)
	})
}
