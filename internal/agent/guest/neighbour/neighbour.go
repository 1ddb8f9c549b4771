// Package neighbour tells the neighbours on an Ethernet where an address is now.
// They keep an address's MAC in a cache for minutes: until it ages they send to the
// host that had the address before. A guest and a host agent announce alike.
package neighbour

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Announce sends one round of Frames on the device with that index. It does not
// wait for room in the device's queue. It needs the right to send raw frames
// (CAP_NET_RAW).
func Announce(index int, mac [6]byte, ip netip.Addr) error {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("announce %s: %w", ip, err)
	}
	defer func() { _ = unix.Close(fd) }()
	var errs []error
	for _, f := range Frames(mac, ip) {
		to := &unix.SockaddrLinklayer{Protocol: binary.NativeEndian.Uint16(f[12:]), Ifindex: index, Halen: 6}
		copy(to.Addr[:], f[:6])
		errs = append(errs, unix.Sendto(fd, f, unix.MSG_DONTWAIT, to))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("announce %s: %w", ip, err)
	}
	return nil
}

// Frames are what announces that ip is at mac: for IPv4 a gratuitous ARP in both
// forms, since some neighbours heed only requests and others only replies; for IPv6
// an unsolicited advertisement.
func Frames(mac [6]byte, ip netip.Addr) [][]byte {
	ip = ip.Unmap()
	if ip.Is4() {
		return [][]byte{gratuitous(mac, ip.As4(), false), gratuitous(mac, ip.As4(), true)}
	}
	return [][]byte{advertisement(mac, ip.As16())}
}

// gratuitous is an ARP packet to all whose sender is its target. A reply names the
// sender's MAC as the target's too: Linux takes other replies for answers, which it
// ignores for a second after an entry has changed.
func gratuitous(mac [6]byte, ip [4]byte, reply bool) []byte {
	op, target := byte(1), [6]byte{}
	if reply {
		op, target = 2, mac
	}
	f := make([]byte, 0, 42)
	f = append(f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)
	f = append(f, mac[:]...)
	f = append(f, 0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, op)
	f = append(f, mac[:]...)
	f = append(f, ip[:]...)
	f = append(f, target[:]...)
	return append(f, ip[:]...)
}

// advertisement is a neighbour advertisement to all nodes with the flag override:
// without it a neighbour keeps the MAC that it has.
func advertisement(mac [6]byte, ip [16]byte) []byte {
	all := [16]byte{0: 0xff, 1: 0x02, 15: 1}
	icmp := []byte{136, 0, 0, 0, 0x20, 0, 0, 0}
	icmp = append(icmp, ip[:]...)
	icmp = append(icmp, 2, 1) // option: the target's MAC, 8 bytes long
	icmp = append(icmp, mac[:]...)
	binary.BigEndian.PutUint16(icmp[2:], checksum(ip, all, icmp))

	f := make([]byte, 0, 86)
	f = append(f, 0x33, 0x33, 0, 0, 0, 1)
	f = append(f, mac[:]...)
	f = append(f, 0x86, 0xdd, 0x60, 0, 0, 0, 0, byte(len(icmp)), 58, 255)
	f = append(f, ip[:]...)
	f = append(f, all[:]...)
	return append(f, icmp...)
}

// checksum is that of ICMPv6: over the addresses, the length, the protocol and the
// message, whose length is even.
func checksum(from, to [16]byte, message []byte) uint16 {
	sum := uint32(len(message)) + 58
	for _, b := range [][]byte{from[:], to[:], message} {
		for i := 0; i < len(b); i += 2 {
			sum += uint32(binary.BigEndian.Uint16(b[i:]))
		}
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
