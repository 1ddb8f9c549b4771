package address

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"

	"relight/internal/agent/guest/neighbour"
)

// Host is the Network of the host itself. It talks to the kernel directly rather
// than through a child process, since a keeper that waits for every descendant
// must have no children of its own. It needs the right to change interfaces
// (CAP_NET_ADMIN) and, to announce, to send raw frames (CAP_NET_RAW).
type Host struct{}

// Add implements Network.
func (Host) Add(p netip.Prefix, device string) error {
	err := addressMessage(unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_EXCL, p, device)
	if errors.Is(err, unix.EEXIST) {
		return nil
	}
	return err
}

// Remove implements Network.
func (Host) Remove(p netip.Prefix, device string) error {
	err := addressMessage(unix.RTM_DELADDR, 0, p, device)
	if errors.Is(err, unix.EADDRNOTAVAIL) {
		return nil
	}
	return err
}

// Announce implements Network. Devices without a MAC of six bytes, such as tunnels,
// have no neighbours who could keep it.
func (Host) Announce(p netip.Prefix, device string) error {
	dev, err := net.InterfaceByName(device)
	if err != nil {
		return fmt.Errorf("device %s: %w", device, err)
	}
	if len(dev.HardwareAddr) != 6 || dev.Flags&(net.FlagLoopback|net.FlagPointToPoint) != 0 {
		return nil
	}
	if err := neighbour.Announce(dev.Index, [6]byte(dev.HardwareAddr), p.Addr()); err != nil {
		return fmt.Errorf("device %s: %w", device, err)
	}
	return nil
}

// addressMessage sends one rtnetlink request and returns the kernel's errno.
func addressMessage(kind, flags uint16, p netip.Prefix, device string) error {
	dev, err := net.InterfaceByName(device)
	if err != nil {
		return fmt.Errorf("device %s: %w", device, err)
	}
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("netlink: %w", err)
	}
	defer func() { _ = unix.Close(fd) }()
	if err := unix.Sendto(fd, encodeAddress(kind, flags, p, dev.Index), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("netlink: %w", err)
	}
	buf := make([]byte, 4096)
	n, _, err := unix.Recvfrom(fd, buf, 0)
	if err != nil {
		return fmt.Errorf("netlink: %w", err)
	}
	// nlmsghdr (16 bytes), then nlmsgerr, which starts with -errno.
	if n < unix.SizeofNlMsghdr+4 || binary.NativeEndian.Uint16(buf[4:]) != unix.NLMSG_ERROR {
		return fmt.Errorf("netlink: answer of %d bytes is not understood", n)
	}
	if code := int32(binary.NativeEndian.Uint32(buf[unix.SizeofNlMsghdr:])); code != 0 {
		return unix.Errno(-code)
	}
	return nil
}

func encodeAddress(kind, flags uint16, p netip.Prefix, index int) []byte {
	ip := p.Addr().AsSlice()
	family := byte(unix.AF_INET)
	if p.Addr().Is6() {
		family = unix.AF_INET6
	}
	attr := func(b []byte, kind uint16) []byte {
		b = binary.NativeEndian.AppendUint16(b, uint16(4+len(ip)))
		b = binary.NativeEndian.AppendUint16(b, kind)
		return append(b, ip...) // 4 or 16 bytes: aligned
	}
	body := []byte{family, byte(p.Bits()), 0, unix.RT_SCOPE_UNIVERSE}
	if p.Addr().Is6() {
		body[2] = unix.IFA_F_NODAD // the old holder is proved dead; do not wait to ask
	}
	body = binary.NativeEndian.AppendUint32(body, uint32(index))
	body = attr(body, unix.IFA_LOCAL)
	body = attr(body, unix.IFA_ADDRESS)

	head := binary.NativeEndian.AppendUint32(nil, uint32(unix.SizeofNlMsghdr+len(body)))
	head = binary.NativeEndian.AppendUint16(head, kind)
	head = binary.NativeEndian.AppendUint16(head, flags|unix.NLM_F_REQUEST|unix.NLM_F_ACK)
	head = binary.NativeEndian.AppendUint32(head, 1) // sequence
	head = binary.NativeEndian.AppendUint32(head, 0) // to the kernel
	return append(head, body...)
}
