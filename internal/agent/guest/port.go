package guest

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

var errNoPort = errors.New("there is no port " + PortName)

// port is the guest's end of the channel to its host.
type port struct{ fd int }

func openPort(sys, dev string) (*port, error) {
	names, _ := filepath.Glob(filepath.Join(sys, "class/virtio-ports/*/name"))
	for _, n := range names {
		b, err := os.ReadFile(n)
		if err != nil || strings.TrimSpace(string(b)) != PortName {
			continue
		}
		// Not blocking: a host whose agent is away must hold up nobody.
		fd, err := unix.Open(filepath.Join(dev, filepath.Base(filepath.Dir(n))), unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != nil {
			return nil, err
		}
		return &port{fd: fd}, nil
	}
	return nil, errNoPort
}

// send writes a line; a host that does not read loses it.
func (p *port) send(line string) { _, _ = unix.Write(p.fd, []byte(line)) }

// orders calls f with each order that comes, for ever.
func (p *port) orders(f func(Order)) {
	var have []byte
	buf := make([]byte, MaxLine)
	for {
		fds := []unix.PollFd{{Fd: int32(p.fd), Events: unix.POLLIN}}
		_, _ = unix.Poll(fds, 1000)
		n, err := unix.Read(p.fd, buf)
		if err != nil || n <= 0 {
			// Nobody is connected: poll returns at once then.
			if fds[0].Revents&(unix.POLLHUP|unix.POLLERR) != 0 {
				time.Sleep(50 * time.Millisecond)
			}
			continue
		}
		have = append(have, buf[:n]...)
		for {
			i := bytes.IndexByte(have, '\n')
			if i < 0 {
				break
			}
			if o, err := ParseOrder(string(have[:i])); err == nil {
				f(o)
			}
			have = have[i+1:]
		}
		if len(have) > MaxLine {
			have = nil
		}
	}
}
