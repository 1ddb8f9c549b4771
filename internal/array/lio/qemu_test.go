package lio

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"relight/internal/array"
	"relight/internal/core/fleet"
	"relight/internal/provider/san"
)

// serve names the test that is the array for TestQEMUBehindTheSecondLine.
const serve = "ForQEMU"

// What is said over the machine's console.
const (
	sayLogin = "LOGIN "
	sayDone  = "DONE "
	sayISID  = "ISID: "
)

// QEMU's own initiator writes under the second line, also through connections that it made
// again under another session identifier; once its key is taken it cannot, though the array
// still lets it in. The array is the kernel's target in another machine.
func TestQEMUBehindTheSecondLine(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: boots a virtual machine")
	}
	port := freePortal(t)
	argv, ctx := newMachine(t, "-netdev", "user,id=net0,restrict=on,hostfwd=tcp:"+port+"-10.0.2.15:3260", "-device", "virtio-net-pci,netdev=net0")
	target := talk(t, ctx, argv)
	var d san.Disk
	if err := json.Unmarshal([]byte(target.until(sayLogin)), &d); err != nil {
		t.Fatal(err)
	}
	node, err := json.Marshal(map[string]any{
		"driver": "iscsi", "node-name": "disk", "transport": "tcp", "portal": port, "target": d.Target, "lun": d.Unit,
		"initiator-name": d.Initiator, "user": d.User, "password-secret": "secret", "cache": map[string]any{"direct": true},
	})
	if err != nil {
		t.Fatal(err)
	}
	vm := talk(t, ctx, []string{
		argv[0], "-nodefaults", "-no-user-config", "-display", "none", "-machine", "none", "-monitor", "stdio",
		"-object", "secret,id=secret,data=" + d.Secret, "-blockdev", string(node),
	})
	write := func() (string, bool) {
		vm.say(`qemu-io disk "write -P 0x61 4096 512"`)
		for {
			switch line := vm.until("wr"); {
			case strings.HasPrefix(line, "ote 512/512"):
				return line, true
			case strings.HasPrefix(line, "ite failed"):
				return line, false
			}
		}
	}
	seen := map[string]bool{}
	for range 3 {
		if said, ok := write(); !ok {
			t.Fatalf("the epoch that runs: wr%s", said)
		}
		target.say("identify")
		seen[target.until(sayISID)] = true
		target.say("cut")
		target.until(sayDone)
	}
	if len(seen) != 3 {
		t.Errorf("QEMU came back under identifiers %v: nothing was tried", seen)
	}
	for range 2 {
		if said, ok := write(); !ok {
			t.Errorf("after a cut: wr%s", said)
		}
		target.say("again")
		target.until(sayDone)
	}
	if said, ok := write(); !ok {
		t.Errorf("after the line was lowered and raised: wr%s", said)
	}
	target.say("preempt")
	target.until(sayDone)
	for range 2 {
		if said, ok := write(); ok {
			t.Errorf("without its key: wr%s", said)
		}
	}
	target.say("off")
	if got := target.until(verdict); got != "0" {
		t.Errorf("the array's test ended with %s", got)
	}
}

// dialogue is a program that is talked to line by line.
type dialogue struct {
	*testing.T
	in    io.Writer
	lines chan string
}

func talk(t *testing.T, ctx context.Context, argv []string) *dialogue {
	t.Helper()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	d := &dialogue{T: t, in: in, lines: make(chan string, 1<<10)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer close(d.lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			d.lines <- strings.ReplaceAll(s.Text(), "\r", "")
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		for range d.lines { // whoever reads must not wait for us
		}
		<-ended
		_ = cmd.Wait()
	})
	return d
}

func (d *dialogue) say(line string) {
	d.Helper()
	if _, err := io.WriteString(d.in, line+"\n"); err != nil {
		d.Fatal(err)
	}
}

// until returns what follows a word on the next line that has it.
func (d *dialogue) until(word string) string {
	d.Helper()
	for line := range d.lines {
		d.Log(line)
		if _, rest, ok := strings.Cut(line, word); ok {
			return rest
		}
	}
	d.Fatalf("it ended, and never said %q", word)
	return ""
}

// The array's side: an epoch under the second line, and what its console asks for.
func TestInsideForQEMU(t *testing.T) {
	inside(t)
	if os.Getenv("TEST_ONLY") != serve {
		t.Skip("serves another test")
	}
	portal := network(t)
	s := newSiteOn(t, portal, fleet.ReservationsLine)
	s.do(fleet.StepAttach, 1)
	disks, err := s.Logins(t.Context(), "db", 1)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(disks[0])
	if err != nil {
		t.Fatal(err)
	}
	fmt.Printf("%s%s\n", sayLogin, text)
	group := path.Join("iscsi", disks[0].Target, "tpgt_1")
	m, err := array.HolderOf(make([]byte, san.KeySize), fleet.Array{Name: "san-2"}, "db", map[int]string{1: "db-data"})
	if err != nil {
		t.Fatal(err)
	}
	line := array.Line{Array: s.arr, Holder: m, Dial: array.DialISCSI}
	for asked := bufio.NewScanner(os.Stdin); asked.Scan(); {
		switch word := strings.TrimSpace(asked.Text()); word {
		case "identify":
			info, err := tree.Read(path.Join(group, "acls", disks[0].Initiator, "info"))
			if err != nil {
				t.Error(err)
			}
			_, info, _ = strings.Cut(info, sayISID)
			info, _, _ = strings.Cut(info, "  ")
			fmt.Printf("%s%s\n", sayISID, info)
		case "cut":
			if err := cutSilent([]string{portal}, 0); err != nil {
				t.Error(err)
			}
			fmt.Println(sayDone)
		case "again":
			at := array.Target{Portal: disks[0].Portal, IQN: disks[0].Target}
			own, err := array.MapOf(make([]byte, san.KeySize), fleet.Array{Name: "san-2"}, array.Ref{Server: "db", Epoch: 1}, m.Units)
			if err == nil {
				err = line.Lower(t.Context(), 1)
			}
			if err == nil {
				err = line.Raise(t.Context(), own, at)
			}
			if err != nil {
				t.Error(err)
			}
			fmt.Println(sayDone)
		case "preempt":
			if taken, err := line.Preempt(t.Context(), 1); err != nil || taken != 1 {
				t.Errorf("%d keys taken, %v", taken, err)
			}
			fmt.Println(sayDone)
		case "off":
			return
		}
	}
}

// network gives the machine the address at which it is reached, and returns the portal.
func network(t *testing.T) string {
	t.Helper()
	all, err := netlink.LinkList()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range all {
		if l.Attrs().Flags&net.FlagLoopback != 0 || l.Type() != "device" {
			continue
		}
		at, err := netlink.ParseAddr("10.0.2.15/24")
		if err == nil {
			err = netlink.AddrAdd(l, at)
		}
		if err == nil {
			err = netlink.LinkSetUp(l)
		}
		if err != nil {
			t.Fatal(err)
		}
		return "10.0.2.15:3260"
	}
	t.Fatalf("no network device among %d", len(all))
	return ""
}
