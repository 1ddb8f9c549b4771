package agent

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"relight/internal/agent/driver/qemu"
	"relight/internal/core/fleet"
	"relight/internal/provider/onprem/link"
)

// EtherTypes of the frames that count here.
const (
	etherARP  = 0x0806
	etherRARP = 0x8035 // what QEMU announces with; no guest of ours sends one
)

// frame is one that crossed a tap: out of its machine, or into it. What another machine
// with the same MAC sends to all comes in.
type frame struct {
	out  bool
	to   string
	kind uint16
	data []byte
}

// tapped records what crosses an interface, in order.
func tapped(t *testing.T, device string) (seen func() []frame) {
	t.Helper()
	i, err := net.InterfaceByName(device)
	must(t, err)
	all := binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, unix.ETH_P_ALL))
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, int(all))
	must(t, err)
	t.Cleanup(func() { _ = unix.Close(fd) })
	must(t, unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: i.Index}))
	var got []frame
	return func() []frame {
		for b := make([]byte, 2048); ; {
			n, from, err := unix.Recvfrom(fd, b, 0)
			if err != nil || n < 14 {
				return got
			}
			at, _ := from.(*unix.SockaddrLinklayer)
			got = append(got, frame{
				out: at.Pkttype != unix.PACKET_OUTGOING, // as the host sees it
				to:  net.HardwareAddr(b[:6]).String(), kind: binary.BigEndian.Uint16(b[12:]),
				data: append([]byte(nil), b[14:n]...),
			})
		}
	}
}

// learnt is the port of a bridge behind which the MAC is known to be.
func learnt(t *testing.T, bridge, mac string) string {
	t.Helper()
	out, err := exec.Command("bridge", "fdb", "show", "br", bridge).CombinedOutput()
	if err != nil {
		t.Fatalf("bridge fdb: %v: %s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		if f := strings.Fields(line); len(f) > 2 && f[0] == mac {
			return f[2]
		}
	}
	return ""
}

// Two hosts' bridges and a client on one switch. A server moves from one host to the
// other with its MAC: before its guest has said a word, switch and bridge know where it
// is, a frame that the client sends reaches it, and the client asks nobody again. A
// standby, which has the same MAC, is announced by nobody before it is the server.
func TestOP_NETID_MachineIsAnnounced(t *testing.T) {
	if !isolated(t) {
		return
	}
	r := newRig(t)
	client := newSwitch(t)
	vm := r.template()
	vm.Bridge = testBridge
	vm.Cmdline += " relight.ip=" + guestIP + "/24 relight.serve=7000"
	mac := qemu.MAC("db-1", *vm)
	r.launch(1, vm, r.let(1))
	answers := func(epoch string) {
		t.Helper()
		eventuallyFor(t, time.Minute, "an answer of epoch "+epoch, func() error {
			if said := client.ask("hear " + guestIP + ":7000"); !strings.HasPrefix(said, "db-1 "+epoch+" ") {
				return errors.New(said)
			}
			return nil
		})
	}
	answers("1")
	knows := func() error {
		if got := client.neighbour(guestIP); !strings.Contains(got, "lladdr "+mac) {
			return fmt.Errorf("the client knows %q, not %s", got, mac)
		}
		return nil
	}
	must(t, knows())
	if got := learnt(t, "switch", mac); got != "port0" {
		t.Fatalf("the switch has the machine at %q", got)
	}

	elsewhere := *vm
	elsewhere.Bridge = "br1"
	standby := elsewhere
	standby.Boot = fleet.BootWarm
	tap := qemu.TapName(r.m.opt.Dir, "db-1"+warmSuffix, 1)
	must(t, qemu.MakeTap(tap, "br1"))
	seen := tapped(t, tap)
	must(t, r.m.Prepare(t.Context(), "db-1", standby))
	eventuallyFor(t, 90*time.Second, "standby", func() error {
		if all := r.m.Standbys(); len(all) != 1 || !all[0].Ready {
			return fmt.Errorf("%+v", all)
		}
		return nil
	})
	for _, f := range seen() {
		if f.out {
			t.Errorf("the standby, or QEMU for it, sent a frame of type %#x with the server's MAC", f.kind)
		}
	}
	if got := learnt(t, "switch", mac); got != "port0" {
		t.Errorf("with a standby elsewhere the switch has the machine at %q", got)
	}
	answers("1")
	must(t, r.m.Dismiss(t.Context(), "db-1"))

	must(t, r.m.End(t.Context(), "db-1", 1))
	r.shut(1)
	must(t, knows())
	tap = qemu.TapName(r.m.opt.Dir, "db-1", 2)
	must(t, qemu.MakeTap(tap, "br1")) // the launch finds it
	seen = tapped(t, tap)
	effect, err := r.do(r.command(fleet.StepLaunch, 2, &elsewhere, r.let(2)))
	must(t, err)
	if effect.Note != "" {
		t.Errorf("the launch notes %q", effect.Note)
	}
	reached := -1
	eventually(t, "a frame of the client", func() error {
		if got := client.ask("send " + guestIP + ":9 are-you-there"); got != "<nil>" {
			t.Fatal(got)
		}
		for i, f := range seen() {
			if !f.out && f.to == mac && strings.Contains(string(f.data), "are-you-there") {
				reached = i
				return nil
			}
		}
		return fmt.Errorf("the switch has it at %s", learnt(t, "switch", mac))
	})
	must(t, knows())
	if at, port := learnt(t, "br1", mac), learnt(t, "switch", mac); at != tap || port != "port1" {
		t.Errorf("the bridge has the machine at %q, not %q, and the switch at %q", at, tap, port)
	}
	announced := 0
	for _, f := range seen()[:reached] {
		switch {
		case f.out && f.kind == etherRARP:
			announced++
		case f.out:
			t.Errorf("the guest spoke first, with a frame of type %#x", f.kind)
		case f.kind == etherARP:
			t.Error("the client had to ask who has the address")
		}
	}
	if announced == 0 {
		t.Error("nobody has announced the machine")
	}
	r.writes(2)
	answers("2")
	must(t, knows())
}

// newSwitch connects the bridges of two hosts, br0 and br1, and a client to one switch; the
// hosts' ports are port0 and port1.
func newSwitch(t *testing.T) nsclient {
	t.Helper()
	ask, ipc, pid := inNamespace(t)
	client := nsclient{t, ask, pid}
	ip := func(args string) {
		t.Helper()
		if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
			t.Skipf("SKIPPED: ip %s: %v: %s", args, err, out)
		}
	}
	for _, name := range []string{"br1", "switch"} {
		ip("link add " + name + " type bridge")
		ip("link set " + name + " up")
	}
	for i, bridge := range []string{testBridge, "br1"} {
		ip(fmt.Sprintf("link add port%d master switch type veth peer name uplink%d", i, i))
		ip(fmt.Sprintf("link set uplink%d master %s up", i, bridge))
		ip(fmt.Sprintf("link set port%d up", i))
	}
	ip(fmt.Sprintf("link add port2 master switch type veth peer name eth0 netns %d", client.pid))
	ip("link set port2 up")
	ipc("addr add 10.99.0.2/24 dev eth0")
	ipc("link set eth0 up")
	return client
}

// nsclient is a host in a network namespace of its own.
type nsclient struct {
	t   *testing.T
	ask func(string) string
	pid int
}

// neighbour is what the client's kernel knows of an address.
func (c nsclient) neighbour(ip string) string {
	c.t.Helper()
	out, err := exec.Command("nsenter", "-t", fmt.Sprint(c.pid), "-n", "ip", "neigh", "show", "to", ip).CombinedOutput()
	if err != nil {
		c.t.Fatalf("ip neigh: %v: %s", err, out)
	}
	return strings.TrimSpace(string(out))
}

// A machine that cannot be announced is launched all the same, and the record of the launch
// says so.
func TestMachineThatIsNotAnnounced(t *testing.T) {
	ours, theirs := net.Pipe()
	t.Cleanup(func() { _ = ours.Close() })
	go func() { // a QEMU that refuses
		defer theirs.Close()
		_, err := io.WriteString(theirs, `{"QMP": {"version": {}, "capabilities": []}}`+"\n")
		for d := json.NewDecoder(theirs); err == nil; {
			var r struct{ Execute, ID string }
			if err = d.Decode(&r); err != nil {
				return
			}
			answer := `"return": {}`
			if r.Execute == "announce-self" {
				answer = `"error": {"class": "GenericError", "desc": "no network"}`
			}
			_, err = io.WriteString(theirs, `{`+answer+`, "id": "`+r.ID+`"}`+"\n")
		}
	}()
	mon, err := qemu.Talk(t.Context(), ours, nil)
	must(t, err)
	t.Cleanup(mon.Close)
	var said bytes.Buffer
	m := NewMachines(MachineOptions{Log: slog.New(slog.NewTextHandler(&said, nil))})
	note := m.announce(t.Context(), mkey{"db-1", 2}, mon)
	if !strings.Contains(note, "was not told where the machine is") || !strings.Contains(note, "no network") {
		t.Errorf("the note is %q", note)
	}
	if got := said.String(); !strings.Contains(got, "level=WARN") || !strings.Contains(got, "db-1.2") {
		t.Errorf("the log says %q", got)
	}
}

// noting is a driver whose launches go well but for one thing.
type noting struct{ *fake }

func (d noting) Do(ctx context.Context, cmd link.Command) (Effect, error) {
	effect, err := d.fake.Do(ctx, cmd)
	effect.Note = "nobody was told"
	return effect, err
}

func TestNoteOfALaunchReachesTheController(t *testing.T) {
	s := newSite(t)
	s.hub.SetServers([]fleet.Server{server("db-1")})
	s.agent("host-1", t.TempDir(), func(o *Options) { o.Driver = noting{newFake()} })
	s.inContact("host-1")
	out, err := s.hub.Do(t.Context(), call(t, server("db-1"), fleet.StepLaunch, "host-1", 1))
	must(t, err)
	if out.Note != "nobody was told" {
		t.Errorf("the controller hears %+v", out)
	}
}
