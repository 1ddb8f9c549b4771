package agent

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"relight/internal/agent/driver/qemu"
	"relight/internal/agent/guest"
	"relight/internal/array"
	"relight/internal/array/ipxe"
	"relight/internal/core/fleet"
	"relight/internal/lab/image"
)

// The network of the isolated tests.
const (
	testBridge = "br0"
	hostIP     = "10.99.0.1"
	guestIP    = "10.99.0.9"
	nobodyIP   = "10.99.0.77"
)

// isolated runs the test once more in a network of its own, and reports whether this
// is that run.
func isolated(t *testing.T) bool {
	t.Helper()
	if os.Getenv("TEST_NETWORK") == "" {
		if os.Geteuid() != 0 {
			t.Skip("SKIPPED: needs root for a network of its own")
		}
		cmd := exec.Command("unshare", "-n", os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", fmt.Sprintf("-test.short=%v", testing.Short()))
		cmd.Env = append(os.Environ(), "TEST_NETWORK=1")
		out, err := cmd.CombinedOutput()
		t.Logf("in its own network:\n%s", out)
		switch {
		case err != nil:
			t.Error(err)
		case strings.Contains(string(out), "SKIPPED"):
			t.Skip("SKIPPED: see above")
		}
		return false
	}
	for _, args := range []string{
		"link set lo up", "link add " + testBridge + " type bridge", "addr add " + hostIP + "/24 dev " + testBridge, "link set " + testBridge + " up",
	} {
		if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
			t.Skipf("SKIPPED: ip %s: %v: %s", args, err, out)
		}
	}
	return true
}

// ears hear what the guest says is durable.
type ears struct {
	conn *net.UDPConn
	acks chan string
}

func newEars(t *testing.T) *ears {
	t.Helper()
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP(hostIP), Port: 9000})
	must(t, err)
	c := &ears{conn: conn, acks: make(chan string, 1<<16)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, guest.MaxLine)
		for {
			n, err := conn.Read(b)
			if err != nil {
				return
			}
			select {
			case c.acks <- string(b[:n]):
			default:
			}
		}
	}()
	t.Cleanup(func() { _ = conn.Close(); <-done })
	return c
}

// next returns the next acknowledged record.
func (c *ears) next(t *testing.T) (server string, epoch, seq uint64) {
	t.Helper()
	select {
	case line := <-c.acks:
		if _, err := fmt.Sscanf(line, "ack %s %d %d", &server, &epoch, &seq); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
	case <-time.After(90 * time.Second):
		t.Fatal("nothing is acknowledged")
	}
	return server, epoch, seq
}

func (c *ears) drain() {
	for {
		select {
		case <-c.acks:
		default:
			return
		}
	}
}

func (r *rig) onNetwork() *fleet.VMTemplate {
	vm := r.template()
	vm.Bridge = testBridge
	vm.Cmdline += " relight.ip=" + guestIP + "/24 relight.ack=" + hostIP + ":9000 relight.serve=7000"
	return vm
}

// asks asks the guest by TCP who it is.
func asks(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", guestIP+":7000")
	if err != nil {
		return "", err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(time.Second))
	return bufio.NewReader(c).ReadString('\n')
}

// A machine on a bridge dies; its address and its LUN go over to a guest that has
// waited, booted, on the same host.
func TestMachineWarm(t *testing.T) {
	if !isolated(t) {
		return
	}
	r := newRig(t)
	c := newEars(t)
	vm := r.onNetwork()
	warm := *vm
	warm.Boot = fleet.BootWarm

	// Without a standby it boots one.
	r.launch(1, &warm, r.let(1))
	if _, epoch, _ := c.next(t); epoch != 1 {
		t.Errorf("acknowledged by epoch %d", epoch)
	}
	_, err := r.do(r.command(fleet.StepStop, 1, &warm, nil))
	must(t, err)
	r.shut(1)
	c.drain()

	r.launch(2, vm, r.let(2))
	if server, epoch, _ := c.next(t); server != "db-1" || epoch != 2 {
		t.Errorf("acknowledged by %s epoch %d", server, epoch)
	}
	said, err := asks(t.Context())
	if err != nil || !strings.HasPrefix(said, "db-1 2 ") {
		t.Errorf("%q, %v", said, err)
	}
	must(t, r.m.Prepare(t.Context(), "db-1", warm))
	must(t, r.m.Prepare(t.Context(), "db-1", warm)) // there is one
	eventuallyFor(t, 90*time.Second, "standby", func() error {
		if all := r.m.Standbys(); len(all) != 1 || !all[0].Ready || all[0].Memory != warm.Memory {
			return fmt.Errorf("%+v", all)
		}
		return nil
	})
	if n := len(r.m.Instances()); n != 2 { // epoch 1, stopped, and epoch 2
		t.Errorf("a standby is among the instances: %+v", r.m.Instances())
	}

	must(t, r.m.End(t.Context(), "db-1", 2))
	if _, err := net.InterfaceByName(r.m.record(mkey{"db-1", 2}).Tap); err == nil {
		t.Log("its tap is removed when the agent tidies up")
	}
	must(t, r.m.Tidy(t.Context()))
	if _, err := net.InterfaceByName(r.m.record(mkey{"db-1", 2}).Tap); err == nil {
		t.Error("its tap is left")
	}
	r.shut(2)
	old := r.log().Last
	if said, err := asks(t.Context()); err == nil {
		t.Errorf("a standby guest answers at the server's address: %q", said)
	}
	c.drain()

	began := time.Now()
	disks := r.let(3)
	_, err = r.do(r.command(fleet.StepLaunch, 3, &warm, disks))
	must(t, err)
	server, epoch, seq := c.next(t)
	t.Logf("from the fence to the first acknowledged record: %s", time.Since(began))
	if server != "db-1" || epoch != 3 || seq != old.Seq+1 {
		t.Errorf("acknowledged record %d by %s epoch %d after %d", seq, server, epoch, old.Seq)
	}
	_, err = r.do(r.command(fleet.StepLaunch, 3, &warm, disks)) // once more
	must(t, err)
	if in := r.instance(3); in.State != fleet.InstanceRunning || in.Alive != fleet.Yes || len(r.m.Standbys()) != 0 {
		t.Errorf("%+v", in)
	}
	eventually(t, "its address", func() error {
		said, err := asks(t.Context())
		if err == nil && !strings.HasPrefix(said, "db-1 3 ") {
			err = errors.New(said)
		}
		return err
	})

	// A new agent knows who is whom, and the stop ends the right process.
	pid := r.m.process(r.m.body(mkey{"db-1", 3})).PID
	r.close()
	r.open()
	r.writes(3)
	effect, err := r.do(r.command(fleet.StepStop, 3, &warm, nil))
	must(t, err)
	if len(effect.Evidence) != 1 || effect.Evidence[0].Method != fleet.Reaped || effect.Evidence[0].Epoch != 3 {
		t.Errorf("%+v", effect)
	}
	if err := unix.Kill(pid, 0); !errors.Is(err, unix.ESRCH) {
		t.Errorf("process %d: %v", pid, err)
	}
	r.shut(3)
	if l := r.log(); l.Fit("db-1") != nil || l.Last.Epoch != 3 {
		t.Errorf("%+v, %v", l.Last, l.Fit("db-1"))
	}
}

// bootable makes a LUN to boot from, and maps it with the data for an epoch.
func (r *rig) bootable(d image.Disk) {
	r.t.Helper()
	must(r.t, r.san.Create(r.t.Context(), array.LUN{Name: "boot", Bytes: image.DiskBytes}))
	err := image.BootDisk(r.t.Context(), r.img, filepath.Join(filepath.Dir(r.file), "boot.img"), d)
	if errors.Is(err, image.ErrTool) {
		r.t.Skipf("SKIPPED: %v", err)
	}
	must(r.t, err)
	r.units = map[int]string{1: "boot", 12: "data"}
}

func TestMachineBootsFromItsLUN(t *testing.T) {
	r := newRig(t)
	vm := r.template()
	r.bootable(image.Disk{Cmdline: vm.Cmdline})
	// It is told who it is by the machine alone: what is on the LUN is the same for
	// each epoch.
	vm.Boot, vm.Kernel, vm.Initrd, vm.Cmdline = fleet.BootLUN, "", "", ""
	r.launch(1, vm, r.let(1))
	if l := r.log(); l.Last.Epoch != 1 || l.Last.Server != guest.HashServer("db-1") {
		t.Errorf("%+v", l.Last)
	}
	must(t, r.m.End(t.Context(), "db-1", 1))
	r.shut(1)
}

// iPXE logs in by all portals of the array, and the guest after it, which finds them in
// the firmware's table: one that is dead must cost neither of them the start.
func TestMachineBootsBySAN(t *testing.T) {
	if !isolated(t) {
		return
	}
	if _, err := os.Stat(qemu.DefaultIPXE); err != nil {
		t.Skipf("SKIPPED: %v", err)
	}
	for _, c := range []struct {
		name string
		// portals are made of the live one: the preferred one first.
		portals func(t *testing.T, live string) []string
	}{
		{"one", func(_ *testing.T, live string) []string { return []string{live} }},
		{"both live", func(t *testing.T, live string) []string { return []string{live, newRelayOn(t, hostIP, live).addr} }},
		{"second refuses", func(t *testing.T, live string) []string { return []string{live, refusing(t)} }},
		{"first refuses", func(t *testing.T, live string) []string { return []string{refusing(t), live} }},
		{"nobody has the address of the second", func(_ *testing.T, live string) []string { return []string{live, nobodyIP + ":3260"} }},
		{"no route to the first", func(_ *testing.T, live string) []string { return []string{"198.51.100.1:3260", live} }},
		{"first is mute", func(t *testing.T, live string) []string { return []string{mute(t), live} }},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			if r.img.SAN == "" {
				t.Skip("SKIPPED: needs iscsistart (Debian's open-iscsi)")
			}
			vm := r.sanBooted()
			disks := r.let(1)
			portals := c.portals(t, disks[0].Portal)
			for i := range disks {
				disks[i].Portal, disks[i].MorePortals = portals[0], portals[1:]
			}
			began := time.Now()
			r.launch(1, vm, disks)
			took := time.Since(began)
			t.Logf("from the launch to the first write: %s", took)
			if took > 30*time.Second { // half of verifyWithin
				t.Errorf("it is not verified in time: %s", took)
			}
			if l := r.log(); l.Last.Epoch != 1 || l.Last.Server != guest.HashServer("db-1") {
				t.Errorf("%+v", l.Last)
			}
			must(t, r.m.End(t.Context(), "db-1", 1))
			r.shut(1)
		})
	}
}

// The way that a machine has taken is lost, and another one, which was dead when
// it started, has come back: it goes on by that one.
func TestMachineGoesOnByItsOtherWay(t *testing.T) {
	if !isolated(t) {
		return
	}
	if _, err := os.Stat(qemu.DefaultIPXE); err != nil {
		t.Skipf("SKIPPED: %v", err)
	}
	r := newRig(t)
	if r.img.SAN == "" {
		t.Skip("SKIPPED: needs iscsistart (Debian's open-iscsi)")
	}
	vm, disks := r.sanBooted(), r.let(1)
	one, two := newRelayOn(t, hostIP, disks[0].Portal), newRelayOn(t, hostIP, disks[0].Portal)
	for i := range disks {
		disks[i].Portal, disks[i].MorePortals = one.addr, []string{two.addr}
	}
	two.setWhole(false)
	r.launch(1, vm, disks)
	two.setWhole(true)
	eventuallyFor(t, time.Minute, "the second way is taken", func() error {
		console, err := os.ReadFile(filepath.Join(r.m.dir(r.m.body(mkey{"db-1", 1})), qemu.ConsoleLog))
		if err == nil && !bytes.Contains(console, []byte(two.addr+": logged in")) {
			err = fmt.Errorf("%w: %s", errNotYet, console)
		}
		return err
	})
	one.drop()
	cut := time.Now()
	old := r.log().Last.Seq
	r.writes(1)
	eventuallyFor(t, time.Minute, "it writes on", func() error {
		if now := r.log().Last.Seq; now <= old+50 {
			return fmt.Errorf("%w: record %d after %d", errNotYet, now, old)
		}
		return nil
	})
	t.Logf("it writes on %s after it lost its way", time.Since(cut))
	if l := r.log(); l.Fit("db-1") != nil {
		t.Error(l.Fit("db-1"))
	}
	must(t, r.m.End(t.Context(), "db-1", 1))
	r.shut(1)
}

// sanBooted makes a boot disk for iPXE, and the template of a machine that starts so.
func (r *rig) sanBooted() *fleet.VMTemplate {
	r.t.Helper()
	r.bootable(image.Disk{SAN: true, Cmdline: "quiet mitigations=off no_timer_check relight.disk=unit:12 relight.app=writer"})
	r.script = func(m qemu.Machine) ([]byte, error) {
		b, err := sanBoot(m)
		if err != nil {
			return nil, err
		}
		b.Net.Address = netip.PrefixFrom(netip.MustParseAddr(guestIP), 24) // nothing gives addresses here
		return ipxe.Script(b)
	}
	r.close()
	r.open()
	vm := r.template()
	vm.Boot, vm.Kernel, vm.Initrd, vm.Cmdline, vm.Bridge, vm.Memory = fleet.BootSAN, "", "", "", testBridge, 256
	return vm
}

// refusing is a portal whose machine is there and lets nobody connect.
func refusing(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", hostIP+":0")
	must(t, err)
	must(t, l.Close())
	return l.Addr().String()
}

// A firmware of the template's takes the BIOS' place. UEFI has a shell and boot managers
// of its own, and finds the kernel that the host hands it all the same.
func TestMachineBootsByItsFirmware(t *testing.T) {
	const uefi = "/usr/share/ovmf/OVMF.fd"
	if _, err := os.Stat(uefi); err != nil {
		t.Skipf("SKIPPED: %v (apt-get install ovmf)", err)
	}
	r := newRig(t)
	vm := r.template()
	vm.Firmware, vm.Memory, vm.Cmdline = uefi, 512, strings.TrimPrefix(vm.Cmdline, "quiet ")
	r.launch(1, vm, r.let(1))
	if l := r.log(); l.Last.Epoch != 1 || l.Last.Server != guest.HashServer("db-1") {
		t.Errorf("%+v", l.Last)
	}
	if b, err := os.ReadFile(filepath.Join(r.m.dir(r.m.body(mkey{"db-1", 1})), qemu.ConsoleLog)); err != nil || !bytes.Contains(b, []byte("EDK II")) {
		t.Errorf("its console does not speak of EFI: %v\n%.2000s", err, b)
	}
	must(t, r.m.End(t.Context(), "db-1", 1))
	r.shut(1)
}
