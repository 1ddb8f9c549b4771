// Package tgtd runs a private tgtd for tests.
package tgtd

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Daemon is a private tgtd on a loopback portal.
type Daemon struct {
	// Control is the number of its control socket, Portal its address:port.
	Control int
	Portal  string

	t     testing.TB
	cmd   *exec.Cmd
	ended chan struct{}
}

// New starts one for a test, and ends it with that. It skips the test where there is none.
func New(t testing.TB) *Daemon {
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
	// A free port makes a free number, up to 32767.
	d := &Daemon{t: t, Portal: l.Addr().String(), Control: l.Addr().(*net.TCPAddr).Port%32767 + 1}
	_ = l.Close()
	d.Start()
	t.Cleanup(d.Stop)
	return d
}

// Start starts it, with no target, and returns once both its sides answer.
func (d *Daemon) Start() {
	d.t.Helper()
	d.cmd = exec.Command("tgtd", "-C", strconv.Itoa(d.Control), "--iscsi", "portal="+d.Portal, "-f")
	// A test binary that panics must leave no target behind.
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := d.cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	d.ended = make(chan struct{})
	go func(cmd *exec.Cmd, ended chan struct{}) {
		defer close(ended)
		_ = cmd.Wait()
	}(d.cmd, d.ended)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		err := d.answers()
		if err == nil {
			return
		}
		select {
		case <-d.ended:
			d.t.Fatalf("tgtd ended: %v", d.cmd.ProcessState)
		case <-ctx.Done():
			d.t.Fatalf("tgtd does not answer: %v", err)
		case <-tick.C:
		}
	}
}

func (d *Daemon) answers() error {
	if err := d.Admin("--op show --mode target"); err != nil {
		return err
	}
	conn, err := net.Dial("tcp", d.Portal)
	if err == nil {
		_ = conn.Close()
	}
	return err
}

// Admin runs tgtadm with a line of arguments.
func (d *Daemon) Admin(line string) error {
	out, err := exec.Command("tgtadm", append([]string{"-C", strconv.Itoa(d.Control), "--lld", "iscsi"}, strings.Fields(line)...)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("tgtadm %s: %w: %s", line, err, out)
	}
	return nil
}

// PID is its process.
func (d *Daemon) PID() int { return d.cmd.Process.Pid }

// Stop kills it: tgtd ignores polite signals while it has targets.
func (d *Daemon) Stop() {
	_ = d.cmd.Process.Kill()
	<-d.ended
	_ = os.Remove(fmt.Sprintf("/var/run/tgtd/socket.%d", d.Control))
	_ = os.Remove(fmt.Sprintf("/var/run/tgtd/socket.%d.lock", d.Control))
}
