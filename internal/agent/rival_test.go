package agent

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"relight/internal/core/fleet"
)

// askEnv makes the test binary a host in a network namespace of its own: "IP DEVICE" and
// "IP - BRIDGE" on its input are asked for; "send IP:PORT TEXT" sends a datagram, and "hear
// IP:PORT" tells the first line that comes from there.
const askEnv = "TEST_WHO_HAS"

func playAsker() {
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		words := append(strings.Fields(in.Text()), "", "", "", "")
		if words[0] == "announce" {
			fmt.Fprintln(os.Stdout, Announce(netip.MustParseAddr(words[1]), strings.TrimPrefix(words[2], "-"), words[3], words[4]))
			continue
		}
		if words[0] == "send" || words[0] == "hear" {
			fmt.Fprintln(os.Stdout, talkTo(words[0], words[1], words[2]))
			continue
		}
		who, err := WhoHas(netip.MustParseAddr(words[0]), strings.TrimPrefix(words[1], "-"), words[2])
		fmt.Fprintln(os.Stdout, strings.Join(who, ","), err)
	}
}

// talkTo sends a datagram, or returns the first line that comes by TCP.
func talkTo(verb, to, text string) string {
	network := map[string]string{"send": "udp", "hear": "tcp"}[verb]
	c, err := net.DialTimeout(network, to, time.Second)
	if err != nil {
		return err.Error()
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(time.Second))
	if verb == "send" {
		_, err = c.Write([]byte(text))
		return fmt.Sprint(err)
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(line)
}

// inNamespace starts the binary as a host; ip runs ip(8) there.
func inNamespace(t *testing.T) (ask func(string) string, ip func(string), pid int) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), askEnv+"=1")
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
	lines := bufio.NewScanner(out)
	ask = func(what string) string {
		t.Helper()
		if _, err := io.WriteString(in, what+"\n"); err != nil || !lines.Scan() {
			t.Fatalf("ask %s: %v, %v", what, err, lines.Err())
		}
		return lines.Text()
	}
	ip = func(args string) {
		t.Helper()
		all := append([]string{"-t", fmt.Sprint(cmd.Process.Pid), "-n", "ip"}, strings.Fields(args)...)
		if out, err := exec.CommandContext(t.Context(), "nsenter", all...).CombinedOutput(); err != nil {
			t.Skipf("SKIPPED: ip %s: %v: %s", args, err, out)
		}
	}
	return ask, ip, cmd.Process.Pid
}

// fdb is what the bridges of a host have learnt.
func fdb(t *testing.T, pid int) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "nsenter", "-t", fmt.Sprint(pid), "-n", "bridge", "fdb", "show").CombinedOutput()
	if err != nil {
		t.Fatalf("bridge fdb: %v: %s", err, out)
	}
	return string(out)
}

// The address of a server is on this host and, on the same Ethernet, on another too: the
// other is heard, whether the address is the host's own or that of a machine behind its
// bridge, and this host is not taken for it.
func TestWhoElseHasAnAddress(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("SKIPPED: network namespaces need root")
	}
	const zombie = "02:00:00:00:00:0a"
	ask, ip, _ := inNamespace(t)
	_, ipz, pid := inNamespace(t)
	heard := func(question, want string) { // a busy machine may answer late
		t.Helper()
		for end := time.Now().Add(30 * time.Second); ; {
			got := ask(question)
			if got == want+" <nil>" {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("%s is heard from %q, want %s", question, got, want)
			}
		}
	}
	ip(fmt.Sprintf("link add eth0 type veth peer name eth0 address %s netns %d", zombie, pid))
	ip("link set eth0 up")
	ipz("link set eth0 up")
	for _, a := range []string{"10.77.0.9/24", "fd00:77::9/64 nodad"} {
		text, _, _ := strings.Cut(a, "/")
		ip("addr add " + a + " dev eth0")
		if got := ask(text + " eth0"); got != " <nil>" {
			t.Errorf("%s is here alone, and is heard from %q", text, got)
		}
		ipz("addr add " + a + " dev eth0")
		heard(text+" eth0", zombie)
	}
	// The host's own bridge, with a machine's interface beside the uplink.
	ip("addr flush dev eth0")
	ip("link add br0 type bridge forward_delay 0 mcast_snooping 0")
	ip("link set eth0 master br0")
	ip("link set br0 up")
	for _, text := range []string{"10.77.0.9", "fd00:77::9"} {
		heard(text+" - br0", zombie)
	}
	// The zombie's switch learns where the machine is when its host says so.
	const machine = "52:54:00:77:00:01"
	ipz("link add br1 type bridge forward_delay 0")
	ipz("link set eth0 master br1")
	ipz("link set br1 up")
	for _, text := range []string{"10.77.0.9", "fd00:77::9"} {
		if got := ask("announce " + text + " - br0 " + machine); got != "<nil>" {
			t.Errorf("%s cannot be announced: %s", text, got)
		}
	}
	for end := time.Now().Add(30 * time.Second); !strings.Contains(fdb(t, pid), machine+" dev eth0"); {
		if time.Now().After(end) {
			t.Fatalf("the switch knows only %s", fdb(t, pid))
		}
	}
	if got := ask("announce 10.77.0.9 - br0 52:54"); !strings.Contains(got, "52:54") {
		t.Errorf("a MAC that is none: %s", got)
	}
	ipz("link set eth0 nomaster")
	ipz("link set eth0 arp off") // and it says nothing to IPv6 either
	if got := ask("10.77.0.9 - br0"); got != " <nil>" {
		t.Errorf("nobody answers, and %q is heard", got)
	}
	for _, gone := range []string{"10.77.0.9 eth7", "10.77.0.9 - br7"} {
		if got := ask(gone); strings.HasSuffix(got, "<nil>") {
			t.Errorf("asking through %s: %q, want an error", gone, got)
		}
	}
}

// One answer may be that of an instance which is just being ended: the second counts. It
// is told for as long as it is given, and a question that cannot be asked says nothing.
func TestRivalIsToldOnceItAnswersTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		who, failed := []string{"02:00:00:00:00:0a"}, error(nil)
		asked := 0
		a := &Agent{}
		a.opt.Log = slog.New(slog.DiscardHandler)
		a.opt.WhoHas = func(ip netip.Addr, device, bridge string) ([]string, error) {
			mu.Lock()
			defer mu.Unlock()
			if asked++; ip.String() != "192.0.2.7" || device != "eth0" || bridge != "" {
				t.Errorf("asked for %s on %s%s", ip, device, bridge)
			}
			return who, failed
		}
		begun := time.Now()
		told := 0
		a.board = newBoard(func() int64 { return int64(time.Since(begun)) }, func() { told++ })
		leased, defended := true, 0
		a.leased = func() bool {
			mu.Lock()
			defer mu.Unlock()
			return leased
		}
		a.opt.Announce = func(ip netip.Addr, device, bridge, mac string) error {
			mu.Lock()
			defer mu.Unlock()
			if defended++; ip.String() != "192.0.2.7" || device != "eth0" || bridge != "" || mac != "" {
				t.Errorf("%s is announced on %s%s at %q", ip, device, bridge, mac)
			}
			return nil
		}
		want := map[string]wanted{}
		i := Instance{Server: "db", Epoch: 3, State: fleet.InstanceRunning, Addresses: []string{"192.0.2.7/24", "127.0.0.5", "nonsense"}, Device: "eth0"}
		a.wantRivals(want, i)
		if len(want) != 1 {
			t.Fatalf("wanted %v", want)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for _, w := range want {
			wg.Go(func() { w.run(ctx, nil) })
		}
		contests := func() string {
			synctest.Wait()
			a.board.mu.Lock()
			defer a.board.mu.Unlock()
			return fmt.Sprint(a.board.contests())
		}
		<-time.After(rivalAgain / 2)
		if got := contests(); got != "[]" {
			t.Errorf("after one answer %s is told", got)
		}
		times := func() int {
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			return defended
		}
		if n := times(); n != 0 {
			t.Errorf("after one answer it is announced %d times", n)
		}
		<-time.After(rivalAgain)
		if got := contests(); !strings.HasPrefix(got, "[{db 3 192.0.2.7/24 02:00:00:00:00:0a ") || told != 1 {
			t.Errorf("after two answers %s is told, %d times", got, told)
		}
		if n := times(); n == 0 {
			t.Error("it is not announced though somebody else answered")
		}
		<-time.After(defendHard)
		mu.Lock()
		defended = 0
		mu.Unlock()
		<-time.After(10 * defendSlowly)
		if n := times(); n < 9 || n > 11 {
			t.Errorf("after %s it is announced %d times in ten times %s", defendHard, n, defendSlowly)
		}
		mu.Lock()
		leased, defended = false, 0
		mu.Unlock()
		<-time.After(2 * rivalAgain)
		if n := times(); n != 0 {
			t.Errorf("a host without a lease defends it, %d times", n)
		}
		mu.Lock()
		who, failed = nil, errors.New("network is down")
		mu.Unlock()
		<-time.After(rivalFor + time.Second)
		if got := contests(); got != "[]" {
			t.Errorf("long after the last answer %s is told", got)
		}
		before := asked
		<-time.After(10 * rivalPace)
		if more := asked - before; more < 9 || more > 11 {
			t.Errorf("asked %d times in ten times %s", more, rivalPace)
		}
		cancel()
		wg.Wait()
	})
}

// A yes from the address of a machine counts once nobody else has answered for that address,
// and then for good; a check that does not go there counts at once.
func TestAYesCountsOnceNobodyElseAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		who := []string{"02:00:00:00:00:0a"}
		a := &Agent{}
		a.opt.Log = slog.New(slog.DiscardHandler)
		a.leased = func() bool { return false }
		a.opt.WhoHas = func(netip.Addr, string, string) ([]string, error) {
			mu.Lock()
			defer mu.Unlock()
			return who, nil
		}
		begun := time.Now()
		a.board = newBoard(func() int64 { return int64(time.Since(begun)) }, func() {})
		i := Instance{Server: "db", Epoch: 4, State: fleet.InstanceRunning, Addresses: []string{"192.0.2.7/24"}, Bridge: "br0"}
		sure := a.sureOf(i, fleet.Check{TCP: "192.0.2.7:5432"})
		want := map[string]wanted{}
		a.wantRivals(want, i)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for _, w := range want {
			wg.Go(func() { w.run(ctx, nil) })
		}
		after := func(d time.Duration, want bool) {
			t.Helper()
			<-time.After(d)
			synctest.Wait()
			if sure() != want {
				t.Errorf("%s after the start a yes counts: %v", time.Since(begun), !want)
			}
		}
		after(10*rivalPace, false)
		mu.Lock()
		who = nil
		mu.Unlock()
		after(rivalPace, true)
		mu.Lock()
		who = []string{"02:00:00:00:00:0a"}
		mu.Unlock()
		after(rivalPace, true)
		cancel()
		wg.Wait()
		if a.sureOf(i, fleet.Check{Exec: []string{"true"}}) != nil || a.sureOf(Instance{Server: "db", Epoch: 4, Device: "eth0"}, fleet.Check{TCP: "192.0.2.7:5432"}) != nil {
			t.Error("a yes that cannot be another's has to wait")
		}
	})
}
