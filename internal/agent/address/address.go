// Package address gives addresses of this host to instances.
//
// A claim has two halves. The name, bound in the kernel, keeps every other
// instance off the address, whichever agent's it is; it dies with its last holder.
// The file, locked, is one agent's memory: it says whose the address is, and leads
// to an address that a killed keeper has left on a device. Both are held, like a
// volume's lock, by the instance's keeper and inherited by its application, so that
// nobody gets the address while one process of the instance is left.
package address

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Errors of a claim. Nothing was changed when one of them is returned.
var (
	// ErrClaimed: another instance of this host has the address.
	ErrClaimed = errors.New("address is claimed")
	// ErrInvalid: this is no address that can be claimed.
	ErrInvalid = errors.New("address is invalid")
)

// Address is an address that moves with a server.
type Address struct {
	// IP is the address, such as 127.0.1.5 or 192.0.2.7/24. Without a prefix
	// length it is a host address.
	IP string `json:"ip"`
	// Device is the network interface that carries it. A loopback address needs
	// none: the host has them all.
	Device string `json:"device,omitempty"`
}

// prefix checks a and returns its address with its prefix length.
func (a Address) prefix() (netip.Prefix, error) {
	p, err := netip.ParsePrefix(a.IP)
	if err != nil {
		ip, err := netip.ParseAddr(a.IP)
		if err != nil || ip.Zone() != "" {
			return netip.Prefix{}, fmt.Errorf("%q: %w", a.IP, ErrInvalid)
		}
		p = netip.PrefixFrom(ip.Unmap(), ip.Unmap().BitLen())
	}
	ip := p.Addr()
	switch {
	case ip.IsUnspecified(), ip.IsMulticast():
		return netip.Prefix{}, fmt.Errorf("%q: %w: not a unicast address", a.IP, ErrInvalid)
	case a.Device == "" && !ip.IsLoopback():
		return netip.Prefix{}, fmt.Errorf("%q: %w: needs a device, being no loopback address", a.IP, ErrInvalid)
	}
	return p, nil
}

// Network changes the addresses of this host's interfaces.
type Network interface {
	// Add puts p on device. It succeeds if p is there already.
	Add(p netip.Prefix, device string) error
	// Remove takes p off device. It succeeds if p is not there.
	Remove(p netip.Prefix, device string) error
	// Announce tells device's neighbours once that p is here. It succeeds if device
	// has none that keep MACs.
	Announce(p netip.Prefix, device string) error
}

// Claims are the claims on this host's addresses.
type Claims struct {
	// Dir holds an agent's claim files.
	Dir string
	// Net changes the interfaces.
	Net Network
}

// claim is the content of a claim file.
type claim struct {
	Owner   string  `json:"owner"`
	Address Address `json:"address"`
}

// Held is an address that an instance has. It is shared with every process that
// inherits Files.
type Held struct {
	Address Address
	claims  Claims
	file    *os.File // locked
	name    *os.File // bound; nil while a claim that was left behind is cleared
	quiet   func()   // ends the announcements and waits for them; nil if there are none
}

// Claim takes a for owner and puts it on its device. A stale claim, left by a
// keeper that was killed, is replaced, and its address is taken off its device.
// Errors: ErrClaimed, ErrInvalid, and what the network says.
func (c Claims) Claim(a Address, owner string) (*Held, error) {
	p, err := a.prefix()
	if err != nil {
		return nil, err
	}
	f, err := c.lock(p.Addr())
	if err != nil {
		return nil, err
	}
	h := &Held{Address: a, claims: c, file: f}
	if h.name, err = bind(p.Addr()); err == nil {
		err = h.enter(p, owner)
	}
	if err != nil {
		h.close()
		return nil, err
	}
	return h, nil
}

func (h *Held) close() {
	h.silence()
	_ = h.file.Close()
	if h.name != nil {
		_ = h.name.Close()
	}
}

// enter writes the claim before it changes the device, so that an address on a
// device always has a claim that leads to it.
func (h *Held) enter(p netip.Prefix, owner string) error {
	if err := h.clear(p, h.Address); err != nil {
		return err
	}
	b, err := json.Marshal(claim{Owner: owner, Address: h.Address})
	if err != nil {
		return err
	}
	if err := h.file.Truncate(0); err != nil {
		return err
	}
	if _, err := h.file.WriteAt(b, 0); err != nil {
		return err
	}
	if h.Address.Device == "" {
		return nil
	}
	if err := h.claims.Net.Add(p, h.Address.Device); err != nil {
		return fmt.Errorf("claim %s on %s: %w", p, h.Address.Device, err)
	}
	return nil
}

// clear takes the address that an earlier claim names off its device, unless it
// is the one that is wanted there now.
func (h *Held) clear(p netip.Prefix, want Address) error {
	b, err := os.ReadFile(h.file.Name())
	if err != nil {
		return err
	}
	var old claim
	fresh := json.Unmarshal(b, &old) != nil // or torn before its address was set
	if fresh || old.Address.Device == "" || old.Address == want {
		return nil //nolint:nilerr // nothing is known to be left on a device
	}
	if q, err := old.Address.prefix(); err == nil && q.Addr() == p.Addr() {
		return h.claims.Net.Remove(q, old.Address.Device)
	}
	return nil
}

// lock opens and locks the claim file. A file that was removed between the two
// guards nothing, so it tries again.
func (c Claims) lock(ip netip.Addr) (*os.File, error) {
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("claim %s: %w", ip, err)
	}
	path := filepath.Join(c.Dir, strings.ReplaceAll(ip.String(), ":", "_"))
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
		if err != nil {
			return nil, fmt.Errorf("claim %s: %w", ip, err)
		}
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			defer func() { _ = f.Close() }()
			if err == unix.EWOULDBLOCK {
				return nil, fmt.Errorf("%s: %w by %s", ip, ErrClaimed, ownerIn(path))
			}
			return nil, fmt.Errorf("claim %s: %w", ip, err)
		}
		mine, err1 := f.Stat()
		named, err2 := os.Lstat(path)
		if err1 == nil && err2 == nil && os.SameFile(mine, named) {
			return f, nil
		}
		_ = f.Close()
	}
}

func ownerIn(path string) string {
	var c claim
	if b, err := os.ReadFile(path); err != nil || json.Unmarshal(b, &c) != nil {
		return "an unknown owner"
	}
	return c.Owner
}

// Files returns the descriptors that carry the claim, to be inherited by the
// application. They stay owned by h.
func (h *Held) Files() []*os.File { return []*os.File{h.file, h.name} }

// Release takes the address off its device and ends the claim. It is for the time
// when no process of the instance is left.
func (h *Held) Release() error {
	defer h.close()
	// First of all: an announcement that comes after the address has left would take
	// its neighbours away from the host that has it by then.
	h.silence()
	if h.Address.Device != "" {
		p, err := h.Address.prefix()
		if err != nil {
			return err
		}
		if err := h.claims.Net.Remove(p, h.Address.Device); err != nil {
			return fmt.Errorf("release %s on %s: %w", p, h.Address.Device, err)
		}
	}
	return os.Remove(h.file.Name()) // under the lock, which Claim checks
}

// Clear ends claims of owner that its keeper left behind: it takes their
// addresses off their devices. A claim that a living process still holds stays
// and is reported as ErrClaimed.
func (c Claims) Clear(owner string, addresses []Address) error {
	var errs []error
	for _, a := range addresses {
		p, err := a.prefix()
		if err != nil {
			errs = append(errs, err)
			continue
		}
		path := filepath.Join(c.Dir, strings.ReplaceAll(p.Addr().String(), ":", "_"))
		if _, err := os.Stat(path); os.IsNotExist(err) || ownerIn(path) != owner {
			continue
		}
		f, err := c.lock(p.Addr())
		if err != nil {
			errs = append(errs, err)
			continue
		}
		h := &Held{Address: a, claims: c, file: f}
		if ownerIn(path) != owner { // taken over between the look and the lock
			_ = f.Close()
			continue
		}
		errs = append(errs, h.clearOwn(p))
	}
	return errors.Join(errs...)
}

// clearOwn releases what a dead keeper of this agent has left. If an instance of
// another agent has the address by now, it may be the same one on the same device:
// then only the memory of it goes.
func (h *Held) clearOwn(p netip.Prefix) error {
	var err error
	if h.name, err = bind(p.Addr()); errors.Is(err, ErrClaimed) {
		h.close()
		return os.Remove(h.file.Name())
	}
	if err != nil {
		h.close()
		return err
	}
	return h.Release()
}
