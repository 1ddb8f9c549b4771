package dev

import (
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net"
)

// errNoAddress means that no part of 127.0.0.0/16 was free.
var errNoAddress = errors.New("no free loopback addresses were found")

// addresses finds a part of 127.0.0.0/16 in which nobody listens on the port, so
// that two fleets on one machine do not meet.
func addresses(n, port int) ([]string, error) {
	for range 100 {
		part := 1 + mathrand.IntN(254)
		list := make([]string, n)
		free := true
		for i := range list {
			list[i] = fmt.Sprintf("127.0.%d.%d:%d", part, i+1, port)
			l, err := net.Listen("tcp", list[i])
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
func freePort(network string) (string, error) {
	if network == "udp" {
		c, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			return "", err
		}
		defer func() { _ = c.Close() }()
		return c.LocalAddr().String(), nil
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String(), nil
}
