package array

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
)

// ends is how much of a LUN's head and tail a scan reads. All signatures lie
// there, and what is not zero there is somebody's data in any case.
const ends = 1 << 20

// mark is a magic number at a place; a negative place counts from the end.
type mark struct {
	what  string
	at    int64
	magic string
}

// signs are the marks of what people put on disks. Those that lie in the middle of
// zeroes matter as much as those at the start: a LUKS header or a RAID member
// shows no file system, and to format it destroys one.
var signs = []mark{
	{"ext2/3/4", 0x438, "\x53\xef"},
	{"xfs", 0, "XFSB"},
	{"btrfs", 0x10040, "_BHRfS_M"},
	{"LUKS", 0, "LUKS\xba\xbe"},
	{"LVM", 0, "LABELONE"},
	{"LVM", 512, "LABELONE"},
	{"LVM", 1024, "LABELONE"},
	{"LVM", 1536, "LABELONE"},
	{"GPT", 512, "EFI PART"},
	{"GPT", 4096, "EFI PART"},
	{"GPT (backup)", -512, "EFI PART"},
	{"GPT (backup)", -4096, "EFI PART"},
	{"NTFS", 3, "NTFS    "},
	{"exFAT", 3, "EXFAT   "},
	{"ReFS", 3, "ReFS\x00\x00\x00\x00"},
	{"BitLocker", 3, "-FVE-FS-"},
	{"FAT", 54, "FAT1"},
	{"FAT", 82, "FAT32   "},
	{"partition table or boot record", 510, "\x55\xaa"},
	{"swap", 4086, "SWAPSPACE2"},
	{"Linux RAID", 0, "\xfc\x4e\x2b\xa9"},
	{"Linux RAID", 4096, "\xfc\x4e\x2b\xa9"},
	{"ISO 9660", 0x8001, "CD001"},
	{"VMFS", 0x100000 - 512, "\x0d\xd0\x01\xc0"},
	{"bcache", 0x1018, "\xc6\x85\x73\xf6\x4e\x1a\x45\xca"},
	{"BlueStore", 0, "bluestore block device"},
	{"Oracle ASM", 32, "ORCLDISK"},
}

// uberblock is where ZFS keeps its array of blocks in the first label.
const uberblock = 0x20000

// Scan reads the ends of a LUN and names what it finds; nothing means that both
// ends are all zeroes. Only that is an empty LUN (invariant S8). An error means
// that nothing is known, never that it is empty.
func Scan(r io.ReaderAt, size int64) ([]string, error) {
	n := min(size, ends)
	head, err := part(r, 0, n)
	if err != nil {
		return nil, err
	}
	tail, err := part(r, size-n, n)
	if err != nil {
		return nil, err
	}
	var found []string
	for _, m := range signs {
		from, at := head, m.at
		if at < 0 {
			from, at = tail, n+at
		}
		if at >= 0 && at+int64(len(m.magic)) <= n && string(from[at:at+int64(len(m.magic))]) == m.magic {
			found = append(found, m.what)
		}
	}
	for at := uberblock; at+8 <= int(min(n, 2*uberblock)); at += 1024 {
		if v := head[at : at+8]; binary.LittleEndian.Uint64(v) == 0x00bab10c || binary.BigEndian.Uint64(v) == 0x00bab10c {
			found = append(found, "ZFS")
			break
		}
	}
	if len(found) == 0 && (!zero(head) || !zero(tail)) {
		found = append(found, "data of an unknown kind")
	}
	slices.Sort(found)
	return slices.Compact(found), nil
}

func part(r io.ReaderAt, at, n int64) ([]byte, error) {
	b := make([]byte, n)
	if got, err := r.ReadAt(b, at); int64(got) < n {
		if err == nil || errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, fmt.Errorf("scan at %d: %w", at, err)
	}
	return b, nil
}

func zero(b []byte) bool { return len(bytes.TrimLeft(b, "\x00")) == 0 }
