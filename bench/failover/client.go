package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"relight/internal/lab"
)

// answer tells whoever asks at an address which process this is, also while the address
// is on another host. It does not return without an error.
func answer(ip string) error {
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var inside error
		err := c.Control(func(fd uintptr) {
			inside = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_FREEBIND, 1)
		})
		return errors.Join(err, inside)
	}}
	conn, err := lc.ListenPacket(context.Background(), "udp4", net.JoinHostPort(ip, fmt.Sprint(lab.ServePort)))
	if err != nil {
		return err
	}
	who := fmt.Appendf(nil, "process %d 0 works\n", os.Getpid())
	for buf := make([]byte, 512); ; {
		_, from, err := conn.ReadFrom(buf)
		if errors.Is(err, net.ErrClosed) {
			return err
		}
		if err == nil {
			_, _ = conn.WriteTo(who, from)
		}
	}
}

// served is who answers the client now.
func served(ctx context.Context, c *lab.Caller) (who string, err error) {
	err = poll(ctx, time.Minute, func() (bool, error) {
		a := c.Last()
		who = a.Who
		return time.Since(a.At) < 100*time.Millisecond, errors.New("nobody answers the client")
	})
	return who, err
}

// unserved is how long the client was without an answer when another one took over from
// the one of that name.
func unserved(ctx context.Context, c *lab.Caller, who string) (away time.Duration, err error) {
	err = poll(ctx, time.Minute, func() (bool, error) {
		end, begin, moved := c.Move(who)
		away = begin.At.Sub(end.At)
		return moved, fmt.Errorf("the client heard nobody after %q", who)
	})
	return away, err
}
