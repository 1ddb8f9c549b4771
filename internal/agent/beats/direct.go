package beats

import (
	"context"
	"fmt"
	"io"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// direct is the path of a block device that is read and written past this host's memory:
// what others write there would else not be seen.
type direct string

func (p direct) open(context.Context) (device, error) {
	f, err := os.OpenFile(string(p), os.O_RDWR|unix.O_DIRECT|unix.O_SYNC, 0)
	if err != nil {
		return nil, err
	}
	return &disk{File: f, page: aligned((1 + chunk) * block)}, nil
}

// aligned is memory that begins at a block, as such reads and writes need it.
func aligned(n int) []byte {
	b := make([]byte, n+block)
	skip := int(-uintptr(unsafe.Pointer(&b[0])) % block) //nolint:gosec // only to see where it lies
	return b[skip : skip+n]
}

type disk struct {
	*os.File
	page []byte
}

// Size implements device.
func (d *disk) Size() (int64, error) { return d.Seek(0, io.SeekEnd) }

// ReadAt implements device.
func (d *disk) ReadAt(p []byte, at int64) (int, error) {
	done := 0
	for done < len(p) {
		from := (at + int64(done)) / block * block
		n, err := d.File.ReadAt(d.page, from)
		skip := int(at + int64(done) - from)
		if n <= skip {
			if err == nil {
				err = io.ErrUnexpectedEOF
			}
			return done, err
		}
		done += copy(p[done:], d.page[skip:n])
	}
	return done, nil
}

// WriteAt implements device, of whole blocks.
func (d *disk) WriteAt(p []byte, at int64) (int, error) {
	if at%block != 0 || len(p)%block != 0 || len(p) > len(d.page) {
		return 0, fmt.Errorf("a write of %d bytes at %d is not of whole blocks", len(p), at)
	}
	return d.File.WriteAt(d.page[:copy(d.page, p)], at)
}
