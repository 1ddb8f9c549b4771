// Package mount is the guest agent's hand on disks: it looks at the machine, has
// core/mount decide, and does one step after another.
package mount

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"relight/internal/agent/guest/mountinfo"
	"relight/internal/core/fleet"
	"relight/internal/core/mount"
)

// Machine is the machine that volumes are mounted on.
type Machine struct {
	// Sys, Dev and Proc are /sys, /dev and /proc, Etc and RunDir are /etc and /run.
	Sys, Dev, Proc, Etc, RunDir string
	// Run runs a program to its end. Its error is about the program that could not be
	// run; one that ended has an exit code.
	Run func(ctx context.Context, argv ...string) (output string, code int, err error)
	// Writes is nil if the file system that is mounted on a path takes writes, and else
	// the error that one would meet; it changes nothing. Nil if nobody can tell.
	Writes func(path string) error
	// Reaches tells whether a portal of an array takes connections; nil if nobody can.
	Reaches func(ctx context.Context, portal string) bool
}

// ThisMachine is the one that the process runs on.
func ThisMachine() *Machine {
	return &Machine{Sys: "/sys", Dev: "/dev", Proc: "/proc", Etc: "/etc", RunDir: "/run", Run: run, Writes: writes, Reaches: Reaches}
}

// Boot names the present boot of the kernel.
func (m *Machine) Boot() (string, error) {
	b, err := os.ReadFile(filepath.Join(m.Proc, "sys", "kernel", "random", "boot_id"))
	return strings.TrimSpace(string(b)), err
}

func run(ctx context.Context, argv ...string) (string, int, error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	// No terminal and no input: a program that would ask gets no answer.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Exited() {
		return out.String(), exit.ExitCode(), nil
	}
	return out.String(), 0, err
}

// look finds out all that is to be known about a volume now.
func (v *Volumes) look(ctx context.Context, one fleet.Volume) mount.Seen {
	var seen mount.Seen
	if one.LUN != nil {
		seen = v.lun(ctx, one)
	} else {
		seen.Disks, seen.Others = v.machine.disks(mount.Serial(one.ID))
	}
	seen = v.machine.judge(ctx, one, seen)
	if len(seen.Disks) == 1 && isMounted(seen.Mounts, seen.Disks[0], one.Mount.Path) && v.machine.suspects(one.Mount.Type, seen.Disks[0]) {
		seen.Fault = v.fault(one.Mount.Path)
	}
	return seen
}

// judge adds what is mounted, and what a volume's disk holds.
func (m *Machine) judge(ctx context.Context, v fleet.Volume, seen mount.Seen) mount.Seen {
	var err error
	if seen.Mounts, err = m.mounts(); err != nil {
		// Without the list of mounts nothing may be thought free.
		seen.Trouble = err.Error()
		return seen
	}
	if len(seen.Disks) == 1 && !inUse(seen.Mounts, seen.Disks[0], v.Mount.Path) {
		seen.Content, err = m.content(ctx, seen.Disks[0])
		if err != nil {
			seen.Content, seen.Trouble = mount.Unread, err.Error()
		}
	}
	return seen
}

// isMounted reports whether the disk is mounted on the path.
func isMounted(all []mount.Mounted, d mount.Disk, path string) bool {
	return slices.ContainsFunc(all, func(x mount.Mounted) bool { return x.Number == d.Number && x.Path == path })
}

// inUse reports whether the disk is mounted, or something on the path: then nobody
// needs to know what the disk holds.
func inUse(all []mount.Mounted, d mount.Disk, path string) bool {
	return slices.ContainsFunc(all, func(x mount.Mounted) bool { return x.Number == d.Number || x.Path == path })
}

// disks returns those with the serial, and the names of all others. Names say nothing:
// on Nitro the order of disks differs from boot to boot, and the name that a volume was
// attached under is nowhere to be seen.
func (m *Machine) disks(serial string) (found []mount.Disk, others []string) {
	entries, err := os.ReadDir(filepath.Join(m.Sys, "block"))
	if err != nil {
		return nil, []string{err.Error()}
	}
	for _, e := range entries {
		dir := filepath.Join(m.Sys, "block", e.Name())
		switch {
		case word(dir, "hidden") == "1": // one path of a disk of several
		case serialOf(dir) == serial:
			found = append(found, mount.Disk{Node: filepath.Join(m.Dev, e.Name()), Number: word(dir, "dev")})
		case serialOf(dir) != "":
			others = append(others, fmt.Sprintf("%s has %s", e.Name(), serialOf(dir)))
		default:
			others = append(others, e.Name()+" has none")
		}
	}
	return found, others
}

// serialOf reads the serial of an NVMe disk, or of a virtio disk. EC2's documents have
// it with and without the dash.
func serialOf(dir string) string {
	for _, name := range []string{"device/serial", "serial"} {
		if s := word(dir, name); s != "" {
			return strings.ReplaceAll(s, "-", "")
		}
	}
	return ""
}

func word(dir, name string) string {
	b, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(name)))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(strings.Trim(string(b), "\x00"))
}

// open opens a disk for reading, and only if its device file leads to the very disk
// whose serial was read.
func (m *Machine) open(d mount.Disk) (*os.File, error) {
	fd, err := unix.Open(d.Node, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: d.Node, Err: err}
	}
	f := os.NewFile(uintptr(fd), d.Node)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	number := fmt.Sprintf("%d:%d", unix.Major(st.Rdev), unix.Minor(st.Rdev))
	if st.Mode&unix.S_IFMT != unix.S_IFBLK || number != d.Number {
		return nil, errors.Join(fmt.Errorf("%s is %s, and the disk is %s", d.Node, number, d.Number), f.Close())
	}
	return f, nil
}

// mounts reads the machine's mounts, in their order.
func (m *Machine) mounts() ([]mount.Mounted, error) {
	data, err := os.ReadFile(filepath.Join(m.Proc, "self", "mountinfo"))
	if err != nil {
		return nil, err
	}
	found, err := mountinfo.Parse(string(data))
	if err != nil {
		return nil, err
	}
	out := make([]mount.Mounted, 0, len(found))
	for _, m := range found {
		out = append(out, mount.Mounted{Number: m.Number, Path: m.Path, Type: m.Type, Source: m.Source, ReadOnly: m.ReadOnly})
	}
	return out, nil
}
