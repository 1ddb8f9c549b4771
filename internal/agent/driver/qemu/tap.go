package qemu

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ErrNetwork means that the host's network cannot be set up for a machine.
var ErrNetwork = errors.New("the machine's network cannot be set up")

// TapName is the name of an instance's interface on its host. The directory tells
// apart two agents on one host that run like-named servers.
func TapName(dir, server string, epoch uint64) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%s.%d", dir, server, epoch))
	return "rl" + hex.EncodeToString(sum[:6]) // 14 of at most 15 bytes
}

// MakeTap makes a tap interface, joins it to the bridge, and sets it up. What is
// there already is left as it is. Errors: ErrNetwork.
func MakeTap(name, bridge string) error {
	fail := func(err error) error {
		return fmt.Errorf("interface %s on bridge %s: %w: %w", name, bridge, ErrNetwork, err)
	}
	br, err := net.InterfaceByName(bridge)
	if err != nil {
		return fail(err)
	}
	tap, err := net.InterfaceByName(name)
	if err != nil {
		if err := persist(name, 1); err != nil {
			return fail(err)
		}
		if tap, err = net.InterfaceByName(name); err != nil {
			return fail(err)
		}
	}
	if err := join(unix.SIOCBRADDIF, br.Name, tap.Index); err != nil && !errors.Is(err, unix.EBUSY) {
		return fail(errors.Join(err, RemoveTap(name, "")))
	}
	if err := up(name); err != nil {
		return fail(errors.Join(err, RemoveTap(name, "")))
	}
	return nil
}

// CutTap takes the interface off its bridge, at once and whatever the machine
// does: from then on nobody hears it. One that is not there is no error.
func CutTap(name, bridge string) error {
	tap, gone := net.InterfaceByName(name)
	if gone != nil {
		return nil //nolint:nilerr // what is not there is on no bridge
	}
	err := join(unix.SIOCBRDELIF, bridge, tap.Index)
	if errors.Is(err, unix.EINVAL) { // it is on no bridge
		err = nil
	}
	if err != nil {
		return fmt.Errorf("take %s off bridge %s: %w", name, bridge, err)
	}
	return nil
}

// RemoveTap cuts the interface off and removes it. While a machine holds it, it
// stays, off its bridge.
func RemoveTap(name, bridge string) error {
	if _, err := net.InterfaceByName(name); err != nil {
		return nil //nolint:nilerr // it is gone already
	}
	var cut error
	if bridge != "" {
		cut = CutTap(name, bridge)
	}
	if err := persist(name, 0); err != nil && !errors.Is(err, unix.EBUSY) {
		return errors.Join(cut, fmt.Errorf("remove %s: %w", name, err))
	}
	return cut
}

// ifreq is the kernel's struct of that name: a name and 24 bytes.
type ifreq struct {
	name [unix.IFNAMSIZ]byte
	data [24]byte
}

func call(fd int, request uint, r *ifreq) error {
	if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uintptr(request), uintptr(unsafe.Pointer(r))); e != 0 {
		return e
	}
	return nil
}

// persist makes the interface last without a process that has it open, or no more.
func persist(name string, on int) error {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("/dev/net/tun: %w", err)
	}
	defer func() { _ = unix.Close(fd) }()
	var r ifreq
	copy(r.name[:unix.IFNAMSIZ-1], name)
	flags := uint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
	*(*uint16)(unsafe.Pointer(&r.data)) = flags
	if err := call(fd, unix.TUNSETIFF, &r); err != nil {
		return err
	}
	return unix.IoctlSetInt(fd, unix.TUNSETPERSIST, on)
}

func control() (int, error) {
	return unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
}

// join has a bridge take or leave an interface.
func join(request uint, bridge string, index int) error {
	fd, err := control()
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	var r ifreq
	copy(r.name[:unix.IFNAMSIZ-1], bridge)
	*(*int32)(unsafe.Pointer(&r.data)) = int32(index)
	return call(fd, request, &r)
}

func up(name string) error {
	fd, err := control()
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	var r ifreq
	copy(r.name[:unix.IFNAMSIZ-1], name)
	if err := call(fd, unix.SIOCGIFFLAGS, &r); err != nil {
		return err
	}
	*(*uint16)(unsafe.Pointer(&r.data)) |= unix.IFF_UP
	return call(fd, unix.SIOCSIFFLAGS, &r)
}

// Traffic is what an interface has carried, in packets, as its machine sees it.
type Traffic struct{ In, Out uint64 }

// TapTraffic reads the counters of all of this host's interfaces.
func TapTraffic() (map[string]Traffic, error) {
	// Not /sys/class/net: that shows the network of whoever mounted it.
	b, err := os.ReadFile("/proc/thread-self/net/dev")
	if err != nil {
		return nil, err
	}
	return parseTraffic(b), nil
}

// parseTraffic reads "name: bytes packets errs drop fifo frame compressed multicast
// bytes packets ...": received first. What the tap receives its machine has sent.
func parseTraffic(b []byte) map[string]Traffic {
	out := map[string]Traffic{}
	for s := bufio.NewScanner(bytes.NewReader(b)); s.Scan(); {
		name, rest, ok := strings.Cut(s.Text(), ":")
		f := strings.Fields(rest)
		if !ok || len(f) < 10 {
			continue
		}
		rx, err1 := strconv.ParseUint(f[1], 10, 64)
		tx, err2 := strconv.ParseUint(f[9], 10, 64)
		if err1 == nil && err2 == nil {
			out[strings.TrimSpace(name)] = Traffic{In: tx, Out: rx}
		}
	}
	return out
}
