package lab

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// routeToSAN lets machines on the management network reach the SAN, through the
// controller's node, which is on both. Hosts are given no such way: theirs is cut with
// their own port.
func (l *Lab) routeToSAN(ctx context.Context) error {
	err := run(ctx, "", "ip", "netns", "exec", l.namespace(nodeController), "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
	if err != nil {
		return err
	}
	return batch(ctx, l.namespace(nodeSAN), []string{
		"route replace " + l.management(0) + "/24 via " + l.storage(last(nodeController)),
	})
}

// dhcp gives the server's one address to whoever asks on the management network: iPXE
// has none before it.
type dhcp struct {
	conn  net.PacketConn
	offer dhcpOffer
	done  chan struct{}
}

// dhcpOffer is all that a client is told.
type dhcpOffer struct{ client, server netip.Addr }

func (l *Lab) openDHCP(ctx context.Context) (*dhcp, error) {
	d := &dhcp{done: make(chan struct{})}
	var err error
	if d.offer.client, err = netip.ParseAddr(l.address()); err != nil {
		return nil, err
	}
	if d.offer.server, err = netip.ParseAddr(l.management(last(nodeController))); err != nil {
		return nil, err
	}
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var failed error
		err := c.Control(func(fd uintptr) {
			// It answers with broadcasts, on the one network where it is asked.
			failed = errors.Join(
				unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_BROADCAST, 1),
				unix.SetsockoptString(int(fd), unix.SOL_SOCKET, unix.SO_BINDTODEVICE, string(Management)),
			)
		})
		return errors.Join(err, failed)
	}}
	err = within(l.namespace(nodeController), func() error {
		var err error
		d.conn, err = lc.ListenPacket(ctx, "udp4", ":67")
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("give addresses: %w", err)
	}
	go d.serve()
	return d, nil
}

// Close ends it.
func (d *dhcp) Close() error {
	err := d.conn.Close()
	<-d.done
	return err
}

func (d *dhcp) serve() {
	defer close(d.done)
	buf := make([]byte, 1500)
	for {
		n, _, err := d.conn.ReadFrom(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if reply := d.offer.answer(buf[:n]); err == nil && reply != nil {
			_, _ = d.conn.WriteTo(reply, &net.UDPAddr{IP: net.IPv4bcast, Port: 68})
		}
	}
}

// The parts of a DHCP packet that matter here (RFC 2131), and its options (RFC 2132).
const (
	dhcpHead   = 236
	dhcpMagic  = 0x63825363
	dhcpMask   = 1
	dhcpRouter = 3
	dhcpLease  = 51
	dhcpType   = 53
	dhcpServer = 54
	dhcpEnd    = 255

	dhcpDiscover = 1
	dhcpGiven    = 2
	dhcpRequest  = 3
	dhcpAck      = 5
)

// answer makes the reply to a packet, or nil to what needs none.
func (o dhcpOffer) answer(ask []byte) []byte {
	if len(ask) < dhcpHead+4 || ask[0] != 1 || binary.BigEndian.Uint32(ask[dhcpHead:]) != dhcpMagic {
		return nil
	}
	var kind byte
	switch dhcpOption(ask[dhcpHead+4:], dhcpType) {
	case dhcpDiscover:
		kind = dhcpGiven
	case dhcpRequest:
		kind = dhcpAck
	default:
		return nil
	}
	out := make([]byte, dhcpHead+4, 300)
	copy(out, ask[:44]) // kind of hardware, transaction, flags, hardware address
	out[0], out[3] = 2, 0
	client, server := o.client.As4(), o.server.As4()
	clear(out[8:28])
	copy(out[16:], client[:])
	copy(out[20:], server[:])
	binary.BigEndian.PutUint32(out[dhcpHead:], dhcpMagic)
	out = append(out, dhcpType, 1, kind, dhcpLease, 4, 0, 1, 0x51, 0x80, dhcpMask, 4, 255, 255, 255, 0)
	out = append(append(out, dhcpServer, 4), server[:]...)
	out = append(append(out, dhcpRouter, 4), server[:]...)
	return append(out, dhcpEnd)
}

// dhcpOption returns the first byte of an option, or 0.
func dhcpOption(options []byte, want byte) byte {
	for len(options) > 1 && options[0] != dhcpEnd {
		if options[0] == 0 {
			options = options[1:]
			continue
		}
		size := int(options[1])
		if len(options) < 2+size {
			return 0
		}
		if options[0] == want && size > 0 {
			return options[2]
		}
		options = options[2+size:]
	}
	return 0
}
