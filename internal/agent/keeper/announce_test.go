package keeper

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"relight/internal/agent/address"
)

// hostEnv makes the test binary a process that does on standard input's word what a
// keeper or a neighbour does; its value is a directory for its files.
const hostEnv = "TEST_PLAY_HOST_IN"

func TestMain(m *testing.M) {
	dir := os.Getenv(hostEnv)
	if dir == "" {
		os.Exit(m.Run())
	}
	if err := playHost(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func playHost(dir string) error {
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return err
	}
	k, err := newKeeper(dir, Config{Server: "db-1", Epoch: 1, Claims: dir}, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		return err
	}
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		do, ip, _ := strings.Cut(in.Text(), " ")
		switch do {
		case "claim":
			_, err = k.do(Request{Op: OpClaim, Server: "db-1", Epoch: 1, Address: &address.Address{IP: ip, Device: "eth0"}}, nil)
		case "ask": // any packet has the kernel ask for the MAC
			var to net.Conn
			if to, err = net.Dial("udp", net.JoinHostPort(ip, "9")); err == nil {
				_, err = to.Write([]byte("?"))
				_ = to.Close()
			}
		}
		fmt.Fprintln(os.Stdout, "done", err)
	}
	return nil
}

// nshost is a process in a network namespace of its own; both end together.
type nshost struct {
	t   *testing.T
	dir string
	cmd *exec.Cmd
	in  io.Writer
	out *bufio.Scanner
}

func newNamespace(t *testing.T) *nshost {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), hostEnv+"="+dir)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Skipf("SKIPPED: network namespaces cannot be made here: %v", err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return &nshost{t, dir, cmd, in, bufio.NewScanner(out)}
}

func (h *nshost) do(order string) {
	h.t.Helper()
	if _, err := fmt.Fprintln(h.in, order); err != nil {
		h.t.Fatal(err)
	}
	if !h.out.Scan() || h.out.Text() != "done <nil>" {
		h.t.Fatalf("%s: %q, %v", order, h.out.Text(), h.out.Err())
	}
}

// ip runs ip(8) in the namespace.
func (h *nshost) ip(args string) (string, error) {
	all := append([]string{"-t", fmt.Sprint(h.cmd.Process.Pid), "-n", "ip"}, strings.Fields(args)...)
	out, err := exec.CommandContext(h.t.Context(), "nsenter", all...).CombinedOutput()
	return string(out), err
}

func (h *nshost) must(args string) string {
	h.t.Helper()
	out, err := h.ip(args)
	if err != nil {
		h.t.Fatalf("ip %s: %v: %s", args, err, out)
	}
	return out
}

// await polls until it sees all words.
func (h *nshost) await(look func() string, words ...string) {
	h.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(10 * time.Second); ; <-tick.C {
		got := look()
		if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(got, w) }) {
			return
		}
		if time.Now().After(end) {
			h.t.Fatalf("there is %q, want %v", got, words)
		}
	}
}

// awaitCache polls the neighbour's cache.
func (h *nshost) awaitCache(ip string, words ...string) {
	h.t.Helper()
	h.await(func() string { return h.must("neigh show to " + ip + " dev br0") }, words...)
}

// ethernet has a neighbour on a bridge and two hosts with their MACs plugged in.
func ethernet(t *testing.T, macs ...string) (neighbour *nshost, hosts []*nshost) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("SKIPPED: network namespaces need root")
	}
	for _, p := range []string{"ip", "nsenter"} {
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("SKIPPED: %s is not installed (Debian: iproute2, util-linux)", p)
		}
	}
	neighbour = newNamespace(t)
	if out, err := neighbour.ip("link add br0 type bridge forward_delay 0 mcast_snooping 0"); err != nil {
		t.Skipf("SKIPPED: bridges cannot be made here: %v: %s", err, out)
	}
	for i, mac := range macs {
		h := newNamespace(t)
		neighbour.must(fmt.Sprintf("link add port%d type veth peer name eth0 address %s netns %d", i, mac, h.cmd.Process.Pid))
		neighbour.must(fmt.Sprintf("link set port%d master br0 up", i))
		h.must("link set eth0 up")
		// With a route to the neighbour of its own, a host can answer it.
		h.must(fmt.Sprintf("addr add 10.77.0.%d/24 dev eth0", 2+i))
		hosts = append(hosts, h)
	}
	neighbour.must("link set br0 up")
	neighbour.must("addr add 10.77.0.1/24 dev br0")
	return neighbour, hosts
}

// An address moves between hosts: the neighbour that knew the old MAC learns the new
// one although it sends nothing. A MAC that was told and not asked for is STALE in
// Linux; one that the neighbour had asked for would be REACHABLE.
func TestNeighbourLearnsWhereAnAddressWent(t *testing.T) {
	a, b := "02:00:00:00:00:0a", "02:00:00:00:00:0b"
	for _, ip := range []string{"10.77.0.9", "fd00:77::9"} {
		t.Run(ip, func(t *testing.T) {
			neighbour, hosts := ethernet(t, a, b)
			bits, nodad := "/24", ""
			if strings.Contains(ip, ":") {
				bits, nodad = "/64", " nodad"
				if out, err := neighbour.ip("addr add fd00:77::1/64 dev br0 nodad"); err != nil {
					t.Skipf("SKIPPED: there is no IPv6 here: %s", out)
				}
			}
			// No claim: an announcement that crosses the question would make the answer
			// STALE, and the neighbour ask again.
			hosts[0].must("addr add " + ip + bits + " dev eth0" + nodad)
			neighbour.do("ask " + ip)
			neighbour.awaitCache(ip, a, "REACHABLE")
			hosts[0].must("addr del " + ip + bits + " dev eth0")
			hosts[1].do("claim " + ip + bits)
			neighbour.awaitCache(ip, b, "STALE")
		})
	}
}

// An address that cannot be announced is given all the same, and the log says so.
func TestAnAddressIsGivenUnannounced(t *testing.T) {
	_, hosts := ethernet(t, "02:00:00:00:00:0a")
	hosts[0].must("link set eth0 down")
	hosts[0].do("claim 10.77.0.9/24")
	if got := hosts[0].must("addr show dev eth0"); !strings.Contains(got, "10.77.0.9/24") {
		t.Errorf("the device has %s", got)
	}
	hosts[0].await(func() string {
		b, _ := os.ReadFile(filepath.Join(hosts[0].dir, "log"))
		return string(b)
	}, "address is not announced", "10.77.0.9", "network is down")
}
