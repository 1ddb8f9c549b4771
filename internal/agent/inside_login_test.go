package agent

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"math"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"relight/internal/agent/driver/qemu"
	"relight/internal/agent/mount"
	"relight/internal/array"
	"relight/internal/core/fleet"
	core "relight/internal/core/mount"
	"relight/internal/provider/onprem/link"
)

// userland are the programs that an image on EC2 has for its LUNs, and what else its init
// runs here. They are this machine's own, with their libraries.
var userland = []string{"iscsid", "iscsiadm", "blkid", "mkfs.ext4", "fsck.ext4", "mount", "umount", "ip", "cat"}

var sharedObject = regexp.MustCompile(`(/[^ ()]+\.so[^ ()]*) \(0x`)

// withLogin makes a guest whose init is testdata/login of the rig's image: Debian's kernel,
// and open-iscsi as Debian configures it, but for two times that every image may set for
// itself: how long the kernel holds writes while a session is gone (120 seconds), and how
// long a login may take (15).
func (r *rig) withLogin() {
	r.t.Helper()
	if r.img.SAN == "" {
		r.t.Skip("SKIPPED: needs iscsistart (apt-get install open-iscsi)")
	}
	root := r.t.TempDir()
	write := func(name, text string) {
		must(r.t, os.MkdirAll(filepath.Dir(filepath.Join(root, name)), 0o755))
		must(r.t, os.WriteFile(filepath.Join(root, name), []byte(text), 0o755))
	}
	read := func(name string) string {
		b, err := os.ReadFile(name)
		if err != nil {
			r.t.Skipf("SKIPPED: %v (apt-get install open-iscsi e2fsprogs)", err)
		}
		return string(b)
	}
	for _, name := range userland {
		path, err := exec.LookPath(name)
		if err != nil {
			r.t.Skipf("SKIPPED: needs %s (apt-get install open-iscsi e2fsprogs iproute2)", name)
		}
		write("usr/sbin/"+name, read(path))
		out, err := exec.Command("ldd", path).Output()
		must(r.t, err)
		for _, m := range sharedObject.FindAllStringSubmatch(string(out), -1) {
			write(m[1], read(m[1]))
		}
	}
	write("etc/mke2fs.conf", read("/etc/mke2fs.conf"))
	write("etc/iscsi/iscsid.conf", read("/etc/iscsi/iscsid.conf")+"\nnode.session.timeo.replacement_timeout = 8\nnode.conn[0].timeo.login_timeout = 5\n")
	// The image's own name, which no array lets in.
	write("etc/iscsi/initiatorname.iscsi", "InitiatorName=iqn.1993-08.org.debian:01:image\n")
	// iscsid obeys root alone, and asks for the name of whoever speaks.
	write("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n")
	for _, dir := range []string{"run/lock/iscsi", "run/mount", "var/lib", "tmp"} {
		must(r.t, os.MkdirAll(filepath.Join(root, dir), 0o755))
	}
	build := exec.Command("go", "build", "-tags", "lambda.norpc", "-o", filepath.Join(root, "init"), "./testdata/login")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	if out, err := build.CombinedOutput(); err != nil {
		r.t.Fatalf("%v: %s", err, out)
	}
	pack := exec.Command("sh", "-c", "find . | cpio -o -H newc --quiet")
	pack.Dir = root
	more, err := pack.Output()
	if err != nil {
		r.t.Skipf("SKIPPED: cpio: %v (apt-get install cpio)", err)
	}
	first := []byte(read(r.img.SAN))
	first = append(first, make([]byte, -len(first)&511)...)
	r.img.Initrd = filepath.Join(root, "initrd.img")
	must(r.t, os.WriteFile(r.img.Initrd, append(first, more...), 0o600))
}

// cloudGuest is a machine without disks: what it has, it logs in to itself.
type cloudGuest struct {
	t       *testing.T
	l       net.Listener
	console string
	in      *json.Decoder
	out     *json.Encoder
}

// powerOn starts one with an address on the test's own network.
func (r *rig) powerOn(ip string) *cloudGuest {
	r.t.Helper()
	tap := "tap" + ip[strings.LastIndex(ip, ".")+1:]
	if err := qemu.MakeTap(tap, testBridge); err != nil {
		r.t.Skipf("SKIPPED: %v", err)
	}
	l, err := net.Listen("tcp", hostIP+":0")
	must(r.t, err)
	r.t.Cleanup(func() { _ = l.Close() })
	accel, _ := qemu.NewProbe(r.dir, "").Choose(r.t.Context())
	cmd, err := qemu.Build(qemu.Machine{
		Server: "guest-" + tap, Epoch: 1, Accel: accel, Tap: tap, // its name makes its hardware address
		VM: fleet.VMTemplate{
			Memory: 320, CPUs: 1, Boot: fleet.BootKernel, Kernel: r.img.Kernel, Initrd: r.img.Initrd,
			Cmdline: "quiet mitigations=off no_timer_check LOGIN_IP=" + ip + "/24 LOGIN_HOST=" + l.Addr().String(),
		},
	})
	must(r.t, err)
	dir := r.t.TempDir()
	p := exec.Command(cmd.Argv[0], cmd.Argv[1:]...)
	p.Dir = dir
	p.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	must(r.t, p.Start())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = p.Wait() }()
	r.t.Cleanup(func() { _ = p.Process.Kill(); <-ended })
	return &cloudGuest{t: r.t, l: l, console: filepath.Join(dir, qemu.ConsoleLog)}
}

// comes waits until the guest asks what to do.
func (g *cloudGuest) comes() {
	g.t.Helper()
	must(g.t, g.l.(*net.TCPListener).SetDeadline(time.Now().Add(2*time.Minute))) // an emulator on a busy machine
	conn, err := g.l.Accept()
	if err != nil {
		g.t.Fatalf("%v\n%s", err, g.said())
	}
	g.t.Cleanup(func() { _ = conn.Close() })
	must(g.t, conn.SetDeadline(time.Now().Add(5*time.Minute)))
	g.in, g.out = json.NewDecoder(conn), json.NewEncoder(conn)
}

func (g *cloudGuest) said() string {
	b, _ := os.ReadFile(g.console)
	return string(b)
}

// reply is what the guest answers; see testdata/login.
type reply struct {
	State  mount.State
	Output string
	Code   int
	Err    string
	Took   int64
}

func (g *cloudGuest) ask(what map[string]any) reply {
	g.t.Helper()
	must(g.t, g.out.Encode(what))
	var a reply
	if err := g.in.Decode(&a); err != nil {
		g.t.Fatalf("%v\n%s", err, g.said())
	}
	return a
}

func (g *cloudGuest) run(argv ...string) string {
	g.t.Helper()
	a := g.ask(map[string]any{"Run": argv})
	if a.Err != "" || a.Code != 0 {
		g.t.Errorf("%v ended with %d, %s: %s", argv, a.Code, a.Err, a.Output)
	}
	return a.Output
}

// advance takes the volume of an epoch a step further, as the guest agent does every second.
func (g *cloudGuest) advance(e fleet.Epoch, l mount.LUN) mount.State {
	g.t.Helper()
	a := g.ask(map[string]any{"Advance": map[string]any{
		"Epoch": e, "LUN": l,
		"Volume": fleet.Volume{Name: "data", LUN: &fleet.LUN{Array: "san-1", Name: "data", Unit: 12}, Mount: &fleet.Mount{Path: "/data", Type: "ext4", Format: true, Fsck: true}},
	}})
	g.t.Logf("epoch %d: %s: %s (%d ms)", e, a.State.Kind, a.State.Why, a.Took)
	return a.State
}

// mounts advances until the volume is there. A portal that is dead costs it one connect,
// or one login, and not the eight logins that iscsid tries by itself.
func (g *cloudGuest) mounts(e fleet.Epoch, l mount.LUN) (s mount.State) {
	g.t.Helper()
	began := time.Now()
	defer func() {
		if took := time.Since(began); took > 30*time.Second {
			g.t.Errorf("it took %s to mount beside a dead portal", took)
		}
	}()
	eventuallyFor(g.t, time.Minute, "the mount", func() error {
		if s = g.advance(e, l); s.Kind != core.Done {
			return errNotYet
		}
		return nil
	})
	return s
}

// write writes a file and syncs it; "" if that is done.
func (g *cloudGuest) write(path, data string) string {
	g.t.Helper()
	a := g.ask(map[string]any{"Write": map[string]any{"Path": path, "Data": data}})
	g.t.Logf("write %s: %q (%d ms)", path, a.Err, a.Took)
	return a.Err
}

// pours waits until so many lines are synced, or one has failed, and returns how many are.
func (g *cloudGuest) pours(lines int) (synced int, failed string) {
	g.t.Helper()
	a := g.ask(map[string]any{"Poured": lines})
	n, err := strconv.Atoi(a.Output)
	must(g.t, err)
	return n, a.Err
}

func lunOf(d link.Disk) mount.LUN {
	return mount.LUN{Portals: []string{d.Portal}, Target: d.Target, Unit: d.Unit, Initiator: d.Initiator, User: d.User, Secret: d.Secret}
}

// fences has the array shut an epoch out, as the controller does.
func (r *rig) fences(e fleet.Epoch, d link.Disk) {
	r.t.Helper()
	evidence, err := array.Run(r.t.Context(), array.Env{
		Array: r.san, Now: time.Now, Wait: array.WaitBy(time.Now),
		Marks: func(context.Context, string) (fleet.Epoch, error) { return e, nil },
		Login: array.TryLogin(array.Target{Portal: d.Portal, IQN: d.Target}, array.Map{Initiator: d.Initiator, User: d.User, Secret: d.Secret}),
	}, array.Plan{Ref: array.Ref{Server: "db-1", Epoch: e}, Volumes: []string{"data"}, Every: 20 * time.Millisecond, Within: 30 * time.Second})
	must(r.t, err)
	if len(evidence) != 1 || evidence[0].Method != fleet.InitiatorRemoved {
		r.t.Errorf("evidence %+v", evidence)
	}
}

func (r *rig) onLUN() []byte {
	r.t.Helper()
	b, err := os.ReadFile(r.file)
	must(r.t, err)
	return b
}

// mute is a portal that takes connections and says nothing.
func mute(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", hostIP+":0")
	must(t, err)
	t.Cleanup(func() { _ = l.Close() })
	return l.Addr().String()
}

// Two guests with Debian's kernel and open-iscsi, one after the other, log in to the LUN of
// a real array as the epochs that they are. A wrong secret is refused in one line. What the
// first wrote is on the array; once it is shut out its writes fail, nothing of it lands any
// more, it calls its volume broken, and the second finds what was written before.
func TestGuestLogsIn(t *testing.T) {
	if !isolated(t) {
		return
	}
	r := newRig(t)
	r.withLogin()
	g := r.powerOn(guestIP)
	d := r.let(1)[0]
	l := lunOf(d)
	g.comes()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the first guest's console:\n%s", g.said())
		}
	})

	wrong := l
	wrong.Secret = "not-the-secret-1"
	s := g.advance(1, wrong)
	if s.Kind != core.Wait || !strings.HasSuffix(s.Why, "does not take the login of "+l.Initiator+": iSCSI login failed due to authorization failure") || strings.Contains(s.Why, wrong.Secret) {
		t.Errorf("with a wrong secret: %+v", s)
	}
	through := l
	through.Portals = []string{hostIP + ":1", l.Portals[0]} // nobody listens at the first
	if s = g.mounts(1, through); !s.Formatted {
		t.Error("epoch 1 has not told that it formatted")
	}
	if utab := g.run("cat", "/run/mount/utab"); !strings.Contains(utab, "_netdev") {
		t.Errorf("systemd would take it for a local disk: %s", utab)
	}
	if e := g.write("/data/kept", "this is of epoch 1"); e != "" {
		t.Fatal(e)
	}
	if !bytes.Contains(r.onLUN(), []byte("this is of epoch 1")) {
		t.Error("what was synced is not on the array")
	}

	g.ask(map[string]any{"Pour": "/data/lines"})
	if _, failed := g.pours(20); failed != "" {
		t.Fatal(failed)
	}

	// A session that is cut, and not shut out, is made again by the kernel as the same epoch.
	all, err := r.san.Sessions(t.Context(), array.Ref{Server: "db-1", Epoch: 1})
	must(t, err)
	for _, s := range all {
		must(t, r.san.Kill(t.Context(), s))
	}
	before, _ := g.pours(1)
	began := time.Now()
	if _, failed := g.pours(before + 20); failed != "" || len(all) != 1 {
		t.Fatalf("%d sessions were cut: %s", len(all), failed)
	}
	t.Logf("it wrote on %s after its session was cut", time.Since(began))
	if s := g.advance(1, l); s.Kind != core.Done {
		t.Errorf("after its session was cut: %+v", s)
	}

	r.fences(1, d) // while it writes
	shut := sha256.Sum256(r.onLUN())
	next := r.powerOn("10.99.0.10") // while the kernel of the first holds its writes
	acked, failed := g.pours(math.MaxInt)
	t.Logf("%d lines were synced, then: %s", acked, failed)
	if e := g.write("/data/late", "this is of a zombie"); e == "" {
		t.Error("a write of an epoch that was shut out is acknowledged")
	}
	if s := g.advance(1, l); s.Kind != core.Broken || !strings.Contains(s.Why, "takes no writes") {
		t.Errorf("a volume that takes no writes is %s: %s", s.Kind, s.Why)
	}
	if shut != sha256.Sum256(r.onLUN()) {
		t.Error("something landed after the fence")
	}

	l2 := lunOf(r.let(2)[0])
	next.comes()
	l2.Portals = []string{mute(t), l2.Portals[0]}
	if s := next.mounts(2, l2); s.Formatted {
		t.Error("epoch 2 has formatted")
	}
	if got := next.run("cat", "/data/kept"); got != "this is of epoch 1" {
		t.Errorf("epoch 2 reads %q", got)
	}
	// The line that failed may have come there before the fence: nobody was told so.
	if n := strings.Count(next.run("cat", "/data/lines"), "\n"); n < acked || n > acked+1 {
		t.Errorf("epoch 2 reads %d lines of the %d that epoch 1 had synced", n, acked)
	}
	if e := next.write("/data/kept", "this is of epoch 2"); e != "" {
		t.Error(e)
	}
	if e := g.write("/data/late", "this is of a zombie"); e == "" {
		t.Error("the zombie writes beside the next epoch")
	}
	next.run("umount", "/data")
	if out, err := exec.Command("fsck.ext4", "-f", "-n", r.file).CombinedOutput(); err != nil {
		t.Errorf("the file system: %v: %s", err, out)
	}
	b := r.onLUN()
	if !bytes.Contains(b, []byte("this is of epoch 2")) || bytes.Contains(b, []byte("this is of a zombie")) {
		t.Error("on the array is something else than epoch 2 wrote")
	}
	if sessions, err := r.san.Sessions(t.Context(), array.Ref{Server: "db-1", Epoch: 1}); err != nil || len(sessions) != 0 {
		t.Errorf("sessions of epoch 1: %v, %v", sessions, err)
	}
}
