package dev

import (
	"context"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net"
)

// errNoAddress means that no part of 127.0.0.0/16 was free.
var errNoAddress = errors.New("no free loopback addresses were found")

// addresses finds a part of 127.0.0.0/16 in which nobody listens on the port, so
// that two fleets on one machine do not meet.
func addresses(ctx context.Context, n, port int) ([]string, error) {
	var lc net.ListenConfig
	for range 100 {
		part := 1 + mathrand.IntN(254) //nolint:gosec // no secret: it only keeps fleets apart
		list := make([]string, n)
		free := true
		for i := range list {
			list[i] = fmt.Sprintf("127.0.%d.%d:%d", part, i+1, port)
			l, err := lc.Listen(ctx, "tcp", list[i])
			if err != nil {
				free = false
				break
			}
			_ = l.Close()
		}
		if free {
			return list, nil
		}
	}
	return nil, errNoAddress
}

// freePort finds a port of 127.0.0.1 that is free now.
func freePort(ctx context.Context, network string) (string, error) {
	var lc net.ListenConfig
	if network == "udp" {
		c, err := lc.ListenPacket(ctx, "udp", "127.0.0.1:0")
		if err != nil {
			return "", err
		}
		defer func() { _ = c.Close() }()
		return c.LocalAddr().String(), nil
	}
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String(), nil
}
