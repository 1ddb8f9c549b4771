// Package virshtest starts a real libvirt for tests.
package virshtest

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// Network is where a libvirtd and its machines are.
type Network bool

// The networks.
const (
	// Apart is a network of its own, with nothing in it.
	Apart Network = true
	// Shared is that of the test: its machines reach what the test serves.
	Shared Network = false
)

// patience bounds the start.
const patience = 60 * time.Second

// Start starts a libvirtd of the test's own, with private mounts over all of its
// directories, and returns its URI. It needs no systemd, and skips the test where parts
// are missing.
func Start(t *testing.T, network Network) string {
	t.Helper()
	for tool, pkg := range map[string]string{
		"libvirtd": "libvirt-daemon libvirt-daemon-driver-qemu", "virsh": "libvirt-clients", "qemu-system-x86_64": "qemu-system-x86", "unshare": "util-linux",
	} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("SKIPPED: needs %s: apt-get install %s", tool, pkg)
		}
	}
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: libvirtd needs root")
	}
	dir, err := os.MkdirTemp("", "lv") // short: a socket's path has at most 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("libvirtd.conf", "unix_sock_dir = \""+dir+"\"\nauth_unix_rw = \"none\"\nauth_unix_ro = \"none\"\n")
	write("qemu.conf", "user = \"root\"\ngroup = \"root\"\nstdio_handler = \"file\"\nsecurity_driver = \"none\"\nnamespaces = []\ncgroup_controllers = []\nremember_owner = 0\n")
	write("start", `set -e
for d in /run/libvirt /var/lib/libvirt /var/log/libvirt /var/cache/libvirt /etc/libvirt; do
	mkdir -p "$d"
	mount -t tmpfs tmpfs "$d"
done
mkdir /var/log/libvirt/qemu
cp "$1/qemu.conf" /etc/libvirt/qemu.conf
# libvirtd wants its users to exist, even where its configuration names others.
for f in passwd group; do
	cp /etc/$f "$1/$f"
	grep -q '^libvirt-qemu:' "$1/$f" || case $f in
	passwd) echo 'libvirt-qemu:x:64055:64055::/:/usr/sbin/nologin' ;;
	group) echo 'libvirt-qemu:x:64055:' ;;
	esac >>"$1/$f"
	mount --bind "$1/$f" /etc/$f
done
# The shell stays as the first process: it reaps the machines, which are orphans.
libvirtd --config "$1/libvirtd.conf" --pid-file "$1/pid" &
wait
`)
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	// A process namespace: when its first process is killed, so are all machines.
	args := []string{"--mount", "--pid", "--fork", "--kill-child", "--mount-proc"}
	if network == Apart {
		args = append(args, "--net")
	}
	cmd := exec.Command("unshare", append(args, "sh", filepath.Join(dir, "start"), dir)...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			text, _ := os.ReadFile(log.Name())
			t.Logf("libvirtd:\n%s", text)
		}
	})
	uri := "qemu+unix:///system?socket=" + dir + "/libvirt-sock"
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for exec.CommandContext(ctx, "virsh", "--connect", uri, "list").Run() != nil {
		select {
		case <-ctx.Done():
			t.Fatal("libvirtd does not answer")
		case <-tick.C:
		}
	}
	return uri
}
