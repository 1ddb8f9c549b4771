package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"relight/internal/agent/driver/process"
	"relight/internal/agent/driver/qemu"
	"relight/internal/agent/guest"
	"relight/internal/array"
	"relight/internal/array/tgt"
	"relight/internal/core/fence"
	"relight/internal/core/fleet"
	"relight/internal/lab/image"
	"relight/internal/provider"
	"relight/internal/provider/onprem/link"
)

const lunSize = 4 << 20

// rig is one host with real machines and a real array.
type rig struct {
	t    *testing.T
	m    *Machines
	d    *process.Driver
	img  image.Image
	san  *tgt.Array
	tgtd int    // its process
	file string // behind the LUN
	dir  string
	beat string
	// units are what each epoch is let in to.
	units  map[int]string
	script func(qemu.Machine) ([]byte, error)
}

func newRig(t *testing.T) *rig {
	t.Helper()
	if testing.Short() {
		t.Skip("SKIPPED: boots virtual machines")
	}
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: needs root for tgtd and tap interfaces")
	}
	for _, tool := range []string{qemu.DefaultBinary, "tgtd", "tgtadm"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("SKIPPED: needs %s", tool)
		}
	}
	cache, err := os.UserCacheDir()
	must(t, err)
	img, err := image.Build(t.Context(), image.Options{Cache: filepath.Join(cache, "relight-guest")})
	if errors.Is(err, image.ErrTool) || errors.Is(err, image.ErrPackage) {
		t.Skipf("SKIPPED: %v", err)
	}
	must(t, err)
	r := &rig{t: t, img: img, dir: t.TempDir(), units: map[int]string{12: "data"}}
	lun := t.TempDir()
	r.file = filepath.Join(lun, "data.img")
	r.san, r.tgtd = startSAN(t, lun)
	must(t, r.san.Create(t.Context(), array.LUN{Name: "data", Bytes: lunSize}))
	r.open()
	t.Cleanup(r.clean)
	return r
}

// startSAN starts a private tgtd.
func startSAN(t *testing.T, dir string) (*tgt.Array, int) {
	t.Helper()
	host := "127.0.0.1"
	if os.Getenv("TEST_NETWORK") != "" {
		host = hostIP // where a guest reaches it, too
	}
	l, err := net.Listen("tcp", host+":0")
	must(t, err)
	portal := l.Addr().String()
	must(t, l.Close())
	_, port, _ := net.SplitHostPort(portal)
	n, err := strconv.Atoi(port)
	must(t, err)
	control := n%32767 + 1
	cmd := exec.Command("tgtd", "-C", strconv.Itoa(control), "--iscsi", "portal="+portal, "-f")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	must(t, cmd.Start())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
		for _, f := range []string{"", ".lock"} {
			_ = os.Remove(fmt.Sprintf("/var/run/tgtd/socket.%d%s", control, f))
		}
	})
	a := tgt.New(tgt.Config{Name: "san-1", Prefix: "iqn.2026-01.org.example.san", Portal: portal, Dir: dir, Control: control})
	eventually(t, "tgtd", func() error {
		c, err := net.Dial("tcp", portal)
		if err == nil {
			_ = c.Close()
			_, err = a.Maps(t.Context(), "db-1")
		}
		return err
	})
	return a, cmd.Process.Pid
}

// open starts the driver as a new agent would.
func (r *rig) open() {
	r.t.Helper()
	exe, err := os.Executable()
	must(r.t, err)
	r.d, err = process.New(process.Options{
		Dir: filepath.Join(r.dir, "driver"), Claims: filepath.Join(r.dir, "claims"), Exec: []string{exe},
		Env: append(os.Environ(), "TEST_KEEPER=1"), Logger: logger(r.t),
	})
	must(r.t, err)
	must(r.t, r.d.Adopt(r.t.Context()))
	r.m = NewMachines(MachineOptions{Driver: r.d, Dir: filepath.Join(r.dir, "machines"), Log: logger(r.t), Script: r.script})
	r.m.Term = func() fleet.Term { return 1 }
	r.m.BeatSocket = func(string, fleet.Epoch) string { return r.beat }
	r.m.Start()
}

// close ends the driver as an agent's death would: machines go on.
func (r *rig) close() {
	r.m.Close()
	r.d.Close()
}

func (r *rig) clean() {
	for _, in := range r.d.Instances() {
		if err := r.m.End(context.Background(), in.Server, in.Epoch); err != nil {
			r.t.Error(err)
		}
	}
	if err := r.m.Tidy(context.Background()); err != nil {
		r.t.Error(err)
	}
	r.close()
}

// let maps the LUN for an epoch and returns what its launch needs.
func (r *rig) let(e fleet.Epoch) []link.Disk {
	r.t.Helper()
	m, err := array.NewMap("iqn.2026-01.org.example.san", array.Ref{Server: "db-1", Epoch: e}, r.units, strings.NewReader(fmt.Sprintf("%016d", e)))
	must(r.t, err)
	evidence := []fleet.Evidence{{Method: fleet.Attested, Server: "db-1", Epoch: e - 1, At: time.Unix(1, 0)}}
	proof, _ := fence.Prove(fleet.Server{Name: "db-1"}, e-1, "", evidence, time.Unix(1, 0))
	at, err := r.san.Map(r.t.Context(), m, proof)
	must(r.t, err)
	var out []link.Disk
	for unit, name := range r.units {
		out = append(out, link.Disk{
			Volume: name, Portal: at.Portal, Target: at.IQN, Unit: unit, Initiator: m.Initiator, User: m.User, Secret: m.Secret,
		})
	}
	return out
}

// shut fences an epoch on the array.
func (r *rig) shut(e fleet.Epoch) {
	r.t.Helper()
	ref := array.Ref{Server: "db-1", Epoch: e}
	must(r.t, r.san.Unmap(r.t.Context(), ref))
	eventually(r.t, "sessions gone", func() error {
		all, err := r.san.Sessions(r.t.Context(), ref)
		for _, s := range all {
			err = errors.Join(err, errNotYet, r.san.Kill(r.t.Context(), s))
		}
		return err
	})
	must(r.t, r.san.Close(r.t.Context(), ref))
}

func (r *rig) template() *fleet.VMTemplate {
	return &fleet.VMTemplate{
		Memory: 192, CPUs: 1, Boot: fleet.BootKernel, Kernel: r.img.Kernel, Initrd: r.img.Initrd,
		Cmdline:   "quiet mitigations=off no_timer_check relight.disk=data relight.app=writer relight.faults",
		GuestBeat: true, StopGrace: fleet.Duration(20 * time.Second),
	}
}

func (r *rig) command(kind fleet.StepKind, e fleet.Epoch, vm *fleet.VMTemplate, disks []link.Disk) link.Command {
	return link.Command{
		Step: fleet.Step{Kind: kind, Server: "db-1", Epoch: e}, Term: 1, VM: vm, Disks: disks, Addresses: []fleet.Address{{IP: "192.0.2.7/24"}},
		Volumes: []fleet.Volume{{Name: "data", Reach: fleet.ReachArray, LUN: &fleet.LUN{Array: "san-1", Name: "data", Unit: 12}}},
	}
}

func (r *rig) do(cmd link.Command) (Effect, error) {
	ctx, cancel := context.WithTimeout(r.t.Context(), time.Minute)
	defer cancel()
	return r.m.Do(ctx, cmd)
}

// launch starts an epoch and waits until its guest has written.
func (r *rig) launch(e fleet.Epoch, vm *fleet.VMTemplate, disks []link.Disk) {
	r.t.Helper()
	_, err := r.do(r.command(fleet.StepLaunch, e, vm, disks))
	must(r.t, err)
	r.writes(e)
}

// monitor waits until the agent speaks with the machine of epoch 1.
func (r *rig) monitor() *qemu.Monitor {
	r.t.Helper()
	k := mkey{"db-1", 1}
	eventually(r.t, "monitor", func() error {
		if r.m.monitorOf(k) == nil {
			return errNotYet
		}
		return nil
	})
	return r.m.monitorOf(k)
}

// writes waits until an epoch's guest is heard to write more than it did.
func (r *rig) writes(e fleet.Epoch) guest.Beat {
	r.t.Helper()
	before, _ := r.m.Heard("db-1", e)
	var now guest.Beat
	limit := time.After(120 * time.Second) // an emulator on a busy machine
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for now.State != guest.Works || now.Progress <= before.Progress {
		select {
		case <-tick.C:
		case <-limit:
			console, _ := os.ReadFile(filepath.Join(r.m.dir(r.m.body(mkey{"db-1", e})), qemu.ConsoleLog))
			r.t.Fatalf("epoch %d does not write: %+v, %+v\n%s", e, now, r.m.Instances(), console)
		}
		now, _ = r.m.Heard("db-1", e)
	}
	return now
}

// log reads the truth: the file behind the LUN.
func (r *rig) log() guest.Log {
	r.t.Helper()
	f, err := os.Open(r.file)
	must(r.t, err)
	defer f.Close()
	l, err := guest.ReadLog(f, lunSize, true)
	must(r.t, err)
	return l
}

func (r *rig) instance(e fleet.Epoch) Instance {
	r.t.Helper()
	for _, i := range r.m.Instances() {
		if i.Server == "db-1" && i.Epoch == e {
			return i
		}
	}
	r.t.Fatalf("no epoch %d: %+v", e, r.m.Instances())
	return Instance{}
}

func (r *rig) await(what string, e fleet.Epoch, ok func(Instance) bool) Instance {
	r.t.Helper()
	var last Instance
	eventually(r.t, what, func() error {
		if last = r.instance(e); ok(last) {
			return nil
		}
		return fmt.Errorf("%+v", last)
	})
	return last
}

// One machine through everything that happens to it.
func TestMachineLives(t *testing.T) {
	r := newRig(t)
	vm := r.template()
	disks := r.let(1)
	r.launch(1, vm, disks)
	if l := r.log(); l.Last.Epoch != 1 || l.Last.Server != guest.HashServer("db-1") || l.Fit("db-1") != nil {
		t.Fatalf("on the LUN: %+v", l.Last)
	}
	in := r.instance(1)
	if in.State != fleet.InstanceRunning || in.Alive != fleet.Yes {
		t.Fatalf("%+v", in)
	}
	argv, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", r.m.process(mkey{"db-1", 1}).PID))
	must(t, err)
	if strings.Contains(string(argv), disks[0].Secret) {
		t.Error("the secret is on the command line")
	}
	if left, _ := filepath.Glob(filepath.Join(r.m.dir(mkey{"db-1", 1}), "secret*")); len(left) > 0 {
		t.Errorf("secrets lie about: %v", left)
	}

	// The same launch again is the same launch; another one is refused.
	_, err = r.do(r.command(fleet.StepLaunch, 1, vm, disks))
	must(t, err)
	other := *vm
	other.Memory++
	_, err = r.do(r.command(fleet.StepLaunch, 1, &other, disks))
	if c, _ := class(t, err); c != provider.Conflict {
		t.Errorf("another launch of the same epoch: %v", err)
	}
	if got := r.instance(1).Addresses; len(got) != 1 || got[0] != "192.0.2.7/24" {
		t.Errorf("it has the addresses %v: nobody would look who else has its own", got)
	}

	// The agent dies and comes back: the machine went on.
	pid := r.m.process(mkey{"db-1", 1}).PID
	r.close()
	r.open()
	r.writes(1)
	if now := r.m.process(mkey{"db-1", 1}).PID; now != pid {
		t.Fatalf("process %d became %d", pid, now)
	}

	// Held virtual CPUs: alive, and its progress stands still.
	mon := r.monitor()
	must(t, mon.Pause(t.Context()))
	r.await("pause", 1, func(i Instance) bool { return i.Alive == fleet.Yes && strings.Contains(i.Detail, "paused") })
	frozen := r.log().Last.Seq
	must(t, mon.Continue(t.Context()))
	r.await("running again", 1, func(i Instance) bool { return !strings.Contains(i.Detail, "paused") })
	r.writes(1)
	if now := r.log().Last.Seq; now <= frozen {
		t.Errorf("record %d after %d", now, frozen)
	}

	r.reboots()

	effect, err := r.do(r.command(fleet.StepStop, 1, vm, nil))
	must(t, err)
	if len(effect.Evidence) != 1 || effect.Evidence[0].Method != fleet.Reaped || effect.Evidence[0].Epoch != 1 {
		t.Fatalf("%+v", effect)
	}
	if effect.Detail != "exited with code 0" {
		t.Errorf("it was not powered down: %s", effect.Detail)
	}
	_, err = r.do(r.command(fleet.StepLaunch, 1, vm, disks))
	if c, _ := class(t, err); c != provider.Refused {
		t.Errorf("a stopped epoch was launched again: %v", err)
	}
	r.shut(1)
	if l := r.log(); l.Fit("db-1") != nil || l.Last.Seq < frozen {
		t.Errorf("%+v", l.Last)
	}
}

// reboots panics the guest of epoch 1 and resets its machine.
func (r *rig) reboots() {
	r.t.Helper()
	must(r.t, r.m.Order("db-1", 1, guest.Order{Kind: guest.Panic}))
	r.await("panic", 1, func(i Instance) bool { return strings.Contains(i.Detail, string(qemu.Panicked)) })
	last := r.log().Last
	effect, err := r.do(r.command(fleet.StepReboot, 1, r.template(), nil))
	must(r.t, err)
	kept, err := filepath.Glob(filepath.Join(r.dir, "machines/consoles/db-1.1-*.log"))
	must(r.t, err)
	if len(kept) != 1 || !strings.Contains(effect.Detail, kept[0]) {
		r.t.Fatalf("%q keeps %v", effect.Detail, kept)
	}
	b, err := os.ReadFile(kept[0])
	must(r.t, err)
	if !strings.Contains(string(b), "told to panic") || !strings.Contains(string(b), "Kernel panic") {
		r.t.Errorf("the console does not say why: %s", b)
	}
	eventuallyFor(r.t, 90*time.Second, "records after the reboot", func() error {
		if now := r.log().Last; now.Seq <= last.Seq || now.Epoch != 1 {
			return fmt.Errorf("%+v after %+v", now, last)
		}
		return nil
	})
}

func eventuallyFor(t *testing.T, d time.Duration, what string, f func() error) {
	t.Helper()
	limit := time.After(d)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := f()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("%s: %v", what, err)
		}
	}
}

// A guest that falls silent and goes on writing is not dead; one that is held is.
func TestMachineIsUnheard(t *testing.T) {
	r := newRig(t)
	r.launch(1, r.template(), r.let(1))
	if r.instance(1).Unheard {
		t.Error("it is heard")
	}
	must(t, r.m.Order("db-1", 1, guest.Order{Kind: guest.Mute}))
	r.await("silent, and at work", 1, func(i Instance) bool { return i.Unheard })
	r.close()
	r.open()
	r.await("silent, and at work, for the next agent as well", 1, func(i Instance) bool { return i.Unheard })
	r.m.setHeard(mkey{"db-1", 1}, false) // as after a reset
	r.await("busy, and not heard yet", 1, func(i Instance) bool { return !i.Unheard && i.Alive == fleet.Yes })
	r.m.setHeard(mkey{"db-1", 1}, true)
	r.await("silent, and at work", 1, func(i Instance) bool { return i.Unheard })
	r.monitor()
	must(t, r.m.monitorOf(mkey{"db-1", 1}).Pause(t.Context()))
	r.await("silent, and held", 1, func(i Instance) bool { return !i.Unheard && i.Alive == fleet.Yes })
	must(t, r.m.End(t.Context(), "db-1", 1))
	r.shut(1)
}

// A machine that dies by itself is reaped, and the next epoch goes on from its LUN.
func TestMachineIsKilledAndFollowed(t *testing.T) {
	r := newRig(t)
	vm := r.template()
	r.launch(1, vm, r.let(1))
	must(t, unix.Kill(r.m.process(mkey{"db-1", 1}).PID, unix.SIGKILL))
	in := r.await("reaped", 1, func(i Instance) bool { return i.State == fleet.InstanceReaped })
	if in.Alive != fleet.No || !strings.Contains(in.Detail, "SIGKILL") {
		t.Errorf("%+v", in)
	}
	effect, err := r.do(r.command(fleet.StepStop, 1, vm, nil))
	must(t, err)
	if len(effect.Evidence) != 1 || effect.Evidence[0].Method != fleet.Reaped {
		t.Errorf("%+v", effect)
	}
	r.shut(1)
	old := r.log().Last

	r.launch(2, vm, r.let(2))
	l := r.log()
	if l.Fit("db-1") != nil || l.Last.Epoch != 2 {
		t.Fatalf("%+v", l.Last)
	}
	first := l.Records[(old.Seq+1)%l.Blocks]
	if first.Epoch != 2 || first.Seq != old.Seq+1 {
		t.Errorf("epoch 1 ended with %d, epoch 2 began with %+v", old.Seq, first)
	}
	// The agent's own decision kills at once.
	must(t, r.m.End(t.Context(), "db-1", 2))
	if in := r.instance(2); in.State != fleet.InstanceReaped {
		t.Errorf("%+v", in)
	}
}

func TestMachineWithAWrongSecretSaysSo(t *testing.T) {
	r := newRig(t)
	disks := r.let(1)
	disks[0].Secret = "not-the-right-one"
	_, err := r.do(r.command(fleet.StepLaunch, 1, r.template(), disks))
	if c, may := class(t, err); c != provider.Conflict || may || !errors.Is(err, errNotUp) || !strings.Contains(err.Error(), "iSCSI") {
		t.Errorf("%v (%s, %v)", err, c, may)
	}
	r.shut(1)
}
