package ipxe

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"relight/internal/array"
	"relight/internal/array/tgt"
	"relight/internal/core/fence"
	"relight/internal/core/fleet"
)

const (
	kernel = "/usr/lib/ipxe/ipxe.lkrn"
	// lunBytes is large enough for the disk geometry that iPXE makes up; it refuses
	// LUNs of a few MiB.
	lunBytes = 64 << 20
	// patience bounds one boot; an emulated one takes seconds.
	patience = 90 * time.Second
)

const prefixShort = "iqn.2026-01.org.example.san"

// bench is a real array with LUNs whose boot sectors say who they are.
type bench struct {
	*testing.T
	array  *tgt.Array
	prefix string
	portal string
	fenced fleet.Epoch
}

func newBench(t *testing.T, prefix string) *bench {
	t.Helper()
	for tool, pkg := range map[string]string{"tgtd": "tgt", "tgtadm": "tgt", "qemu-system-x86_64": "qemu-system-x86"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("SKIPPED: needs %s: apt-get install %s", tool, pkg)
		}
	}
	if _, err := os.Stat(kernel); err != nil {
		t.Skip("SKIPPED: needs " + kernel + ": apt-get install ipxe")
	}
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: needs root: tgtd makes its control socket below /var/run")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{T: t, prefix: prefix, portal: l.Addr().String()}
	_ = l.Close()
	_, port, _ := net.SplitHostPort(b.portal)
	n, _ := strconv.Atoi(port)
	control := n%32767 + 1
	cmd := exec.Command("tgtd", "-C", strconv.Itoa(control), "--iscsi", "portal="+b.portal, "-f")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = os.Remove(fmt.Sprintf("/var/run/tgtd/socket.%d", control))
		_ = os.Remove(fmt.Sprintf("/var/run/tgtd/socket.%d.lock", control))
	})
	dir := t.TempDir()
	b.array = tgt.New(tgt.Config{Name: "san-1", Prefix: prefix, Portal: b.portal, Dir: dir, Control: control})
	b.await("tgtd", func() bool {
		_, err := b.array.Maps(t.Context(), "x")
		return err == nil
	})
	for _, name := range []string{"one", "two", "ten", "sixteen"} {
		if err := b.array.Create(t.Context(), array.LUN{Name: name, Bytes: lunBytes}); err != nil {
			t.Fatal(err)
		}
		f, err := os.OpenFile(array.FilePath(dir, name), os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.WriteAt(sector("<booted "+name+">"), 0)
		if err := errorsJoin(err, f.Close()); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

func errorsJoin(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// sector is a boot sector that writes a text to the first serial port and halts.
func sector(text string) []byte {
	code := []byte{
		0xfa,       // cli
		0x31, 0xc0, // xor ax, ax
		0x8e, 0xd8, // mov ds, ax
		0xbe, 0x16, 0x7c, // mov si, text
		0xba, 0xf8, 0x03, // mov dx, COM1
		0xfc,       // cld
		0xac,       // next: lodsb
		0x84, 0xc0, // test al, al
		0x74, 0x03, // jz end
		0xee,       // out dx, al
		0xeb, 0xf8, // jmp next
		0xf4, // end: hlt
	}
	out := make([]byte, 512)
	copy(out, code)
	out[len(code)] = 0xf4
	copy(out[0x16:], text+"\n\x00")
	out[510], out[511] = 0x55, 0xaa
	return out
}

func (b *bench) await(what string, done func() bool) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), patience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-ctx.Done():
			b.Fatalf("not in time: %s", what)
		case <-tick.C:
		}
	}
}

// let maps an epoch and returns what its machine is to start: unit 1.
func (b *bench) let(epoch fleet.Epoch) Boot {
	b.Helper()
	units := map[int]string{1: "one", 2: "two", 10: "ten", 16: "sixteen"}
	r := array.Ref{Server: "lic-01", Epoch: epoch}
	m, err := array.NewMap(b.prefix, r, units, strings.NewReader(fmt.Sprintf("%016d", epoch)))
	if err != nil {
		b.Fatal(err)
	}
	now := time.Unix(1e9, 0)
	proof, _ := fence.Prove(fleet.Server{Name: r.Server}, epoch-1, "", []fleet.Evidence{{Method: fleet.Attested, Server: r.Server, Epoch: epoch - 1, By: "test", At: now}}, now)
	target, err := b.array.Map(b.Context(), m, proof)
	if err != nil {
		b.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(target.Portal)
	target.Portal = "10.0.2.2:" + port // QEMU's user network shows the loopback there
	return Boot{
		Ref: r, Initiator: m.Initiator, User: m.User, Secret: m.Secret,
		Root: []Unit{{Target: target, Unit: 1}}, Tries: 2, Pause: time.Second,
	}
}

func (b *bench) fence(boot Boot) {
	b.Helper()
	b.fenced = boot.Epoch
	env := array.Env{
		Array: b.array, Now: time.Now, Wait: array.WaitBy(time.Now),
		Marks: func(context.Context, string) (fleet.Epoch, error) { return b.fenced, nil },
	}
	if _, err := array.Run(b.Context(), env, array.Plan{Ref: boot.Ref, Volumes: []string{"root"}, Every: 5 * time.Millisecond, Within: patience}); err != nil {
		b.Fatal(err)
	}
}

// start runs a machine with the script until its serial console shows one of the
// texts, and returns the console and how to end the machine.
func (b *bench) start(boot Boot, until ...string) (console string, end func()) {
	b.Helper()
	script, err := Script(boot)
	if err != nil {
		b.Fatal(err)
	}
	dir := b.TempDir()
	path, serial := filepath.Join(dir, "boot.ipxe"), filepath.Join(dir, "serial")
	if err := os.WriteFile(path, script, 0o600); err != nil {
		b.Fatal(err)
	}
	var said bytes.Buffer
	// With graphics off the firmware sends what it would show to the serial port.
	cmd := exec.Command("qemu-system-x86_64", "-accel", "tcg", "-m", "128", "-nodefaults", "-no-user-config", "-machine", "pc,graphics=off",
		"-display", "none", "-serial", "file:"+serial, "-no-reboot",
		"-netdev", "user,id=n0", "-device", "virtio-net-pci,netdev=n0", "-kernel", kernel, "-initrd", path)
	cmd.Stderr = &said
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait()
	}()
	end = func() {
		_ = cmd.Process.Kill()
		<-ended
	}
	b.Cleanup(end)
	defer func() {
		if b.Failed() {
			b.Logf("console:\n%s\nqemu: %s", console, said.String())
		}
	}()
	b.await("the console says one of "+strings.Join(until, ", "), func() bool {
		text, _ := os.ReadFile(serial)
		console = string(text)
		for _, u := range until {
			if strings.Contains(console, u) {
				return true
			}
		}
		return false
	})
	return console, end
}

const booted, refused, over = "<booted ", "does not let", "gives up after"

func (b *bench) boots(boot Boot, name string) (end func()) {
	b.Helper()
	console, end := b.start(boot, booted, over)
	if !strings.Contains(console, "<booted "+name+">") {
		b.Errorf("it did not boot %s:\n%s", name, console)
	}
	return end
}

func (b *bench) fallsThrough(boot Boot) {
	b.Helper()
	console, end := b.start(boot, booted, over)
	end()
	if strings.Contains(console, booted) || strings.Count(console, refused) != boot.Tries {
		b.Errorf("want %d refusals and no boot:\n%s", boot.Tries, console)
	}
}

// TestOP_IPXE: an epoch boots from its LUN with its own name and secret; once it is
// fenced the same machine falls through, and the next epoch boots from the same LUN.
func TestOP_IPXE(t *testing.T) {
	b := newBench(t, prefixShort)
	one := b.let(1)
	b.boots(one, "one")() // the machine is ended: it holds no session
	wrong := one
	wrong.Secret = "wrongwrong234567"
	b.fallsThrough(wrong)
	b.fence(one)
	b.fallsThrough(one)
	two := b.let(2)
	b.boots(two, "one")
	b.fallsThrough(one)
}

// Unit 10 in decimal would boot unit 16, which is there too.
func TestRealUnitTen(t *testing.T) {
	b := newBench(t, prefixShort)
	boot := b.let(1)
	boot.Root[0].Unit = 10
	b.boots(boot, "ten")
}

// Two ways to one LUN, the first of them dead, and more data LUNs beside it than
// the firmware's table has room for.
func TestRealMultipathAndData(t *testing.T) {
	b := newBench(t, prefixShort)
	boot := b.let(1)
	target := boot.Root[0].Target
	dead := boot.Root[0]
	dead.Target.Portal = "10.0.2.2:1"
	boot.Root = []Unit{dead, boot.Root[0]}
	boot.Data = []Unit{
		{Target: dead.Target, Unit: 2, More: []string{target.Portal}}, {Target: target, Unit: 10, More: []string{dead.Target.Portal}}, {Target: target, Unit: 16},
	}
	b.boots(boot, "one")
}

// To one way there is no route: iPXE cannot describe it to the guest, and would take none.
// Or the one way that works is one of which the guest's table has no room to tell.
func TestRealOneWayIsLeft(t *testing.T) {
	for told, prefix := range map[int]string{2: prefixShort, 1: "iqn.2026-01.org." + strings.Repeat("a", 60)} {
		b := newBench(t, prefix)
		boot := b.let(1)
		boot.Net = Net{Address: netip.MustParsePrefix("10.0.2.15/24")} // no gateway
		target, away := boot.Root[0].Target, boot.Root[0]
		away.Target.Portal = "198.51.100.1:3260"
		boot.Root = []Unit{away, boot.Root[0]}
		boot.Data = []Unit{{Target: target, Unit: 2, More: []string{away.Target.Portal}}}
		if got := boot.told(); got != told {
			t.Fatalf("the guest is told of %d ways, want %d", got, told)
		}
		b.boots(boot, "one")()
	}
}

// TestOP_DATA: a machine that lacks a data LUN is not started, and says so: one that
// runs without its data looks healthy to whoever asks only whether it runs.
func TestOP_DATA(t *testing.T) {
	b := newBench(t, prefixShort)
	boot := b.let(1)
	boot.Data = []Unit{{Target: boot.Root[0].Target, Unit: 2}}
	b.boots(boot, "one")()
	boot.Data = []Unit{{Target: boot.Root[0].Target, Unit: 3}} // no such unit
	b.fallsThrough(boot)
}

// Names that the check lets through fit into the firmware's table.
func TestRealLongNames(t *testing.T) {
	b := newBench(t, "iqn.2026-01.org."+strings.Repeat("a", 82))
	boot := b.let(1)
	if n := boot.described(1); n < tableRoom-8 || n > tableRoom {
		t.Fatalf("%d bytes are no trial of %d", n, tableRoom)
	}
	b.boots(boot, "one")
}
