package lab

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"
)

// ask makes a packet as a client sends it.
func askFor(kind byte) []byte {
	p := make([]byte, dhcpHead+4)
	p[0], p[1], p[2] = 1, 1, 6
	copy(p[4:], "\xde\xad\xbe\xef")
	copy(p[28:], "\x52\x54\x00\x01\x02\x03")
	binary.BigEndian.PutUint32(p[dhcpHead:], dhcpMagic)
	return append(p, 0, 12, 2, 'v', 'm', dhcpType, 1, kind, dhcpEnd)
}

func TestDHCPGivesTheOneAddress(t *testing.T) {
	o := dhcpOffer{client: netip.MustParseAddr("10.78.1.100"), server: netip.MustParseAddr("10.78.1.2")}
	for ask, want := range map[byte]byte{dhcpDiscover: dhcpGiven, dhcpRequest: dhcpAck} {
		p := o.answer(askFor(ask))
		if len(p) < dhcpHead+4 {
			t.Fatalf("answer to %d: %x", ask, p)
		}
		options := p[dhcpHead+4:]
		if p[0] != 2 || dhcpOption(options, dhcpType) != want || !bytes.Equal(p[16:20], []byte{10, 78, 1, 100}) ||
			!bytes.Equal(p[4:8], []byte("\xde\xad\xbe\xef")) || !bytes.Equal(p[28:34], []byte("\x52\x54\x00\x01\x02\x03")) ||
			!bytes.Contains(options, []byte{dhcpRouter, 4, 10, 78, 1, 2}) {
			t.Errorf("answer to %d: %x", ask, p)
		}
	}
	release, reply, cut := askFor(7), askFor(dhcpDiscover), askFor(dhcpDiscover)
	reply[0] = 2
	for _, p := range [][]byte{nil, release, reply, cut[:dhcpHead+5], cut[:dhcpHead+9]} {
		if got := o.answer(p); got != nil {
			t.Errorf("%x is answered: %x", p, got)
		}
	}
}
