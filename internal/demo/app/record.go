package app

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"strconv"
	"time"
)

// RecordSize is the length of each record in bytes. All have the same, so that a
// second writer overwrites whole records of the first: the loss then shows as
// what it is.
const RecordSize = 64

// LogName is the log's name within the volume.
const LogName = "log"

// ErrRecord means that bytes are no record.
var ErrRecord = errors.New("damaged record")

// Kind says who asked for a record.
type Kind byte

// The kinds of records.
const (
	// Write is a client's.
	Write Kind = 'w'
	// Tick is the application's own, written to show that it lives.
	Tick Kind = 't'
)

// Record is one line of the log.
type Record struct {
	Kind Kind
	// ID is the client's name for the write; 0 for ticks.
	ID uint64
	// Writer names the process that wrote it, 24 hexadecimal digits.
	Writer string
	// Seq numbers the records of one writer: 1, 2, 3 …
	Seq uint64
}

// NewWriter names this process: its id, its start in milliseconds, and chance.
func NewWriter(start time.Time) (string, error) {
	var b [12]byte
	if _, err := rand.Read(b[8:]); err != nil {
		return "", fmt.Errorf("name the writer: %w", err)
	}
	pid, ms := uint32(os.Getpid()), uint32(start.UnixMilli())
	for i := range 4 {
		b[i], b[4+i] = byte(pid>>(24-8*i)), byte(ms>>(24-8*i))
	}
	return hex.EncodeToString(b[:]), nil
}

// Encode returns the record as a line of RecordSize bytes.
func (r Record) Encode() []byte {
	b := fmt.Appendf(make([]byte, 0, RecordSize), "%c %016x %24s %010x ", r.Kind, r.ID, r.Writer, r.Seq)
	return fmt.Appendf(b, "%08x\n", crc32.ChecksumIEEE(b))
}

// Decode reads a record that Encode made. Anything else is ErrRecord.
func Decode(b []byte) (Record, error) {
	if len(b) != RecordSize {
		return Record{}, fmt.Errorf("%w: %d bytes", ErrRecord, len(b))
	}
	id, err1 := strconv.ParseUint(string(b[2:18]), 16, 64)
	seq, err2 := strconv.ParseUint(string(b[44:54]), 16, 64)
	r := Record{Kind: Kind(b[0]), ID: id, Writer: string(b[19:43]), Seq: seq}
	if err := errors.Join(err1, err2); err != nil || !bytes.Equal(r.Encode(), b) {
		return Record{}, fmt.Errorf("%w: %q", ErrRecord, b)
	}
	return r, nil
}
