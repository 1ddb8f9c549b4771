package guest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"unsafe"

	"golang.org/x/sys/unix"

	"relight/internal/agent/guest/neighbour"
)

var errNoInterface = errors.New("there is no network interface")

// firstInterface is the first one that is not the loopback.
func firstInterface(sys string) (string, error) {
	entries, err := os.ReadDir(filepath.Join(sys, "class/net"))
	if err != nil {
		return "", err
	}
	for _, e := range entries {
		if e.Name() != "lo" {
			return e.Name(), nil
		}
	}
	return "", errNoInterface
}

// ifreq is the kernel's struct of that name: a name and 24 bytes.
type ifreq struct {
	name [16]byte
	data [24]byte
}

func ifcall(fd int, call uint, name string, fill func(*[24]byte)) error {
	var r ifreq
	copy(r.name[:15], name)
	if fill != nil {
		fill(&r.data)
	}
	if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uintptr(call), uintptr(unsafe.Pointer(&r))); e != 0 {
		return fmt.Errorf("interface %s: %w", name, e)
	}
	return nil
}

// inet puts a struct sockaddr_in there.
func inet(a netip.Addr) func(*[24]byte) {
	return func(b *[24]byte) {
		binary.NativeEndian.PutUint16(b[:], unix.AF_INET)
		copy(b[4:8], a.AsSlice())
	}
}

// configure brings the interface up with its address and route.
func configure(device string, p netip.Prefix, gateway netip.Addr) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	var mask [4]byte
	binary.BigEndian.PutUint32(mask[:], ^uint32(0)<<(32-p.Bits()))
	up := func(b *[24]byte) { binary.NativeEndian.PutUint16(b[:], unix.IFF_UP|unix.IFF_RUNNING) }
	err = errors.Join(
		ifcall(fd, unix.SIOCSIFFLAGS, "lo", up),
		ifcall(fd, unix.SIOCSIFADDR, device, inet(p.Addr())),
		ifcall(fd, unix.SIOCSIFNETMASK, device, inet(netip.AddrFrom4(mask))),
		ifcall(fd, unix.SIOCSIFFLAGS, device, up),
	)
	if err != nil || !gateway.IsValid() {
		return err
	}
	return route(fd, gateway)
}

// route adds the default route by a struct rtentry.
func route(fd int, gateway netip.Addr) error {
	var b [120]byte
	sockaddr := func(at int, a netip.Addr) {
		binary.NativeEndian.PutUint16(b[at:], unix.AF_INET)
		copy(b[at+4:], a.AsSlice())
	}
	any := netip.AddrFrom4([4]byte{})
	sockaddr(8, any)
	sockaddr(24, gateway)
	sockaddr(40, any)
	binary.NativeEndian.PutUint16(b[56:], unix.RTF_UP|unix.RTF_GATEWAY)
	if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCADDRT, uintptr(unsafe.Pointer(&b))); e != 0 && e != unix.EEXIST {
		return fmt.Errorf("route by %s: %w", gateway, e)
	}
	return nil
}

// announce tells switches and neighbours at once where the address is now.
func announce(device, sys string, a netip.Addr) error {
	mac, err := macOf(device, sys)
	if err != nil {
		return err
	}
	b, err := os.ReadFile(filepath.Join(sys, "class/net", device, "ifindex"))
	if err != nil {
		return err
	}
	var index int
	if _, err := fmt.Sscan(string(b), &index); err != nil {
		return err
	}
	return neighbour.Announce(index, mac, a)
}

func macOf(device, sys string) (mac [6]byte, err error) {
	b, err := os.ReadFile(filepath.Join(sys, "class/net", device, "address"))
	if err != nil {
		return mac, err
	}
	_, err = fmt.Sscanf(string(b), "%02x:%02x:%02x:%02x:%02x:%02x", &mac[0], &mac[1], &mac[2], &mac[3], &mac[4], &mac[5])
	return mac, err
}

// datagrams is a UDP socket without package net, which would double the program.
type datagrams struct {
	fd int
	to *unix.SockaddrInet4
}

func dialUDP(addr string) (*datagrams, error) {
	to, err := netip.ParseAddrPort(addr)
	if err != nil {
		return nil, err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	return &datagrams{fd: fd, to: &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}}, nil
}

func (d *datagrams) send(s string) { _ = unix.Sendto(d.fd, []byte(s), 0, d.to) }

// serve answers each datagram and each connection on the port; what a datagram
// says is handed on.
func serve(port int, answer func(asked string) string) error {
	udp, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	tcp, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	at := &unix.SockaddrInet4{Port: port}
	err = errors.Join(
		unix.SetsockoptInt(tcp, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1),
		unix.Bind(udp, at), unix.Bind(tcp, at), unix.Listen(tcp, 16),
	)
	if err != nil {
		return fmt.Errorf("serve on port %d: %w", port, err)
	}
	go func() {
		buf := make([]byte, MaxLine)
		for {
			if n, from, err := unix.Recvfrom(udp, buf, 0); err == nil && from != nil {
				_ = unix.Sendto(udp, []byte(answer(string(buf[:n]))), 0, from)
			}
		}
	}()
	go func() {
		for {
			if c, _, err := unix.Accept4(tcp, unix.SOCK_CLOEXEC); err == nil {
				_, _ = unix.Write(c, []byte(answer("")))
				_ = unix.Close(c)
			}
		}
	}()
	return nil
}
