package address

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// fakeNet is a host with devices in memory.
type fakeNet struct {
	has []string
	err error
}

func (n *fakeNet) Add(p netip.Prefix, device string) error {
	if n.err != nil {
		return n.err
	}
	n.has = append(n.has, fmt.Sprintf("%s@%s", p, device))
	return nil
}

func (n *fakeNet) Remove(p netip.Prefix, device string) error {
	n.has = slices.DeleteFunc(n.has, func(s string) bool { return s == fmt.Sprintf("%s@%s", p, device) })
	return n.err
}

func TestClaimIsExclusive(t *testing.T) {
	c := Claims{Dir: t.TempDir(), Net: &fakeNet{}}
	a := Address{IP: "127.0.1.5"}
	h, err := c.Claim(a, "db-1.1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Claim(Address{IP: "127.0.1.5/8"}, "db-2.1"); !errors.Is(err, ErrClaimed) {
		t.Fatalf("second claim: %v", err)
	}
	if err := c.Clear("db-1.1", []Address{a}); !errors.Is(err, ErrClaimed) {
		t.Fatalf("a held claim was cleared: %v", err)
	}
	if err := h.Release(); err != nil {
		t.Fatal(err)
	}
	h, err = c.Claim(a, "db-2.1")
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Release(); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(c.Dir)
	if err != nil || len(left) != 0 {
		t.Fatalf("claim files are left: %v, %v", left, err)
	}
}

func TestDeviceFollowsTheClaim(t *testing.T) {
	n := &fakeNet{}
	c := Claims{Dir: t.TempDir(), Net: n}
	a := Address{IP: "192.0.2.7/24", Device: "eth0"}
	h, err := c.Claim(a, "db-1.1")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(n.has, []string{"192.0.2.7/24@eth0"}) {
		t.Fatalf("devices carry %v", n.has)
	}
	// The keeper is killed: the lock is gone, the address stays behind.
	_ = h.file.Close()
	if err := c.Clear("db-9.1", []Address{a}); err != nil || len(n.has) != 1 {
		t.Fatalf("another owner's claim was cleared: %v, %v", n.has, err)
	}
	h, err = c.Claim(Address{IP: "192.0.2.7/24", Device: "eth1"}, "db-1.2")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(n.has, []string{"192.0.2.7/24@eth1"}) {
		t.Fatalf("devices carry %v", n.has)
	}
	_ = h.file.Close()
	if err := c.Clear("db-1.2", []Address{h.Address}); err != nil || len(n.has) != 0 {
		t.Fatalf("after clear: %v, %v", n.has, err)
	}
}

func TestFailedClaimIsFree(t *testing.T) {
	n := &fakeNet{err: unix.EPERM}
	c := Claims{Dir: t.TempDir(), Net: n}
	a := Address{IP: "192.0.2.7/24", Device: "eth0"}
	if _, err := c.Claim(a, "db-1.1"); !errors.Is(err, unix.EPERM) {
		t.Fatalf("claim: %v", err)
	}
	n.err = nil
	h, err := c.Claim(a, "db-1.2")
	if err != nil {
		t.Fatal(err)
	}
	_ = h.Release()
}

func TestInvalid(t *testing.T) {
	c := Claims{Dir: t.TempDir(), Net: &fakeNet{}}
	for _, a := range []Address{
		{IP: ""},
		{IP: "localhost"},
		{IP: "192.0.2.7"},
		{IP: "0.0.0.0"},
		{IP: "224.0.0.1", Device: "eth0"},
		{IP: "fe80::1%eth0", Device: "eth0"},
		{IP: "../x"},
		{IP: "127.0.0.1/40"},
	} {
		if _, err := c.Claim(a, "db-1.1"); !errors.Is(err, ErrInvalid) {
			t.Errorf("%+v: %v", a, err)
		}
	}
}

// The kernel must understand our messages. In an environment that forbids it,
// the refusal itself shows that they were understood.
func TestHost(t *testing.T) {
	for _, s := range []string{"127.77.3.1/32", "fd00:77::1/128"} {
		p := netip.MustParsePrefix(s)
		err := Host{}.Add(p, "lo")
		if errors.Is(err, unix.EPERM) {
			continue
		}
		if p.Addr().Is6() && (errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EACCES) || errors.Is(err, unix.EINVAL)) {
			continue // no IPv6 here
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := (Host{}).Add(p, "lo"); err != nil {
			t.Fatalf("repeated add: %v", err)
		}
		if !carries(t, p) {
			t.Fatalf("%s is not on lo", p)
		}
		if err := (Host{}).Remove(p, "lo"); err != nil {
			t.Fatal(err)
		}
		if err := (Host{}).Remove(p, "lo"); err != nil {
			t.Fatalf("repeated remove: %v", err)
		}
		if carries(t, p) {
			t.Fatalf("%s is still on lo", p)
		}
	}
	if err := (Host{}).Add(netip.MustParsePrefix("192.0.2.7/32"), "no-such-device"); err == nil {
		t.Fatal("a missing device was accepted")
	}
}

func carries(t *testing.T, p netip.Prefix) bool {
	t.Helper()
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	all, err := lo.Addrs()
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(all, func(a net.Addr) bool { return a.String() == p.String() })
}
