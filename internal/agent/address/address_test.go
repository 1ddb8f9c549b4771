package address

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// own is a loopback address for this run alone: the names of claims are the whole
// machine's.
var own = fmt.Sprintf("127.%d.%d.5", 64+os.Getpid()>>8&63, os.Getpid()&255)

// holdEnv makes the test binary a process that claims own in a directory, says so,
// and holds it until its input ends.
const holdEnv = "TEST_HOLD_IN"

func TestMain(m *testing.M) {
	dir := os.Getenv(holdEnv)
	if dir == "" {
		os.Exit(m.Run())
	}
	if _, err := (Claims{Dir: dir, Net: &fakeNet{}}).Claim(Address{IP: os.Getenv("TEST_IP")}, "db-1.1"); err != nil {
		fmt.Fprintln(os.Stdout, err)
	} else {
		fmt.Fprintln(os.Stdout, "held")
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// fakeNet is a host with devices in memory.
type fakeNet struct {
	has []string
	err error
	say func(what string) error // what becomes of an announcement
}

func (n *fakeNet) Announce(p netip.Prefix, device string) error {
	return n.say(fmt.Sprintf("%s@%s", p, device))
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
	a := Address{IP: own}
	h, err := c.Claim(a, "db-1.1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Claim(Address{IP: own + "/8"}, "db-2.1"); !errors.Is(err, ErrClaimed) {
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
	h.close()
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
	h.close()
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

// hold starts a process that claims own in a directory; end kills it.
func hold(t *testing.T, dir string) (end func()) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), holdEnv+"="+dir, "TEST_IP="+own)
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err := errors.Join(err1, err2, cmd.Start()); err != nil {
		t.Fatal(err)
	}
	end = func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = in.Close()
	}
	t.Cleanup(end)
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "held\n" {
		t.Fatalf("the holder says %q, %v", line, err)
	}
	return end
}

// Two agents on one machine know nothing of each other's directories; the kernel
// keeps their instances apart, and forgets a holder with its last process.
func TestTwoAgentsCannotHoldOneAddress(t *testing.T) {
	end := hold(t, t.TempDir())
	other := Claims{Dir: t.TempDir(), Net: &fakeNet{}}
	for _, ip := range []string{own, own + "/8", "::ffff:" + own} {
		if h, err := other.Claim(Address{IP: ip}, "db-2.1"); !errors.Is(err, ErrClaimed) {
			t.Fatalf("%s was given to both: %v, %v", ip, h, err)
		}
	}
	end()
	h, err := other.Claim(Address{IP: own}, "db-2.1")
	if err != nil {
		t.Fatalf("after its holder was killed: %v", err)
	}
	if err := h.Release(); err != nil {
		t.Fatal(err)
	}
	h, err = other.Claim(Address{IP: own}, "db-2.2")
	if err != nil {
		t.Fatalf("after its release: %v", err)
	}
	_ = h.Release()
}

// What an agent clears of its dead keepers may be another agent's by now.
func TestClearSparesAnotherAgentsAddress(t *testing.T) {
	a := Address{IP: own + "/32", Device: "eth0"}
	n := &fakeNet{}
	one, two := Claims{Dir: t.TempDir(), Net: n}, Claims{Dir: t.TempDir(), Net: n}
	h, err := one.Claim(a, "db-1.1")
	if err != nil {
		t.Fatal(err)
	}
	h.close() // its keeper is killed
	n.has = nil
	held, err := two.Claim(a, "db-1.2")
	if err != nil {
		t.Fatal(err)
	}
	if err := one.Clear("db-1.1", []Address{a}); err != nil || len(n.has) != 1 {
		t.Fatalf("devices carry %v, %v", n.has, err)
	}
	if left, _ := os.ReadDir(one.Dir); len(left) > 0 {
		t.Errorf("the dead claim is still remembered: %v", left)
	}
	if err := held.Release(); err != nil || len(n.has) != 0 {
		t.Fatalf("devices carry %v, %v", n.has, err)
	}
}
