package qemu

import (
	"encoding/binary"
	"fmt"
	"net"
	"slices"
	"strings"
	"syscall"
)

// Uplinks lists the ports of a bridge through which it reaches others than this host's
// machines: all that are no tap interfaces, by name.
func Uplinks(bridge string) ([]string, error) {
	br, err := net.InterfaceByName(bridge)
	if err != nil {
		return nil, fmt.Errorf("bridge %s: %w", bridge, err)
	}
	// Not from sysfs, which may be that of another network namespace.
	rib, err := syscall.NetlinkRIB(syscall.RTM_GETLINK, syscall.AF_UNSPEC)
	if err != nil {
		return nil, fmt.Errorf("ports of bridge %s: %w", bridge, err)
	}
	messages, err := syscall.ParseNetlinkMessage(rib)
	if err != nil {
		return nil, fmt.Errorf("ports of bridge %s: %w", bridge, err)
	}
	var out []string
	for _, m := range messages {
		if m.Header.Type != syscall.RTM_NEWLINK {
			continue
		}
		attrs, err := syscall.ParseNetlinkRouteAttr(&m)
		if err != nil {
			return nil, fmt.Errorf("ports of bridge %s: %w", bridge, err)
		}
		if name, master, kind := port(attrs); master == br.Index && kind != "tun" {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out, nil
}

// port reads the name of an interface, the bridge that it is a port of, and its kind.
func port(attrs []syscall.NetlinkRouteAttr) (name string, master int, kind string) {
	const linkInfo, infoKind = 18, 1
	for _, a := range attrs {
		switch a.Attr.Type {
		case syscall.IFLA_IFNAME:
			name = strings.TrimRight(string(a.Value), "\x00")
		case syscall.IFLA_MASTER:
			if len(a.Value) >= 4 {
				master = int(binary.NativeEndian.Uint32(a.Value))
			}
		case linkInfo:
			for rest := a.Value; len(rest) >= 4; {
				size := int(binary.NativeEndian.Uint16(rest))
				if size < 4 || size > len(rest) {
					break
				}
				if binary.NativeEndian.Uint16(rest[2:]) == infoKind {
					kind = strings.TrimRight(string(rest[4:size]), "\x00")
				}
				rest = rest[min((size+3)&^3, len(rest)):]
			}
		}
	}
	return name, master, kind
}
