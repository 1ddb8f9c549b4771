package guest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"hash/fnv"
	"io"
)

// RecordSize is the size of a record on a LUN in bytes: one block.
const RecordSize = 512

const recordMagic = "RELIGHT1"

// ErrForeign means that a LUN holds something that no writer has put there.
var ErrForeign = errors.New("the volume holds foreign data")

// Record is what the test writer appends: record n lies in block n modulo the
// number of blocks.
type Record struct {
	Seq   uint64
	Epoch uint64
	// Server is HashServer of the writer's server.
	Server uint64
}

// HashServer is a server's name as records carry it.
func HashServer(name string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(name))
	return h.Sum64()
}

// Put writes the record into the first RecordSize bytes of b.
func (r Record) Put(b []byte) {
	clear(b[:RecordSize])
	copy(b, recordMagic)
	binary.BigEndian.PutUint64(b[8:], r.Seq)
	binary.BigEndian.PutUint64(b[16:], r.Epoch)
	binary.BigEndian.PutUint64(b[24:], r.Server)
	binary.BigEndian.PutUint32(b[32:], crc32.ChecksumIEEE(b[:32]))
}

// ParseRecord reads a block. empty is true for one of zeros; an error means that
// it is neither: torn or foreign.
func ParseRecord(b []byte) (r Record, empty bool, err error) {
	if len(b) < RecordSize {
		return Record{}, false, io.ErrUnexpectedEOF
	}
	b = b[:RecordSize]
	if string(b[:8]) != recordMagic {
		for _, c := range b {
			if c != 0 {
				return Record{}, false, ErrForeign
			}
		}
		return Record{}, true, nil
	}
	if binary.BigEndian.Uint32(b[32:]) != crc32.ChecksumIEEE(b[:32]) {
		return Record{}, false, ErrForeign
	}
	return Record{
		Seq: binary.BigEndian.Uint64(b[8:]), Epoch: binary.BigEndian.Uint64(b[16:]), Server: binary.BigEndian.Uint64(b[24:]),
	}, false, nil
}

// Log is what is on a LUN that writers of one server have used.
type Log struct {
	// Blocks is how many records the LUN holds at most.
	Blocks uint64
	// Last is the highest record; its Seq is 0 if there is none.
	Last Record
	// Records are all that were found, by block.
	Records map[uint64]Record
	// Bad are blocks that hold neither a record in its place nor zeros.
	Bad []uint64
}

// chunk is how much is read at once: few large reads, since each one costs a round
// trip to the array.
const chunk = 1 << 20

// ReadLog reads a whole LUN of the given size in bytes. keep is whether Records
// are wanted. Buffers are aligned for O_DIRECT.
func ReadLog(r io.ReaderAt, size int64, keep bool) (Log, error) {
	l := Log{Blocks: uint64(size / RecordSize), Records: map[uint64]Record{}}
	buf := aligned(chunk)
	for at := int64(0); at < size; at += chunk {
		b := buf[:min(chunk, size-at)]
		if n, err := r.ReadAt(b, at); n < len(b) {
			return Log{}, fmt.Errorf("read the volume at %d: %w", at, err)
		}
		for i := 0; i+RecordSize <= len(b); i += RecordSize {
			block := uint64(at+int64(i)) / RecordSize
			rec, empty, err := ParseRecord(b[i:])
			switch {
			case empty:
			case err != nil || rec.Seq%l.Blocks != block:
				l.Bad = append(l.Bad, block)
			default:
				if rec.Seq > l.Last.Seq {
					l.Last = rec
				}
				if keep {
					l.Records[block] = rec
				}
			}
		}
	}
	return l, nil
}

// Fit refuses a LUN that is not the server's: one that holds foreign data or
// records of another server. A single bad block right after the last record is a
// write that was cut short. Errors: ErrForeign.
func (l Log) Fit(server string) error {
	if l.Last.Seq > 0 && l.Last.Server != HashServer(server) {
		return fmt.Errorf("records of another server: %w", ErrForeign)
	}
	if len(l.Bad) > 1 || len(l.Bad) == 1 && (l.Last.Seq == 0 || l.Bad[0] != (l.Last.Seq+1)%l.Blocks) {
		return fmt.Errorf("%d blocks, the first of them %d: %w", len(l.Bad), l.Bad[0], ErrForeign)
	}
	return nil
}
