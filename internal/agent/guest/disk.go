package guest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

var errNoDisk = errors.New("no such disk")

// findDisk returns the device of the disk with this serial number, or of "unit:N". A unit
// that is seen by several ways is several disks: one whose way works is taken first.
func findDisk(sys, want string) (string, error) {
	entries, err := os.ReadDir(filepath.Join(sys, "block"))
	if err != nil {
		return "", err
	}
	unit, byUnit := strings.CutPrefix(want, "unit:")
	lost := ""
	for _, e := range entries {
		dir := filepath.Join(sys, "block", e.Name())
		switch {
		case byUnit && unitOf(dir) != unit, !byUnit && serialOf(dir) != want:
		case works(dir):
			return "/dev/" + e.Name(), nil
		case lost == "":
			lost = "/dev/" + e.Name()
		}
	}
	if lost != "" {
		return lost, nil // its way may come back
	}
	return "", fmt.Errorf("disk %s: %w among %d", want, errNoDisk, len(entries))
}

// works reports whether nothing says that a disk takes no commands. A SCSI disk whose
// session was lost is "blocked", and then "transport-offline".
func works(dir string) bool {
	b, _ := os.ReadFile(filepath.Join(dir, "device", "state"))
	switch strings.TrimSpace(string(b)) {
	case "blocked", "transport-offline", "offline", "cancel", "deleted":
		return false
	}
	return true
}

// serialOf reads a virtio disk's serial, or a SCSI disk's from its page 80.
func serialOf(dir string) string {
	if b, err := os.ReadFile(filepath.Join(dir, "serial")); err == nil {
		return strings.TrimSpace(string(b))
	}
	b, err := os.ReadFile(filepath.Join(dir, "device", "vpd_pg80"))
	if err != nil || len(b) < 4 {
		return ""
	}
	return strings.Trim(string(b[4:]), " \x00\n")
}

// unitOf is the last number of a SCSI address, host:channel:target:unit.
func unitOf(dir string) string {
	to, err := filepath.EvalSymlinks(filepath.Join(dir, "device"))
	if err != nil {
		return ""
	}
	name := filepath.Base(to)
	if strings.Count(name, ":") != 3 {
		return ""
	}
	return name[strings.LastIndexByte(name, ':')+1:]
}

// disk is the open data volume. Its writes are durable when they return.
type disk struct {
	f    *os.File
	size int64
}

func openDisk(path string, write bool) (*disk, error) {
	flags := unix.O_RDONLY
	if write {
		flags = unix.O_RDWR
	}
	fd, err := unix.Open(path, flags|unix.O_DIRECT|unix.O_DSYNC|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	var size uint64
	if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.BLKGETSIZE64, uintptr(unsafe.Pointer(&size))); e != 0 {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("size of %s: %w", path, e)
	}
	return &disk{f: os.NewFile(uintptr(fd), path), size: int64(size)}, nil
}

// aligned makes a buffer as O_DIRECT wants it.
func aligned(n int) []byte {
	const page = 4096
	b := make([]byte, n+page)
	off := int(uintptr(unsafe.Pointer(&b[0])) & (page - 1))
	if off != 0 {
		off = page - off
	}
	return b[off : off+n : off+n]
}
