package etcd

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"io"
)

// A reader of bbolt files that trusts nothing. bbolt's own check follows the
// pointers of a mapped file, so that a flipped one can end the process; and it
// accepts a page that has lost entries.
//
// Layout, all little endian: pages of one size; pages 0 and 1 hold a meta each,
// the valid one with the higher transaction counts; a tree of branch and leaf
// pages hangs from it. A page is a header (id 8, flags 2, count 2, overflow 4),
// then elements of 16 bytes, then keys and values in order without gaps.
const (
	pageHeader  = 16
	elementSize = 16
	branchPage  = 1
	leafPage    = 2
	bucketEntry = 1
	metaSize    = 64
	boltMagic   = 0xED0CDAED
	boltVersion = 2
	maxDepth    = 64
)

var le = binary.LittleEndian

type boltFile struct {
	ctx      context.Context
	file     io.ReaderAt
	pageSize int
	root     uint64
	high     uint64 // pages from here on are not in use
	seen     []bool // by page: part of the tree already
	leaf     []byte // reused for each leaf page
}

type element struct {
	flags      uint32
	key, value []byte
	child      uint64 // of a branch
}

// openBolt reads the meta pages of a file of a size.
func openBolt(ctx context.Context, file io.ReaderAt, size int64) (*boltFile, error) {
	b := &boltFile{ctx: ctx, file: file}
	newest := uint64(0)
	take := func(offset int64) bool {
		meta := make([]byte, pageHeader+metaSize)
		if _, err := file.ReadAt(meta, offset); err != nil {
			return false
		}
		meta = meta[pageHeader:]
		sum := fnv.New64a()
		_, _ = sum.Write(meta[:metaSize-8])
		if le.Uint32(meta) != boltMagic || le.Uint32(meta[4:]) != boltVersion || le.Uint64(meta[56:]) != sum.Sum64() {
			return false
		}
		if tx := le.Uint64(meta[48:]); b.pageSize == 0 || tx > newest {
			newest = tx
			b.pageSize = int(le.Uint32(meta[8:]))
			b.root, b.high = le.Uint64(meta[16:]), le.Uint64(meta[40:])
		}
		return true
	}
	if take(0) {
		take(int64(b.pageSize))
	} else {
		for guess := int64(1024); guess <= 65536 && !take(guess); guess *= 2 {
		}
	}
	if b.pageSize < 1024 || b.pageSize > 65536 {
		return nil, bad("neither of the two meta pages is valid")
	}
	if b.high < 2 || b.high > uint64(size)/uint64(b.pageSize) {
		return nil, bad("the file has %d bytes, but %d pages of %d are in use", size, b.high, b.pageSize)
	}
	b.seen = make([]bool, b.high)
	return b, nil
}

// page reads a page with its overflow and takes it out of circulation. The
// elements of a leaf are valid until the next leaf is read.
func (b *boltFile) page(id uint64) (leaf bool, elements []element, err error) {
	if err := b.ctx.Err(); err != nil {
		return false, nil, err
	}
	if id < 2 || id >= b.high {
		return false, nil, bad("pointer to page %d of %d", id, b.high)
	}
	var header [pageHeader]byte
	if _, err := b.file.ReadAt(header[:], int64(id)*int64(b.pageSize)); err != nil {
		return false, nil, bad("page %d: %w", id, err)
	}
	flags, count, extra := le.Uint16(header[8:]), int(le.Uint16(header[10:])), uint64(le.Uint32(header[12:]))
	switch {
	case le.Uint64(header[:]) != id:
		return false, nil, bad("page %d calls itself page %d", id, le.Uint64(header[:]))
	case flags != branchPage && flags != leafPage:
		return false, nil, bad("page %d has type %#x", id, flags)
	case extra >= b.high-id:
		return false, nil, bad("page %d reaches beyond page %d", id, b.high)
	}
	for p := id; p <= id+extra; p++ {
		if b.seen[p] {
			return false, nil, bad("page %d is in use twice", p)
		}
		b.seen[p] = true
	}
	leaf = flags == leafPage
	size := int(extra+1) * b.pageSize
	data := b.leaf
	if !leaf || cap(data) < size {
		data = make([]byte, size)
	}
	data = data[:size]
	if leaf {
		b.leaf = data
	}
	if _, err := b.file.ReadAt(data, int64(id)*int64(b.pageSize)); err != nil {
		return false, nil, bad("page %d: %w", id, err)
	}
	elements, used, err := parse(data, count, leaf)
	if err != nil {
		return false, nil, bad("page %d: %w", id, err)
	}
	if used <= size-b.pageSize {
		return false, nil, bad("page %d: %d bytes are used of %d", id, used, size)
	}
	return leaf, elements, nil
}

// parse cuts a page into elements and returns how many bytes they take. That
// keys and values follow each other without gaps is what finds a flip in a
// count, place or size.
func parse(data []byte, count int, leaf bool) ([]element, int, error) {
	at := pageHeader + count*elementSize
	if at > len(data) {
		return nil, 0, bad("%d elements do not fit", count)
	}
	elements := make([]element, count)
	for i := range elements {
		e, from := &elements[i], pageHeader+i*elementSize
		raw := data[from : from+elementSize]
		place, keySize, valueSize := le.Uint32(raw), le.Uint32(raw[4:]), uint32(0)
		if leaf {
			e.flags, place, keySize, valueSize = le.Uint32(raw), le.Uint32(raw[4:]), le.Uint32(raw[8:]), le.Uint32(raw[12:])
		} else {
			e.child = le.Uint64(raw[8:])
		}
		if uint64(from)+uint64(place) != uint64(at) {
			return nil, 0, bad("element %d is not where the one before ends", i)
		}
		if uint64(keySize)+uint64(valueSize) > uint64(len(data)-at) {
			return nil, 0, bad("element %d reaches beyond the page", i)
		}
		e.key = data[at : at+int(keySize)]
		at += int(keySize)
		e.value = data[at : at+int(valueSize)]
		at += int(valueSize)
	}
	return elements, at, nil
}

// walk visits the leaf elements of a tree in order. All keys must lie at or above
// low and below high (nil: no bound) and rise.
func (b *boltFile) walk(id uint64, low, high []byte, depth int, visit func(element) error) error {
	if depth > maxDepth {
		return bad("the tree is deeper than %d pages", maxDepth)
	}
	leaf, elements, err := b.page(id)
	if err != nil {
		return err
	}
	if err := ordered(elements, low, high); err != nil {
		return fmt.Errorf("page %d: %w", id, err)
	}
	if leaf {
		for _, e := range elements {
			if err := visit(e); err != nil {
				return fmt.Errorf("page %d: %w", id, err)
			}
		}
		return nil
	}
	if len(elements) == 0 {
		return bad("page %d: a branch without children", id)
	}
	for i, e := range elements {
		end := high
		if i+1 < len(elements) {
			end = elements[i+1].key
		}
		if err := b.walk(e.child, e.key, end, depth+1, visit); err != nil {
			return err
		}
	}
	return nil
}

func ordered(elements []element, low, high []byte) error {
	for i, e := range elements {
		switch {
		case i > 0 && bytes.Compare(elements[i-1].key, e.key) >= 0:
			return bad("keys %d and %d are out of order", i-1, i)
		case bytes.Compare(e.key, low) < 0, high != nil && bytes.Compare(e.key, high) >= 0:
			return bad("key %d does not belong here", i)
		}
	}
	return nil
}

// buckets visits each bucket of the root with a function that walks it.
func (b *boltFile) buckets(visit func(name string, walk func(func(element) error) error) error) error {
	type bucket struct {
		name   string
		root   uint64
		inline []byte
	}
	var found []bucket
	err := b.walk(b.root, nil, nil, 0, func(e element) error {
		if e.flags != bucketEntry || len(e.value) < 16 {
			return bad("entry %q of the root is no bucket", e.key)
		}
		found = append(found, bucket{string(e.key), le.Uint64(e.value), bytes.Clone(e.value[16:])})
		return nil
	})
	if err != nil {
		return err
	}
	for _, f := range found {
		plain := func(visit func(element) error) func(element) error {
			return func(e element) error {
				if e.flags != 0 {
					return bad("key %x has flags %#x", e.key, e.flags)
				}
				return visit(e)
			}
		}
		err := visit(f.name, func(visit func(element) error) error {
			if f.root == 0 {
				return walkInline(f.inline, plain(visit))
			}
			if len(f.inline) > 0 {
				return bad("both a page and content inline")
			}
			return b.walk(f.root, nil, nil, 0, plain(visit))
		})
		if err != nil {
			return fmt.Errorf("bucket %q: %w", f.name, err)
		}
	}
	return nil
}

// walkInline visits a small bucket that is kept inside the root's entry.
func walkInline(data []byte, visit func(element) error) error {
	if len(data) < pageHeader || le.Uint16(data[8:]) != leafPage || le.Uint32(data[12:]) != 0 || le.Uint64(data) != 0 {
		return bad("content inline is no leaf")
	}
	elements, used, err := parse(data, int(le.Uint16(data[10:])), true)
	if err != nil {
		return err
	}
	if used != len(data) {
		return bad("content inline takes %d of %d bytes", used, len(data))
	}
	if err := ordered(elements, nil, nil); err != nil {
		return err
	}
	for _, e := range elements {
		if err := visit(e); err != nil {
			return err
		}
	}
	return nil
}
