package lab

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// need is a program or a file that a lab needs, and Debian's package that has it.
type need struct {
	name, pkg, why string
	here           func() bool
}

func program(name string) func() bool {
	return func() bool {
		if _, err := exec.LookPath(name); err == nil {
			return true
		}
		_, err := os.Stat(filepath.Join("/usr/sbin", name)) // not in everybody's PATH
		return err == nil
	}
}

func file(pattern string) func() bool {
	return func() bool {
		found, err := filepath.Glob(pattern)
		return err == nil && len(found) > 0
	}
}

func wanted() []need {
	return []need{
		{"ip", "iproute2", "network namespaces and links", program("ip")},
		{"nsenter", "util-linux", "takes the heartbeat area away from one host", program("nsenter")},
		{"tgtd", "tgt", "the SAN: an iSCSI target in user space", program("tgtd")},
		{"qemu-system-x86_64", "qemu-system-x86", "the virtual machines", program("qemu-system-x86_64")},
		{"QEMU's iSCSI driver", "qemu-block-extra", "virtual machines log in to the SAN", file("/usr/lib/*/qemu/block-iscsi.so")},
		{"syslinux", "syslinux", "starts the kernel from a boot disk", program("syslinux")},
		{"syslinux's boot sector", "syslinux-common", "the same", file("/usr/lib/SYSLINUX/mbr.bin")},
		{"mkfs.fat", "dosfstools", "the boot disk's file system", program("mkfs.fat")},
		{"mcopy", "mtools", "fills it without mounting it", program("mcopy")},
		{"iPXE", "ipxe", "starts machines from the SAN", file("/usr/lib/ipxe/ipxe.lkrn")},
		{"iscsistart", "open-iscsi", "such machines log in to their LUNs themselves", program("iscsistart")},
		{"cpio", "cpio", "packs the guest's first file system", program("cpio")},
		{"depmod", "kmod", "picks the modules of the guest's kernel", program("depmod")},
	}
}

// Lack is what a machine lacks for a lab.
type Lack struct {
	// Needs are programs that a package would bring.
	needs []need
	// Barriers are what no package brings, in words.
	Barriers []string
}

// ErrCannot means that this machine cannot carry a lab.
var ErrCannot = errors.New("a lab cannot be built here")

// Err is nil if nothing is lacking, else an ErrCannot that lists what is.
func (m Lack) Err() error {
	if len(m.needs)+len(m.Barriers) == 0 {
		return nil
	}
	all := m.Barriers
	for _, n := range m.needs {
		all = append(all, fmt.Sprintf("%s is not installed (package %s)", n.name, n.pkg))
	}
	next := ""
	if len(m.Barriers) == 0 {
		next = "; next: relight lab up --yes"
	}
	return fmt.Errorf("%w: %s%s", ErrCannot, strings.Join(all, "; "), next)
}

// Packages lists Debian's packages that would bring what is lacking.
func (m Lack) Packages() []string {
	var out []string
	for _, n := range m.needs {
		out = append(out, n.pkg)
	}
	return out
}

// Missing looks for what a lab needs.
func Missing() Lack {
	var m Lack
	if os.Geteuid() != 0 {
		m.Barriers = append(m.Barriers, "network namespaces need root")
	}
	if f, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0); err != nil {
		m.Barriers = append(m.Barriers, "no /dev/net/tun: "+errors.Unwrap(err).Error())
	} else {
		_ = f.Close()
	}
	for _, n := range wanted() {
		if !n.here() {
			m.needs = append(m.needs, n)
		}
	}
	if len(m.Barriers) == 0 && program("ip")() {
		if err := tryNamespace(); err != nil {
			m.Barriers = append(m.Barriers, err.Error())
		}
	}
	return m
}

// tryNamespace makes a network namespace with a link and a bridge in it, which end
// with the command: containers often forbid it, and only trying tells.
func tryNamespace() error {
	out, err := exec.Command("unshare", "-n", "sh", "-c", //nolint:noctx // it ends at once
		"ip link add name va type veth peer name vb && ip link add name vc type bridge && ip link set dev va master vc").CombinedOutput()
	if err != nil {
		return fmt.Errorf("network namespaces with links and bridges cannot be made: %s", strings.TrimSpace(string(out)))
	}
	return nil
}

// ErrDeclined means that a person does not want the packages installed.
var ErrDeclined = errors.New("nothing was installed")

// Install shows what is lacking and installs it once ask says yes.
func Install(ctx context.Context, m Lack, ask func() bool, out io.Writer) error {
	if len(m.Barriers) > 0 || len(m.needs) == 0 {
		return m.Err()
	}
	fmt.Fprintln(out, "these packages of Debian's are to be installed:")
	for _, n := range m.needs {
		fmt.Fprintf(out, "  %-18s %s\n", n.pkg, n.why)
	}
	if !program("apt-get")() {
		return fmt.Errorf("%w: there is no apt-get here; install them as your system does", ErrCannot)
	}
	if !ask() {
		return fmt.Errorf("%w; next: relight lab up --yes", ErrDeclined)
	}
	for _, args := range [][]string{{"update", "-qq"}, append([]string{"install", "-y", "-qq", "--no-install-recommends"}, m.Packages()...)} {
		cmd := exec.CommandContext(ctx, "apt-get", args...)
		// Nothing that the packages bring is to be started as a service.
		cmd.Env = append(os.Environ(), "RUNLEVEL=1", "DEBIAN_FRONTEND=noninteractive")
		if text, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("apt-get %s: %w: %s", args[0], err, strings.TrimSpace(string(text)))
		}
	}
	return Missing().Err()
}

// Ask asks a person on a terminal.
func Ask(in io.Reader, out io.Writer) func() bool {
	return func() bool {
		fmt.Fprint(out, "install them? [y/N] ")
		answer, _ := bufio.NewReader(in).ReadString('\n')
		return strings.EqualFold(strings.TrimSpace(answer), "y")
	}
}
