package image

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path"
)

// The kinds of files in an archive, as the kernel's newc format has them.
const (
	modeDir  = 0o040000
	modeFile = 0o100000
	modeChar = 0o020000
	modeLink = 0o120000
)

// file is one entry: its content is data, or that of the file at from.
type file struct {
	name         string
	mode         uint32
	from         string
	data         []byte
	major, minor uint32
}

// archive writes a cpio archive in the format "newc". Times are zero and the order
// is the given one, so that equal inputs give equal archives. Missing directories
// are added.
func archive(to io.Writer, files []file) error {
	w := &cpio{w: bufio.NewWriterSize(to, 1<<20), dirs: map[string]bool{".": true, "/": true}}
	for _, f := range files {
		if err := w.add(f); err != nil {
			return fmt.Errorf("archive %s: %w", f.name, err)
		}
	}
	if err := w.entry(file{name: "TRAILER!!!"}, nil); err != nil {
		return err
	}
	return w.w.Flush()
}

type cpio struct {
	w    *bufio.Writer
	dirs map[string]bool
	ino  uint32
	at   int64
}

func (c *cpio) add(f file) error {
	if dir := path.Dir(f.name); !c.dirs[dir] {
		if err := c.add(file{name: dir, mode: modeDir | 0o755}); err != nil {
			return err
		}
	}
	if f.mode&modeDir != 0 && f.mode&modeFile != modeFile {
		if c.dirs[f.name] {
			return nil
		}
		c.dirs[f.name] = true
	}
	data := f.data
	if f.from != "" {
		var err error
		if data, err = os.ReadFile(f.from); err != nil {
			return err
		}
	}
	return c.entry(f, data)
}

func (c *cpio) entry(f file, data []byte) error {
	c.ino++
	fields := []uint32{c.ino, f.mode, 0, 0, 1, 0, uint32(len(data)), 0, 0, f.major, f.minor, uint32(len(f.name) + 1), 0}
	head := "070701"
	for _, v := range fields {
		head += fmt.Sprintf("%08x", v)
	}
	for _, part := range [][]byte{[]byte(head + f.name + "\x00"), data} {
		n, err := c.w.Write(part)
		if err != nil {
			return err
		}
		c.at += int64(n)
		for ; c.at%4 != 0; c.at++ {
			if err := c.w.WriteByte(0); err != nil {
				return err
			}
		}
	}
	return nil
}
