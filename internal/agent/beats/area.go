package beats

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"relight/internal/array"
	"relight/internal/enrol"
)

// An area is the beginning of a block device: a block that says what it is, and then one
// for each host. Blocks are of a size that all disks write whole.
const (
	block = 4096
	slots = 255
	// chunk is how many slots are read at once. Hosts take the first that is free, so that
	// behind a chunk without any there are no more.
	chunk = 15
	size  = (1 + slots) * block
)

// Errors of an Area.
var (
	// ErrForeign: the device holds something that is none of ours, and is left alone.
	ErrForeign = errors.New("it holds data that are no heartbeats")
	// ErrFull: each slot is some host's.
	ErrFull = errors.New("no slot is free")
)

var mark = []byte("RELIGHT HEARTBEATS 1\n")

// device is a block device that several hosts have; nothing is kept back in this one's
// memory.
type device interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Size() (int64, error)
}

// Area is a Store on a block device that all hosts share. Nobody hands the slots out: a
// host that has none takes the first that is free. Two that take the same at once see who
// wrote last when they look again, which each does before it writes; the other takes the
// next. One that loses its slot so is not seen for that long.
type Area struct {
	open func(ctx context.Context) (device, error)
	dev  device // nil while none is open
}

// NewArea makes an area on a device that is opened when it is needed, and again after it
// has failed.
func NewArea(open func(ctx context.Context) (device, error)) *Area { return &Area{open: open} }

// Close implements Store.
func (a *Area) Close() {
	if a.dev != nil {
		_ = a.dev.Close()
		a.dev = nil
	}
}

// with runs a piece of work on the open device, which a failure closes.
func (a *Area) with(ctx context.Context, work func(device) error) error {
	dev := a.dev
	if dev == nil {
		var err error
		if dev, err = a.open(ctx); err != nil {
			return err
		}
		a.dev = dev
	}
	// A read that hangs is ended by closing what it reads from.
	stop := context.AfterFunc(ctx, func() { _ = dev.Close() })
	err := work(dev)
	if !stop() || err != nil {
		a.Close()
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// Write implements Store. Errors: ErrForeign, ErrFull.
func (a *Area) Write(ctx context.Context, host string, content []byte) error {
	rec, err := record(host, content)
	if err == nil {
		err = a.with(ctx, func(d device) error {
			all, err := load(d)
			if err != nil {
				return err
			}
			at := all.slot(host)
			if at < 0 {
				return ErrFull
			}
			_, err = d.WriteAt(rec, int64(1+at)*block)
			return err
		})
	}
	if err != nil {
		return fmt.Errorf("write storage heartbeat: %w", err)
	}
	return nil
}

// Read implements Store. Errors: ErrForeign.
func (a *Area) Read(ctx context.Context) (map[string]string, error) {
	out := map[string]string{}
	err := a.with(ctx, func(d device) error {
		all, err := load(d)
		for _, s := range all {
			if _, twice := out[s.host]; s.host != "" && !twice {
				out[s.host] = s.content
			}
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read storage heartbeats: %w", err)
	}
	return out, nil
}

// slot is one host's place.
type slot struct {
	// free: nothing was ever written there. Without a host it is one that nobody can read.
	free          bool
	host, content string
}

type area []slot

// slot is the host's own, or else the first that is free; -1 if there is none.
func (a area) slot(host string) int {
	first := -1
	for i, s := range a {
		switch {
		case s.host == host:
			return i
		case s.free && first < 0:
			first = i
		}
	}
	return first
}

// load reads the area, as far as any host has a slot. What is empty at both ends is made
// one; anything else is left alone.
func load(d device) (area, error) {
	if err := prepared(d); err != nil {
		return nil, err
	}
	var out area
	for at := 0; at < slots; at += chunk {
		part := make([]byte, chunk*block)
		if _, err := d.ReadAt(part, int64(1+at)*block); err != nil {
			return nil, err
		}
		used := false
		for i := range chunk {
			s := read(part[i*block : (i+1)*block])
			used = used || !s.free
			out = append(out, s)
		}
		if !used {
			break
		}
	}
	return out, nil
}

func marked(d device) (bool, error) {
	head := make([]byte, block)
	_, err := d.ReadAt(head, 0)
	return bytes.HasPrefix(head, mark), err
}

// prepared sees to it that the device is an area.
func prepared(d device) error {
	if ok, err := marked(d); ok || err != nil {
		return err
	}
	is, err := d.Size()
	if err != nil {
		return err
	}
	if is < size {
		return fmt.Errorf("%d bytes are too few for an area of %d: %w", is, size, array.ErrInvalid)
	}
	found, err := array.Scan(d, is)
	if err != nil {
		return err
	}
	if len(found) > 0 {
		// Another host may have made the area meanwhile.
		ok, err := marked(d)
		if err == nil && !ok {
			err = fmt.Errorf("%v: %w; give the hosts an empty one for it", found, ErrForeign)
		}
		return err
	}
	head := make([]byte, block)
	copy(head, mark)
	_, err = d.WriteAt(head, 0)
	return err
}

// record is a host's block: checksum, lengths, name, heartbeat.
func record(host string, content []byte) ([]byte, error) {
	if err := enrol.CheckHost(host); err != nil {
		return nil, err
	}
	if len(content) > contentMost {
		return nil, fmt.Errorf("%d bytes, above %d", len(content), contentMost)
	}
	out := make([]byte, block)
	binary.BigEndian.PutUint16(out[4:], uint16(len(host)))
	binary.BigEndian.PutUint16(out[6:], uint16(len(content)))
	copy(out[8+copy(out[8:], host):], content)
	binary.BigEndian.PutUint32(out, crc32.ChecksumIEEE(out[4:]))
	return out, nil
}

// read is the reverse of record.
func read(b []byte) slot {
	host, content := int(binary.BigEndian.Uint16(b[4:])), int(binary.BigEndian.Uint16(b[6:]))
	switch {
	case len(bytes.TrimLeft(b, "\x00")) == 0:
		return slot{free: true}
	case binary.BigEndian.Uint32(b) != crc32.ChecksumIEEE(b[4:]) || host+content > len(b)-8:
		return slot{}
	}
	out := slot{host: string(b[8 : 8+host]), content: string(b[8+host : 8+host+content])}
	if enrol.CheckHost(out.host) != nil {
		return slot{}
	}
	return out
}
