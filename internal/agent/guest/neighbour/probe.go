package neighbour

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// Probe asks on the device with that index who has ip, and returns the MACs of all that
// answer within wait, sorted. It asks as one does who has no address (RFC 5227; RFC 4862
// for IPv6), so that no neighbour learns anything from the question. This host's own
// kernel hears no question of its own: who answers is somewhere else. The device may be
// the port of a bridge: then only those behind that port are asked. Errors: the device
// cannot be used, which says nothing of who has the address. It needs CAP_NET_RAW.
func Probe(index int, mac [6]byte, ip netip.Addr, wait time.Duration) ([][6]byte, error) {
	ip = ip.Unmap()
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("probe %s: %w", ip, err)
	}
	defer func() { _ = unix.Close(fd) }()
	answers, err := probe(fd, index, mac, ip, wait)
	if err != nil {
		return nil, fmt.Errorf("probe %s: %w", ip, err)
	}
	return answers, nil
}

func probe(fd, index int, mac [6]byte, ip netip.Addr, wait time.Duration) ([][6]byte, error) {
	// The filter comes before the bind: no other traffic of the host is ever copied here.
	if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, filter()); err != nil {
		return nil, err
	}
	// All protocols: a frame that comes in through the port of a bridge is taken by the
	// bridge before those who want one protocol see it.
	all := binary.NativeEndian.Uint16([]byte{0, unix.ETH_P_ALL})
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: index}); err != nil {
		return nil, err
	}
	if ip.Is6() {
		join := &unix.PacketMreq{Ifindex: int32(index), Type: unix.PACKET_MR_ALLMULTI} // the answer goes to all nodes
		if err := unix.SetsockoptPacketMreq(fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, join); err != nil {
			return nil, err
		}
	}
	q := question(mac, ip)
	to := &unix.SockaddrLinklayer{Protocol: binary.NativeEndian.Uint16(q[12:]), Ifindex: index, Halen: 6}
	copy(to.Addr[:], q[:6])
	if err := unix.Sendto(fd, q, unix.MSG_DONTWAIT, to); err != nil {
		return nil, err
	}
	var found [][6]byte
	frame := make([]byte, 256)
	for end := time.Now().Add(wait); ; {
		n, from, err := receive(fd, frame, time.Until(end))
		if errors.Is(err, unix.EAGAIN) {
			slices.SortFunc(found, func(a, b [6]byte) int { return slices.Compare(a[:], b[:]) })
			return slices.Compact(found), nil
		}
		if err != nil {
			return nil, err
		}
		// What this host sends itself, or sends on for a guest of its own, comes by too.
		if l, ok := from.(*unix.SockaddrLinklayer); ok && l.Pkttype == unix.PACKET_OUTGOING {
			continue
		}
		if who, ok := answer(frame[:n], mac, ip); ok && who != mac {
			found = append(found, who)
		}
	}
}

// receive waits for a frame, and returns EAGAIN when the time is over.
func receive(fd int, frame []byte, wait time.Duration) (int, unix.Sockaddr, error) {
	for {
		if wait <= 0 {
			return 0, nil, unix.EAGAIN
		}
		began := time.Now()
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(wait.Milliseconds())+1)
		switch {
		case errors.Is(err, unix.EINTR), err == nil && n == 0:
			wait -= time.Since(began)
			continue
		case err != nil:
			return 0, nil, err
		}
		return unix.Recvfrom(fd, frame, unix.MSG_DONTWAIT)
	}
}

// filter lets through ARP and ICMPv6 alone.
func filter() *unix.SockFprog {
	const load2, load1, equal, ret = 0x28, 0x30, 0x15, 0x06
	code := []unix.SockFilter{
		{Code: load2, K: 12},                     // EtherType
		{Code: equal, K: unix.ETH_P_ARP, Jt: 3},  // ARP: take it
		{Code: equal, K: unix.ETH_P_IPV6, Jf: 3}, // neither: drop it
		{Code: load1, K: 20},                     // next header
		{Code: equal, K: unix.IPPROTO_ICMPV6, Jf: 1},
		{Code: ret, K: 256},
		{Code: ret, K: 0},
	}
	return &unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]}
}

// question asks who has ip, without saying who asks.
func question(mac [6]byte, ip netip.Addr) []byte {
	if ip.Is4() {
		f := gratuitous(mac, ip.As4(), false)
		copy(f[28:32], []byte{0, 0, 0, 0})
		return f
	}
	return solicitation(mac, ip.As16())
}

// solicitation is that of one who looks whether its address is taken: from no address, to
// those who may have it.
func solicitation(mac [6]byte, ip [16]byte) []byte {
	to := [16]byte{0: 0xff, 1: 0x02, 11: 1, 12: 0xff, 13: ip[13], 14: ip[14], 15: ip[15]}
	icmp := append([]byte{135, 0, 0, 0, 0, 0, 0, 0}, ip[:]...)
	var nobody [16]byte
	binary.BigEndian.PutUint16(icmp[2:], checksum(nobody, to, icmp))

	f := make([]byte, 0, 78)
	f = append(f, 0x33, 0x33, to[12], to[13], to[14], to[15])
	f = append(f, mac[:]...)
	f = append(f, 0x86, 0xdd, 0x60, 0, 0, 0, 0, byte(len(icmp)), 58, 255)
	f = append(f, nobody[:]...)
	f = append(f, to[:]...)
	return append(f, icmp...)
}

// answer reads a frame and returns who in it says to have ip. An ARP packet counts only if
// it is a reply to the one who asked: what a guest of this host announces may come back
// over a second port, and is no other holder.
func answer(f []byte, asker [6]byte, ip netip.Addr) (who [6]byte, ok bool) {
	const ether, arp, v6 = 14, 28, 40
	switch {
	case len(f) >= ether+arp && string(f[12:14]) == "\x08\x06" && ip.Is4():
		reply, sender, target := binary.BigEndian.Uint16(f[20:]) == 2, netip.AddrFrom4([4]byte(f[28:32])), [6]byte(f[:6])
		return [6]byte(f[22:28]), reply && sender == ip && target == asker
	case len(f) >= ether+v6+24 && string(f[12:14]) == "\x86\xdd" && ip.Is6() && !ip.Is4In6():
		m := f[ether+v6:]
		told := f[20] == 58 && f[21] == 255 && m[0] == 136 && m[1] == 0 && netip.AddrFrom16([16]byte(m[8:24])) == ip
		who = [6]byte(f[6:12])
		if len(m) >= 32 && m[24] == 2 && m[25] == 1 {
			who = [6]byte(m[26:32])
		}
		return who, told
	default:
		return who, false
	}
}
