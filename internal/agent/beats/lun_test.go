package beats

import (
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
)

// tgtd is a private target on a loopback portal with one empty LUN that all who know a
// secret may use.
type tgtd struct {
	t               *testing.T
	control, portal string
	file            string
	cmd             *exec.Cmd
}

const (
	beatsTarget = "iqn.2026-01.org.example:beats"
	beatsSecret = "secretsecret12"
)

func newTgtd(t *testing.T) *tgtd {
	t.Helper()
	for _, tool := range []string{"tgtd", "tgtadm"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("SKIPPED: needs %s (Debian package tgt)", tool)
		}
	}
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: needs root: tgtd makes its control socket below /var/run")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	d := &tgtd{t: t, portal: l.Addr().String(), control: strconv.Itoa(port%32767 + 1), file: filepath.Join(t.TempDir(), "beats.img")}
	_ = l.Close()
	if err := os.WriteFile(d.file, make([]byte, 2<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	d.start()
	t.Cleanup(d.stop)
	return d
}

func (d *tgtd) start() {
	d.t.Helper()
	d.cmd = exec.Command("tgtd", "-C", d.control, "--iscsi", "portal="+d.portal, "-f")
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := d.cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	limit, tick := time.After(20*time.Second), time.NewTicker(20*time.Millisecond)
	defer tick.Stop()
	for d.admin("--op show --mode target") != nil {
		select {
		case <-tick.C:
		case <-limit:
			d.t.Fatal("tgtd does not answer")
		}
	}
	for _, line := range []string{
		"--op new --mode target --tid 1 -T " + beatsTarget, "--op new --mode logicalunit --tid 1 --lun 12 -b " + d.file,
		"--op bind --mode target --tid 1 -I ALL", "--op new --mode account --user beats --password " + beatsSecret, "--op bind --mode account --tid 1 --user beats",
	} {
		if err := d.admin(line); err != nil {
			d.t.Fatal(err)
		}
	}
}

func (d *tgtd) admin(line string) error {
	out, err := exec.Command("tgtadm", append([]string{"-C", d.control, "--lld", "iscsi"}, strings.Fields(line)...)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("tgtadm %s: %w: %s", line, err, out)
	}
	return nil
}

// stop kills: tgtd ignores polite signals while it has targets.
func (d *tgtd) stop() {
	_ = d.cmd.Process.Kill()
	_ = d.cmd.Wait()
	_ = os.Remove("/var/run/tgtd/socket." + d.control)
	_ = os.Remove("/var/run/tgtd/socket." + d.control + ".lock")
}

// Two hosts on a LUN of a real target: they see each other, lose it, and find it again.
func TestAreaOnALUN(t *testing.T) {
	d := newTgtd(t)
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte(beatsSecret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	host := func(name, secretFile string) *Area {
		t.Helper()
		s, err := Parse("iscsi://beats@"+d.portal+"/"+beatsTarget+"/12", name, secretFile)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Close)
		return s.(*Area)
	}
	one, two := host("host-1", secret), host("host-2", secret)
	for _, text := range []string{"1", "2"} {
		beat(t, one, "host-1", text)
		beat(t, two, "host-2", text)
		sees(t, one, map[string]string{"host-1": text, "host-2": text})
	}
	wrong := secret + ".wrong"
	if err := os.WriteFile(wrong, []byte("another-secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := host("host-3", wrong).Write(t.Context(), "host-3", nil); err == nil || !strings.Contains(err.Error(), "authentication failed") {
		t.Errorf("a wrong secret: %v", err)
	}
	d.stop()
	if err := one.Write(t.Context(), "host-1", []byte("3")); err == nil {
		t.Error("wrote to an array that is gone")
	}
	d.start()
	if got, err := two.Read(t.Context()); err == nil {
		t.Errorf("read %v over a session that had ended", got)
	}
	beat(t, one, "host-1", "4")
	sees(t, two, map[string]string{"host-1": "4", "host-2": "2"})
}
