package lio

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// cutSilent ends the connections to the portals that have been silent for so long, as
// "ss -K" does. The kernel must be built to allow it (CONFIG_INET_DIAG_DESTROY).
func cutSilent(portals []string, silent time.Duration) error {
	var errs []error
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		all, err := netlink.SocketDiagTCPInfo(family)
		if err != nil {
			errs = append(errs, fmt.Errorf("list connections: %w", err))
			continue
		}
		for _, c := range all {
			if c.InetDiagMsg == nil || c.TCPInfo == nil || c.TCPInfo.State != netlink.TCP_ESTABLISHED {
				continue
			}
			at, from := ends(c.InetDiagMsg.ID)
			if !slices.Contains(portals, at.String()) || time.Duration(c.TCPInfo.Last_data_recv)*time.Millisecond < silent {
				continue
			}
			if err := netlink.SocketDestroy(at, from); err != nil && !errors.Is(err, unix.ENOENT) {
				errs = append(errs, fmt.Errorf("cut the connection from %s: %w", from, err))
			}
		}
	}
	return errors.Join(errs...)
}

func ends(id netlink.SocketID) (local, remote *net.TCPAddr) {
	return &net.TCPAddr{IP: id.Source, Port: int(id.SourcePort)}, &net.TCPAddr{IP: id.Destination, Port: int(id.DestinationPort)}
}
