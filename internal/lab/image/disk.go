package image

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

const (
	sector = 512
	// diskStart is where the only partition begins, in sectors: 1 MiB, as everybody
	// does it.
	diskStart = 2048
	// DiskBytes is the size of a boot disk: kernel, the larger file system, and room.
	DiskBytes = 48 << 20
	mbrCode   = "/usr/lib/SYSLINUX/mbr.bin"
)

// Disk says what a boot disk is to start.
type Disk struct {
	// Cmdline is the kernel's command line.
	Cmdline string
	// SAN takes Image.SAN: for guests that iPXE boots, and that log in by themselves.
	SAN bool
}

// BootDisk writes a disk of DiskBytes bytes to path, in place if it is there: a boot
// sector, and one FAT partition with syslinux, kernel and initrd. It can be the unit
// of an array that a machine starts from. Errors: ErrTool.
func BootDisk(ctx context.Context, img Image, path string, d Disk) error {
	initrd := img.Initrd
	if d.SAN {
		initrd = img.SAN
	}
	if initrd == "" {
		return fmt.Errorf("boot disk: iscsistart (Debian's open-iscsi): %w", ErrTool)
	}
	code, err := os.ReadFile(mbrCode)
	if err != nil {
		return fmt.Errorf("boot disk: %s (Debian's syslinux-common): %w", mbrCode, ErrTool)
	}
	work, err := os.MkdirTemp("", "relight-disk-*")
	if err != nil {
		return fmt.Errorf("boot disk: %w", err)
	}
	defer func() { _ = os.RemoveAll(work) }()
	part, config := filepath.Join(work, "part"), filepath.Join(work, "syslinux.cfg")
	text := "DEFAULT linux\nPROMPT 0\nLABEL linux\nKERNEL vmlinuz\nINITRD initrd.img\nAPPEND console=ttyS0 " + strings.TrimSpace(d.Cmdline) + "\n"
	err = errors.Join(
		os.WriteFile(config, []byte(text), 0o600),
		os.WriteFile(part, nil, 0o600),
		os.Truncate(part, DiskBytes-diskStart*sector),
	)
	if err != nil {
		return fmt.Errorf("boot disk: %w", err)
	}
	for _, argv := range [][]string{
		// The number of sectors before the partition: without it syslinux reads the
		// wrong ones.
		{"mkfs.fat", "-h", fmt.Sprint(diskStart), "-n", "RELIGHT", part},
		{"mcopy", "-i", part, img.Kernel, "::vmlinuz"},
		{"mcopy", "-i", part, initrd, "::initrd.img"},
		{"mcopy", "-i", part, config, "::syslinux.cfg"},
		{"syslinux", "--install", part},
	} {
		if err := run(ctx, work, argv[0], argv[1:]...); err != nil {
			return fmt.Errorf("boot disk: %w", err)
		}
	}
	return writeDisk(path, code, part)
}

// writeDisk puts the boot sector and the partition together.
func writeDisk(path string, code []byte, part string) error {
	from, err := os.Open(part)
	if err != nil {
		return fmt.Errorf("boot disk: %w", err)
	}
	defer func() { _ = from.Close() }()
	// Not replaced: an array has the file open, or has set its room aside.
	to, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("boot disk: %w", err)
	}
	_, err = to.WriteAt(bootSector(code), 0)
	if err == nil {
		_, err = io.Copy(io.NewOffsetWriter(to, diskStart*sector), from)
	}
	if err := errors.Join(err, to.Sync(), to.Close()); err != nil {
		return fmt.Errorf("boot disk: %w", err)
	}
	return nil
}

// bootSector is the code with a table of one active partition.
func bootSector(code []byte) []byte {
	b := make([]byte, sector)
	copy(b[:440], code)
	entry := b[446:462]
	entry[0] = 0x80 // active
	entry[4] = 0x0e // FAT16 that is addressed by block
	// Addresses by cylinder are out of use; all ones says so.
	copy(entry[1:4], "\xfe\xff\xff")
	copy(entry[5:8], "\xfe\xff\xff")
	binary.LittleEndian.PutUint32(entry[8:], diskStart)
	binary.LittleEndian.PutUint32(entry[12:], DiskBytes/sector-diskStart)
	b[510], b[511] = 0x55, 0xaa
	return b
}
