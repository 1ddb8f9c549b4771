package check

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// lun is a file behind a LUN with a clock that the test turns.
type lun struct {
	*testing.T
	file *os.File
	w    *Watcher
	time time.Time
}

const blocks = 1024

func newLUN(t *testing.T) *lun {
	t.Helper()
	path := filepath.Join(t.TempDir(), "data.img")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(blocks * Size); err != nil {
		t.Fatal(err)
	}
	l := &lun{T: t, file: f, time: time.Unix(1000, 0)}
	if l.w, err = Open(path, func() time.Time { return l.time }); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = f.Close(), l.w.Close() })
	return l
}

func (l *lun) block(n uint64, b []byte) {
	l.Helper()
	if _, err := l.file.WriteAt(b, int64(n%blocks*Size)); err != nil {
		l.Fatal(err)
	}
}

// write appends records of an epoch; a look follows.
func (l *lun) write(epoch, from, to uint64) {
	l.Helper()
	for seq := from; seq <= to; seq++ {
		b := make([]byte, Size)
		copy(b, magic)
		binary.BigEndian.PutUint64(b[8:], seq)
		binary.BigEndian.PutUint64(b[16:], epoch)
		binary.BigEndian.PutUint64(b[24:], 7)
		binary.BigEndian.PutUint32(b[32:], crc32.ChecksumIEEE(b[:32]))
		l.block(seq, b)
		if seq%blocks == 0 {
			l.look()
		}
	}
	l.look()
}

// look lets a second go by and looks.
func (l *lun) look() {
	if err := l.file.Sync(); err != nil { // the watcher reads past the cache
		l.Fatal(err)
	}
	l.time = l.time.Add(time.Second)
	l.w.Look()
}

func acks(epoch, from, to uint64) []Ack {
	var out []Ack
	for s := from; s <= to; s++ {
		out = append(out, Ack{Seq: s, Epoch: epoch})
	}
	return out
}

func (l *lun) want(acked []Ack, fences []Fence, lost, stale, torn int, word string) {
	l.Helper()
	f, err := l.w.Judge(acked, fences)
	if err != nil {
		l.Fatal(err)
	}
	if f.Lost != lost || f.Stale != stale || f.Torn != torn || f.OK() != (lost+stale+torn == 0) {
		l.Errorf("%s, want lost=%d stale=%d torn=%d\n%s", f, lost, stale, torn, strings.Join(f.Notes, "\n"))
	}
	if !strings.Contains(strings.Join(f.Notes, "\n"), word) {
		l.Errorf("no word of %q in %q", word, f.Notes)
	}
}

func TestNothingWrong(t *testing.T) {
	l := newLUN(t)
	l.look()
	l.want(nil, nil, 0, 0, 0, "")
	l.write(1, 1, 700)
	fence := Fence{Epoch: 1, At: l.time.Add(time.Millisecond)}
	l.write(2, 701, 1900) // the ring comes round
	l.want(append(acks(1, 1, 700), acks(2, 701, 1900)...), []Fence{fence}, 0, 0, 0, "")
	if _, seq := l.w.First(2); seq != 701 {
		t.Errorf("epoch 2 begins at %d", seq)
	}
	if seq, epoch, _ := l.w.Last(); seq != 1900 || epoch != 2 {
		t.Errorf("the last is %d of epoch %d", seq, epoch)
	}
}

func TestLost(t *testing.T) {
	t.Run("not there", func(t *testing.T) {
		l := newLUN(t)
		l.write(1, 1, 10)
		l.want(acks(1, 1, 12), nil, 2, 0, 0, "it is not there")
	})
	t.Run("of another epoch", func(t *testing.T) {
		l := newLUN(t)
		l.write(1, 1, 10)
		l.write(2, 11, 20)
		l.want(acks(1, 1, 12), nil, 2, 0, 0, "and it is of epoch 2")
	})
	t.Run("seen and written over", func(t *testing.T) {
		l := newLUN(t)
		l.write(1, 1, 10)
		l.write(2, 9, 20)
		l.want(nil, nil, 2, 0, 0, "it was of epoch 1")
	})
	t.Run("written over far behind", func(t *testing.T) {
		l := newLUN(t)
		l.write(1, 1, 600)
		l.write(2, 5, 5)
		l.want(nil, nil, 1, 0, 0, "it was of epoch 1")
	})
}

func TestStale(t *testing.T) {
	t.Run("after the fence", func(t *testing.T) {
		l := newLUN(t)
		l.write(1, 1, 10)
		fence := []Fence{{Epoch: 1, At: l.time}}
		l.look()
		l.write(1, 11, 13)
		l.write(2, 14, 20)
		l.want(acks(1, 1, 13), fence, 0, 3, 0, "epoch 1 was fenced at")
	})
	t.Run("before the fence, found after it", func(t *testing.T) {
		l := newLUN(t)
		l.write(1, 1, 10)
		fence := []Fence{{Epoch: 1, At: l.time.Add(500 * time.Millisecond)}}
		l.write(1, 11, 13)
		l.want(nil, fence, 0, 0, 0, "")
	})
	t.Run("between the new epoch's", func(t *testing.T) {
		l := newLUN(t)
		l.write(1, 1, 10)
		l.write(2, 11, 12)
		l.write(1, 13, 14)
		l.write(2, 15, 16)
		l.want(nil, nil, 0, 2, 0, "after records of epoch 2")
	})
	t.Run("over the new epoch's", func(t *testing.T) {
		l := newLUN(t)
		l.write(1, 1, 10)
		l.write(2, 11, 20)
		l.write(1, 15, 15)
		l.want(nil, nil, 1, 1, 0, "epoch 1 wrote over epoch 2")
	})
}

func TestOutrun(t *testing.T) {
	l := newLUN(t)
	l.write(1, blocks+1, blocks+20)
	if _, err := l.w.Judge(nil, nil); !errors.Is(err, errOutrun) {
		t.Errorf("error %v", err)
	}
}

func TestTorn(t *testing.T) {
	l := newLUN(t)
	l.write(1, 1, 20)
	b := make([]byte, Size)
	copy(b, magic)
	l.block(21, b) // the write over which the writer was killed
	l.look()
	l.want(nil, nil, 0, 0, 0, "")
	l.block(5, b)
	l.want(nil, nil, 1, 0, 1, "its block holds record 0")
}
