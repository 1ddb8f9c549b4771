package mount

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"relight/internal/core/mount"
)

const (
	// edge is how much is read at both ends of a disk. Every signature that is in use
	// lies there: file systems, partition tables, LVM, RAID and LUKS, with the second
	// copies that some keep at the end.
	edge = 4 << 20
	// Between the ends samples are read: whoever overwrote only the signatures has
	// data there still.
	samples, sample = 256, 64 << 10
)

// content tells what a disk holds. Two look at it, and Blank needs both: blkid, which
// knows the signatures but calls a disk of unknown data empty, and our own eyes.
func (m *Machine) content(ctx context.Context, d mount.Disk) (mount.Content, error) {
	f, err := m.open(d)
	if err != nil {
		return mount.Unread, err
	}
	defer func() { _ = f.Close() }()
	blank, err := isBlank(f)
	if err != nil {
		return mount.Unread, err
	}
	// -p reads the disk itself, not what some program thought of it earlier.
	out, code, err := m.Run(ctx, "blkid", "-p", "-o", "export", d.Node)
	switch {
	case err != nil:
		return mount.Unread, fmt.Errorf("%w; next: install util-linux", err)
	case code == 0:
		return named(out), nil
	case code == 2 && blank: // blkid found nothing
		return mount.Blank, nil
	case code == 2, code == 8: // 8: several signatures that contradict each other
		return mount.Foreign, nil
	default:
		return mount.Unread, fmt.Errorf("blkid ended with %d: %s", code, brief(out))
	}
}

// named reads what blkid says a disk holds.
func named(out string) mount.Content {
	var table string
	for line := range strings.Lines(out) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch key {
		case "TYPE":
			return mount.Content(value)
		case "PTTYPE":
			table = value
		}
	}
	if table != "" {
		return mount.Content(table)
	}
	return mount.Foreign
}

// isBlank reports whether nothing but zeros is found at both ends of the disk and at
// places spread over it.
func isBlank(f *os.File) (bool, error) {
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return false, err
	}
	if size == 0 {
		return false, fmt.Errorf("%s has no size", f.Name())
	}
	for _, span := range spans(size) {
		zero, err := isZero(f, span[0], span[1])
		if err != nil || !zero {
			return false, err
		}
	}
	return true, nil
}

// spans are what is read of a disk of that many bytes: from and to.
func spans(size int64) [][2]int64 {
	if size <= 2*edge+samples*sample {
		return [][2]int64{{0, size}}
	}
	out := [][2]int64{{0, edge}, {size - edge, size}}
	step := (size - 2*edge) / samples
	for n := range int64(samples) {
		at := (edge + n*step) &^ 4095
		out = append(out, [2]int64{at, at + sample})
	}
	return out
}

var zeros [1 << 20]byte

func isZero(r io.ReaderAt, from, to int64) (bool, error) {
	buf := make([]byte, min(to-from, int64(len(zeros))))
	for at := from; at < to; at += int64(len(buf)) {
		b := buf[:min(int64(len(buf)), to-at)]
		if n, err := r.ReadAt(b, at); n < len(b) {
			// What cannot be read is not blank, and not known to hold anything.
			return false, fmt.Errorf("read at %d: %w", at, err)
		}
		if !bytes.Equal(b, zeros[:len(b)]) {
			return false, nil
		}
	}
	return true, nil
}

// brief is what a program wrote, on one line for people.
func brief(out string) string {
	var lines []string
	for line := range strings.Lines(out) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "dmesg(1)") {
			lines = append(lines, line)
		}
	}
	text := strings.Join(lines, "; ")
	return text[:min(len(text), 300)]
}
