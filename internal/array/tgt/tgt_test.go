package tgt

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"testing"
	"time"

	"relight/internal/array"
	"relight/internal/array/arraytest"
	"relight/internal/array/iscsi"
)

const prefix = "iqn.2026-01.org.example.san"

// daemon is a private tgtd on a loopback portal.
type daemon struct {
	t       *testing.T
	control int
	portal  string
	cmd     *exec.Cmd
	ended   chan struct{}
}

func startDaemon(t *testing.T) *daemon {
	t.Helper()
	for _, tool := range []string{"tgtd", "tgtadm"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("SKIPPED: needs %s (Debian package tgt)", tool)
		}
	}
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: needs root: tgtd makes its control socket below /var/run")
	}
	d := &daemon{t: t, portal: freePort(t)}
	_, port, _ := net.SplitHostPort(d.portal)
	n, _ := strconv.Atoi(port) // a free port makes a free number, up to 32767
	d.control = n%32767 + 1
	d.start()
	t.Cleanup(d.stop)
	return d
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func (d *daemon) start() {
	d.t.Helper()
	d.cmd = exec.Command("tgtd", "-C", strconv.Itoa(d.control), "--iscsi", "portal="+d.portal, "-f")
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
	a := New(Config{Control: d.control})
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		_, err := a.look(ctx)
		conn, dial := net.Dial("tcp", d.portal)
		if dial == nil {
			_ = conn.Close()
		}
		if err == nil && dial == nil {
			return
		}
		select {
		case <-d.ended:
			d.t.Fatalf("tgtd ended: %v", d.cmd.ProcessState)
		case <-ctx.Done():
			d.t.Fatalf("tgtd does not answer: %v, %v", err, dial)
		case <-tick.C:
		}
	}
}

// stop kills: tgtd ignores polite signals while it has targets.
func (d *daemon) stop() {
	_ = d.cmd.Process.Kill()
	<-d.ended
	_ = os.Remove(fmt.Sprintf("/var/run/tgtd/socket.%d", d.control))
	_ = os.Remove(fmt.Sprintf("/var/run/tgtd/socket.%d.lock", d.control))
}

func (d *daemon) array(dir string) *Array {
	return New(Config{Name: "san-1", Prefix: prefix, Portal: d.portal, Dir: dir, Control: d.control})
}

func connect(ctx context.Context, cfg iscsi.Config) (array.Conn, error) {
	s, err := iscsi.Dial(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return s, nil
}

func TestSuite(t *testing.T) {
	arraytest.Run(t, func(t *testing.T) arraytest.Harness {
		d := startDaemon(t)
		return arraytest.Harness{
			Array: d.array(t.TempDir()), Prefix: prefix, Connect: connect,
			Restart: func() { d.stop(); d.start() },
		}
	})
}
