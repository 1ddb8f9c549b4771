package check

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"
	"unsafe"
)

// seen is one record as the watcher first saw it.
type seen struct {
	epoch, server uint64
	// after is when the last look began that did not find it: it landed later than
	// that. at is when it was found.
	after, at time.Time
}

// replaced is a record that was on the LUN and was overwritten by another one with
// its number.
type replaced struct {
	seq     uint64
	was, is uint64 // epochs
	at      time.Time
}

// Watcher reads a LUN's file while servers write to it, and remembers when each
// record came, and which was replaced.
type Watcher struct {
	file   *os.File
	blocks uint64
	now    func() time.Time
	buf    []byte

	mu       sync.Mutex
	records  []seen // by number; the first is no record
	replaced []replaced
	// missing is when the last look began that did not find the next record.
	missing time.Time
	err     error
}

// errOutrun means that the ring came round while nobody looked.
var errOutrun = errors.New("the writer has outrun the watcher; the LUN is too small for it")

// window is how many blocks are read at once. Behind the newest record it is where
// two writers that do not know of each other meet.
const window = 256

// Open opens a LUN's file past the page cache: what is on the disk counts.
func Open(path string, now func() time.Time) (*Watcher, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_DIRECT, 0)
	if err != nil {
		return nil, fmt.Errorf("watch: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("watch: %w", err)
	}
	return &Watcher{file: f, blocks: uint64(info.Size() / Size), now: now, buf: aligned((window + 16) * Size), records: make([]seen, 1)}, nil
}

// aligned makes a buffer that begins on a page, as reads past the cache want it.
func aligned(n int) []byte {
	b := make([]byte, n+4096)
	skip := 4096 - int(uintptr(unsafe.Pointer(&b[0]))%4096)
	return b[skip : skip+n]
}

// Run looks again and again until ctx ends.
func (w *Watcher) Run(ctx context.Context) {
	every := time.NewTicker(4 * time.Millisecond)
	defer every.Stop()
	for ctx.Err() == nil {
		w.Look()
		select {
		case <-ctx.Done():
		case <-every.C:
		}
	}
}

// Close ends the watch.
func (w *Watcher) Close() error { return w.file.Close() }

// Look takes in what is new.
func (w *Watcher) Look() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for again := true; again && w.err == nil; {
		again, w.err = w.look()
	}
}

// look reads the window around the newest record, and reports whether it was full
// of new ones.
func (w *Watcher) look() (again bool, err error) {
	next := uint64(len(w.records))
	// Half of the window is behind the newest record.
	from := next - min(next-1, window/2)
	begun := w.now()
	got, err := w.read(from, window)
	if err != nil {
		return false, err
	}
	at := w.now()
	for i, r := range got {
		seq := from + uint64(i)
		switch {
		case r.seq > seq && seq >= next:
			return false, fmt.Errorf("record %d is in the place of %d: %w", r.seq, seq, errOutrun)
		case r.seq != seq && seq >= next:
			w.missing = begun
			return false, nil
		case r.seq != seq:
			// Behind the newest record: the end tells whether it stays so.
		case seq < uint64(len(w.records)):
			w.again(seq, r, at)
		default:
			// A writer goes from one record to the next, so that all of these landed
			// after the first of them was missing.
			w.records = append(w.records, seen{epoch: r.epoch, server: r.server, after: w.missing, at: at})
		}
	}
	return true, nil
}

// again takes a record that was seen before.
func (w *Watcher) again(seq uint64, r record, at time.Time) {
	if old := &w.records[seq]; old.epoch != r.epoch {
		w.replaced = append(w.replaced, replaced{seq: seq, was: old.epoch, is: r.epoch, at: at})
		old.epoch = r.epoch
	}
}

// read reads the blocks of n records. One that cannot be read is number 0: it is
// being written, or torn, which the end decides.
func (w *Watcher) read(from uint64, n int) ([]record, error) {
	out := make([]record, 0, n)
	for len(out) < n {
		block := (from + uint64(len(out))) % w.blocks
		first := block &^ 7 // reads past the cache begin at 4 KiB
		count := min(uint64(n-len(out))+block-first, w.blocks-first)
		size := (count + 7) &^ 7 * Size
		if _, err := w.file.ReadAt(w.buf[:size], int64(first*Size)); err != nil {
			return nil, fmt.Errorf("watch: block %d: %w", first, err)
		}
		for b := block; b < first+count; b++ {
			r, _ := decode(w.buf[(b-first)*Size:])
			out = append(out, r)
		}
	}
	return out, nil
}
