package lab

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// taps lists the interfaces of machines that are on a host's bridge.
func (l *Lab) taps(ctx context.Context, host string) ([]string, error) {
	out, err := output(ctx, "ip", "-n", l.namespace(host), "-br", "link", "show", "master", Bridge, "type", "tun")
	if err != nil {
		return nil, fmt.Errorf("bridge of %s: %w", host, err)
	}
	var taps []string
	for line := range strings.Lines(out) {
		if f := strings.Fields(line); len(f) > 0 {
			taps = append(taps, f[0])
		}
	}
	return taps, nil
}

// bridgeWatch hears from a host's kernel what leaves its bridge. Looking now and then
// would not tell an interface that was taken off from one whose machine ended first.
type bridgeWatch struct{ fd int }

// watchBridge listens from now on. Close it.
func (l *Lab) watchBridge(host string) (bridgeWatch, error) {
	w := bridgeWatch{fd: -1}
	err := within(l.namespace(host), func() (err error) {
		if w.fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE); err != nil {
			return err
		}
		return unix.Bind(w.fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: unix.RTMGRP_LINK})
	})
	if err != nil {
		return w, errors.Join(fmt.Errorf("watch the bridge of %s: %w", host, err), w.close())
	}
	return w, nil
}

func (w bridgeWatch) close() error {
	if w.fd < 0 {
		return nil
	}
	return unix.Close(w.fd)
}

// left counts the interfaces that have left the bridge since the last call; live ones
// had a machine that could still send.
func (w bridgeWatch) left() (all, live int, err error) {
	buf := make([]byte, 64<<10)
	for {
		n, _, err := unix.Recvfrom(w.fd, buf, 0)
		if errors.Is(err, unix.EAGAIN) {
			return all, live, nil
		}
		if err != nil {
			return all, live, fmt.Errorf("hear from the bridge: %w", err)
		}
		messages, err := syscall.ParseNetlinkMessage(buf[:n])
		if err != nil {
			return all, live, fmt.Errorf("hear from the bridge: %w", err)
		}
		for _, m := range messages {
			// struct ifinfomsg: family, a pad, type, index and, from byte 8 on, flags.
			if m.Header.Type != unix.RTM_DELLINK || len(m.Data) < unix.SizeofIfInfomsg || m.Data[0] != unix.AF_BRIDGE {
				continue
			}
			all++
			if binary.NativeEndian.Uint32(m.Data[8:])&unix.IFF_LOWER_UP != 0 {
				live++
			}
		}
	}
}
