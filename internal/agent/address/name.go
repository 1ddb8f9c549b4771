package address

import (
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// bind takes the address's name among the kernel's abstract unix sockets. They are
// as wide as addresses are: one set for each network namespace, whatever the
// directories of agents. The kernel frees the name with the last descriptor, so
// that no claim outlives its holders, and none needs to be cleaned up.
func bind(ip netip.Addr) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("claim %s: %w", ip, err)
	}
	// "@" stands for the zero byte that makes a name abstract.
	name := "@relight/address/" + ip.Unmap().String()
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: name}); err != nil {
		_ = unix.Close(fd)
		if err == unix.EADDRINUSE {
			return nil, fmt.Errorf("%s: %w by an instance of another agent on this machine", ip, ErrClaimed)
		}
		return nil, fmt.Errorf("claim %s: %w", ip, err)
	}
	return os.NewFile(uintptr(fd), name), nil
}
