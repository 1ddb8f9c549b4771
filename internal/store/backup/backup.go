package backup

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"strconv"
	"time"

	"relight/internal/store"
)

// Version is the version of the form. A reader takes no other.
const Version = 1

const (
	magic = "relight-backup "
	// maxString bounds a frame's strings, so that a damaged length cannot ask for
	// all memory.
	maxString = 1 << 30
)

// Errors of a stream. Nothing of it may be used then.
var (
	// ErrForeign: this is no backup.
	ErrForeign = errors.New("not a backup of relight")
	// ErrVersion: a backup of another version of the form.
	ErrVersion = errors.New("backup of another version")
	// ErrDamaged: bytes are missing or have changed.
	ErrDamaged = errors.New("the backup is damaged or cut short")
)

// Header says what a backup was made of.
type Header struct {
	// At is when it was made, by the clock of the controller.
	At time.Time `json:"at"`
	// By is the version of the program that made it.
	By string `json:"by"`
}

// Writer writes a backup. Its first error sticks and is returned by Close.
type Writer struct {
	out   *bufio.Writer
	sum   hash.Hash
	count int
	err   error
}

// NewWriter begins a backup on w.
func NewWriter(w io.Writer, h Header) *Writer {
	sum := sha256.New()
	b := &Writer{out: bufio.NewWriterSize(io.MultiWriter(w, sum), 1<<16), sum: sum}
	_, b.err = fmt.Fprintf(b.out, "%s%d\n", magic, Version)
	raw, err := json.Marshal(h)
	b.err = errors.Join(b.err, err)
	b.frame('h', "", raw)
	return b
}

func (b *Writer) frame(kind byte, name string, data []byte) {
	if b.err == nil && max(len(name), len(data)) > maxString {
		b.err = fmt.Errorf("%q is too large for a backup: %d bytes", name, len(data))
	}
	if b.err != nil {
		return
	}
	head := binary.AppendUvarint([]byte{kind}, uint64(len(name)))
	head = binary.AppendUvarint(append(head, name...), uint64(len(data)))
	if _, b.err = b.out.Write(head); b.err == nil {
		_, b.err = b.out.Write(data)
	}
}

// Store adds all records of a store under the prefixes, as of one revision.
func (b *Writer) Store(ctx context.Context, st store.Store, prefixes ...string) error {
	if b.err != nil {
		return b.err
	}
	_, b.err = st.Scan(ctx, func(r store.Record) error {
		b.frame('r', r.Key, r.Value)
		b.count++
		return b.err
	}, prefixes...)
	return b.err
}

// File adds a file.
func (b *Writer) File(name string, content []byte) error {
	b.frame('f', name, content)
	b.count++
	return b.err
}

// Close ends the backup. Only a backup whose Close returned nil is whole.
func (b *Writer) Close() error {
	b.frame('e', "", strconv.AppendInt(nil, int64(b.count), 10))
	if b.err == nil {
		b.err = b.out.Flush()
	}
	if b.err == nil {
		_, b.err = b.out.Write(b.sum.Sum(nil))
	}
	if b.err == nil {
		b.err = b.out.Flush()
	}
	return b.err
}

// Item is a record or a file of a backup.
type Item struct {
	// File tells a file from a record.
	File bool
	// Name is the record's key or the file's name.
	Name string
	Data []byte
}

// Verify reads a whole backup and returns its header, or an error that wraps
// ErrForeign, ErrVersion or ErrDamaged.
func Verify(r io.Reader) (Header, error) { return Read(r, func(Item) error { return nil }) }

// Read visits what a backup holds, in its order. What was visited may be used only
// if Read returns nil: the sum comes last. Errors as with Verify, and visit's own.
func Read(r io.Reader, visit func(Item) error) (Header, error) {
	d := &reader{in: bufio.NewReaderSize(r, 1<<16), sum: sha256.New()}
	var h Header
	if err := d.begin(); err != nil {
		return h, err
	}
	kind, _, data := d.frame()
	if kind != 'h' || json.Unmarshal(data, &h) != nil {
		return h, d.damaged("its header cannot be read")
	}
	for count := 0; ; count++ {
		kind, name, data := d.frame()
		switch {
		case d.err != nil:
			return h, d.damaged("")
		case kind == 'r', kind == 'f':
			if err := visit(Item{File: kind == 'f', Name: name, Data: data}); err != nil {
				return h, err
			}
		case kind == 'e' && string(data) == strconv.Itoa(count):
			return h, d.end()
		default:
			return h, d.damaged(fmt.Sprintf("frame %d is not understood", count+1))
		}
	}
}

type reader struct {
	in  *bufio.Reader
	sum hash.Hash
	err error
}

func (d *reader) damaged(why string) error {
	switch {
	case d.err != nil && !errors.Is(d.err, io.EOF) && !errors.Is(d.err, io.ErrUnexpectedEOF) && !errors.Is(d.err, ErrDamaged):
		return d.err // the disk's or the network's
	case why == "" && d.err != nil:
		why = d.err.Error()
	}
	return fmt.Errorf("%w: %s", ErrDamaged, why)
}

func (d *reader) begin() error {
	line, err := d.in.ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if len(line) < len(magic) || line[:len(magic)] != magic {
		return ErrForeign
	}
	if want := fmt.Sprintf("%s%d\n", magic, Version); line != want {
		return fmt.Errorf("%w: it says %q, this program reads %q", ErrVersion, line, want)
	}
	d.sum.Write([]byte(line))
	return nil
}

func (d *reader) frame() (kind byte, name string, data []byte) {
	head := d.bytes(1)
	name = string(d.bytes(d.length()))
	data = d.bytes(d.length())
	if d.err != nil {
		return 0, "", nil
	}
	return head[0], name, data
}

// ReadByte implements io.ByteReader for varints.
func (d *reader) ReadByte() (byte, error) {
	b := d.bytes(1)
	if d.err != nil {
		return 0, d.err
	}
	return b[0], nil
}

func (d *reader) length() uint64 {
	if d.err != nil {
		return 0
	}
	n, err := binary.ReadUvarint(d)
	if d.err == nil && (err != nil || n > maxString) {
		d.err = fmt.Errorf("%w: a length cannot be read", ErrDamaged)
	}
	return n
}

// bytes grows with what comes, not with what was promised.
func (d *reader) bytes(n uint64) []byte {
	if d.err != nil || n > maxString {
		return nil
	}
	b, err := io.ReadAll(io.LimitReader(d.in, int64(n)))
	if err == nil && uint64(len(b)) < n {
		err = io.ErrUnexpectedEOF
	}
	d.err = err
	d.sum.Write(b)
	return b
}

func (d *reader) end() error {
	want := d.sum.Sum(nil)
	got := d.bytes(sha256.Size)
	if d.err != nil || string(got) != string(want) {
		return d.damaged("its checksum does not fit")
	}
	if _, err := d.in.ReadByte(); !errors.Is(err, io.EOF) {
		return d.damaged("something follows its end")
	}
	return nil
}
