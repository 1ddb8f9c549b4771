package iscsi

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
)

// Block is the block size that this package's commands assume, in bytes.
const Block = 512

// cdb joins the parts of a command descriptor block.
func cdb(op byte, parts ...[]byte) []byte {
	out := []byte{op}
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}

// Write10 is WRITE(10). Like its kin it names blocks by number, and its data is
// whole blocks.
func Write10(lun int, block uint64, data []byte) Command {
	return Command{LUN: lun, CDB: cdb(0x2a, []byte{0}, be(4, block), []byte{0}, be(2, uint64(len(data)/Block)), []byte{0}), Out: data}
}

// Write16 is WRITE(16).
func Write16(lun int, block uint64, data []byte) Command { return long(0x8a, lun, block, data) }

// WriteVerify10 is WRITE AND VERIFY(10).
func WriteVerify10(lun int, block uint64, data []byte) Command {
	c := Write10(lun, block, data)
	c.CDB[0] = 0x2e
	return c
}

// WriteVerify16 is WRITE AND VERIFY(16).
func WriteVerify16(lun int, block uint64, data []byte) Command { return long(0x8e, lun, block, data) }

// ORWrite16 is ORWRITE(16).
func ORWrite16(lun int, block uint64, data []byte) Command { return long(0x8b, lun, block, data) }

// WriteSame10 writes one block's data to one block.
func WriteSame10(lun int, block uint64, data []byte) Command {
	c := Write10(lun, block, data)
	c.CDB[0] = 0x41
	return c
}

// WriteSame16 writes one block's data to one block.
func WriteSame16(lun int, block uint64, data []byte) Command { return long(0x93, lun, block, data) }

// CompareAndWrite puts data in a block's place if it holds what is expected.
func CompareAndWrite(lun int, block uint64, expected, data []byte) Command {
	out := append(append([]byte{}, expected...), data...)
	return Command{LUN: lun, CDB: cdb(0x89, []byte{0}, be(8, block), []byte{0, 0, 0, 1, 0, 0}), Out: out}
}

// Unmap gives blocks back to the array.
func Unmap(lun int, block uint64, blocks uint32) Command {
	list := append(append(be(2, 22), be(2, 16)...), 0, 0, 0, 0)
	list = append(append(append(list, be(8, block)...), be(4, uint64(blocks))...), 0, 0, 0, 0)
	return Command{LUN: lun, CDB: cdb(0x42, []byte{0, 0, 0, 0, 0, 0}, be(2, uint64(len(list))), []byte{0}), Out: list}
}

func long(op byte, lun int, block uint64, data []byte) Command {
	return Command{LUN: lun, CDB: cdb(op, []byte{0}, be(8, block), be(4, uint64(len(data)/Block)), []byte{0, 0}), Out: data}
}

// Read16 is READ(16).
func Read16(lun int, block uint64, blocks int) Command {
	return Command{LUN: lun, CDB: cdb(0x88, []byte{0}, be(8, block), be(4, uint64(blocks)), []byte{0, 0}), In: blocks * Block}
}

// Capacity reads how many bytes a unit has.
func Capacity(ctx context.Context, p Path, lun int) (int64, error) {
	in, err := Do(ctx, p, fmt.Sprintf("read capacity of unit %d", lun), Command{LUN: lun, CDB: cdb(0x9e, []byte{0x10}, be(8, 0), be(4, 32), []byte{0, 0}), In: 32})
	if err != nil {
		return 0, err
	}
	if len(in) < 12 {
		return 0, fmt.Errorf("read capacity of unit %d: %w: %d bytes", lun, ErrProtocol, len(in))
	}
	if size := binary.BigEndian.Uint32(in[8:]); size != Block {
		return 0, fmt.Errorf("read capacity of unit %d: %w: blocks of %d bytes", lun, ErrProtocol, size)
	}
	return int64(binary.BigEndian.Uint64(in)+1) * Block, nil
}

// Units lists the numbers of a target's units that the path sees.
func Units(ctx context.Context, p Path) ([]int, error) {
	const size = 16 + 8*1024
	in, err := Do(ctx, p, "report units", Command{CDB: cdb(0xa0, []byte{0, 0, 0, 0, 0}, be(4, size), []byte{0, 0}), In: size})
	if err != nil {
		return nil, err
	}
	var out []int
	for at := 8; at+8 <= len(in); at += 8 {
		out = append(out, int(in[at]&0x3f)<<8|int(in[at+1]))
	}
	return out, nil
}

// Unit reads a unit as an io.ReaderAt, block by block if it must.
type Unit struct {
	Ctx  context.Context //nolint:containedctx // io.ReaderAt has no other place for it
	Path Path
	LUN  int
	Size int64
}

// ReadAt implements io.ReaderAt.
func (u Unit) ReadAt(b []byte, at int64) (int, error) {
	want := len(b)
	end := io.EOF
	if at >= u.Size {
		return 0, io.EOF
	}
	if left := u.Size - at; int64(want) > left {
		b = b[:left]
	} else {
		end = nil
	}
	done := 0
	for done < len(b) {
		from := (at + int64(done)) / Block
		skip := int((at + int64(done)) % Block)
		blocks := min((skip+len(b)-done+Block-1)/Block, 256)
		in, err := Do(u.Ctx, u.Path, fmt.Sprintf("read of unit %d", u.LUN), Read16(u.LUN, uint64(from), blocks))
		if err != nil {
			return done, err
		}
		if len(in) != blocks*Block {
			return done, fmt.Errorf("read of unit %d: %w: %d bytes instead of %d", u.LUN, ErrProtocol, len(in), blocks*Block)
		}
		done += copy(b[done:], in[skip:])
	}
	return done, end
}
