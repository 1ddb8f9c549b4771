package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"iter"
	"slices"
	"time"
)

// Fault says what was done to a chain, as far as the chain can tell.
type Fault string

// The faults.
const (
	Edited     Fault = "edited"      // the bytes do not match their own hash
	Dropped    Fault = "dropped"     // one or more are missing
	Reordered  Fault = "reordered"   // it is there, but later
	Inserted   Fault = "inserted"    // there is one too many
	Replaced   Fault = "replaced"    // whole in itself, but of another history
	Truncated  Fault = "truncated"   // the chain ends before its head
	OtherShard Fault = "other shard" // it belongs to another shard's chain
	RolledBack Fault = "rolled back" // the head lies behind a checkpoint
)

// BadEntryError names the first place where a shard's chain does not hold.
type BadEntryError struct {
	Shard int
	// Seq is the number of the entry that should be there.
	Seq    uint64
	Fault  Fault
	Detail string
}

// Error implements error.
func (e *BadEntryError) Error() string {
	return fmt.Sprintf("audit entry %d of shard %d: %s: %s", e.Seq, e.Shard, e.Fault, e.Detail)
}

// BadCheckpointError names the first checkpoint that does not hold.
type BadCheckpointError struct {
	N      uint64
	Fault  Fault
	Detail string
}

// Error implements error.
func (e *BadCheckpointError) Error() string {
	return fmt.Sprintf("audit checkpoint %d: %s: %s", e.N, e.Fault, e.Detail)
}

// Each makes the reader that Verify wants out of a slice.
func Each(entries []Entry) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		for _, e := range entries {
			if !yield(e, nil) {
				return
			}
		}
	}
}

// Verify reads the entries that lead one shard's chain from one head to another
// and returns nil if they are exactly those, or a *BadEntryError. The chain must
// also pass through each anchor: heads of the same shard out of checkpoints.
// Anchors before from cannot be looked at and are left out. An error of the
// reader is returned as it is, with the place.
func Verify(entries iter.Seq2[Entry, error], from, to Head, anchors ...Head) error {
	w := walk{at: from, to: to, anchors: map[uint64]Hash{}}
	if err := w.begin(anchors); err != nil {
		return err
	}
	var early *Entry // the first entry with a number that is too high
	for e, err := range entries {
		if err != nil {
			return fmt.Errorf("audit entry %d of shard %d: %w", w.at.Seq+1, from.Shard, err)
		}
		if early != nil {
			if e.Seq == w.at.Seq+1 && e.Shard == from.Shard {
				return w.bad(Reordered, "it stands after entry %d", early.Seq)
			}
			continue
		}
		if e.Shard == from.Shard && e.Seq > w.at.Seq+1 && sumOf(e) == e.Hash {
			early = &e
			continue
		}
		if err := w.step(e); err != nil {
			return err
		}
	}
	if early != nil {
		return w.bad(Dropped, "entry %d stands in its place", early.Seq)
	}
	if w.at.Seq < to.Seq {
		return w.bad(Truncated, "the chain ends here, its head is entry %d", to.Seq)
	}
	if w.at != to {
		w.at.Seq--
		return w.bad(Replaced, "the chain does not end with its head's hash")
	}
	return nil
}

// walk is how far Verify has come along a chain.
type walk struct {
	at, to  Head
	anchors map[uint64]Hash
}

func (w *walk) begin(anchors []Head) error {
	if w.to.Seq < w.at.Seq {
		return &BadEntryError{w.to.Shard, w.to.Seq + 1, RolledBack, fmt.Sprintf("the chain was at entry %d already", w.at.Seq)}
	}
	for _, a := range anchors {
		if err := w.anchor(a); err != nil {
			return err
		}
	}
	return nil
}

func (w *walk) anchor(a Head) error {
	switch {
	case a.Shard != w.to.Shard || a.Seq < w.at.Seq:
		return nil
	case a.Seq > w.to.Seq:
		return &BadEntryError{w.to.Shard, w.to.Seq + 1, RolledBack, fmt.Sprintf("a checkpoint has seen entry %d", a.Seq)}
	case a.Seq == w.at.Seq && a.Hash != w.at.Hash:
		return &BadEntryError{w.to.Shard, a.Seq, Replaced, "a checkpoint has seen another hash"}
	}
	if known, ok := w.anchors[a.Seq]; ok && known != a.Hash {
		return &BadEntryError{w.to.Shard, a.Seq, Replaced, "two checkpoints have seen different hashes"}
	}
	w.anchors[a.Seq] = a.Hash
	return nil
}

func (w *walk) step(e Entry) error {
	switch {
	case e.Shard != w.at.Shard:
		return w.bad(OtherShard, "entry %d of shard %d stands in its place", e.Seq, e.Shard)
	case e.V != Version:
		return w.bad(Edited, "version %d is not known", e.V)
	case sumOf(e) != e.Hash:
		return w.bad(Edited, "its content does not match its hash")
	case e.Seq <= w.at.Seq || e.Seq > w.to.Seq:
		return w.bad(Inserted, "entry %d stands in its place, and the head is entry %d", e.Seq, w.to.Seq)
	case e.Prev != w.at.Hash:
		return w.bad(Replaced, "it does not follow the entry before it")
	}
	if seen, ok := w.anchors[e.Seq]; ok && seen != e.Hash {
		return w.bad(Replaced, "a checkpoint has seen another hash")
	}
	w.at = Head{Shard: e.Shard, Seq: e.Seq, Hash: e.Hash}
	return nil
}

func (w *walk) bad(f Fault, format string, args ...any) error {
	return &BadEntryError{w.at.Shard, w.at.Seq + 1, f, fmt.Sprintf(format, args...)}
}

// VerifyCheckpoints checks that the checkpoints follow each other from one that
// is known (the zero Checkpoint for the very first), that no shard goes
// backwards in them, and that each kept copy is among them. Its errors are
// *BadCheckpointErrors. Anchors then ties the shards' chains to them.
func VerifyCheckpoints(checkpoints []Checkpoint, from Checkpoint, kept ...Checkpoint) error {
	at := from
	hashes := map[uint64]Hash{from.N: from.Hash}
	for _, c := range checkpoints {
		bad := func(f Fault, detail string) error { return &BadCheckpointError{at.N + 1, f, detail} }
		switch {
		case c.V != Version || sumOfCheckpoint(c) != c.Hash:
			return bad(Edited, "its content does not match its hash")
		case c.N > at.N+1:
			return bad(Dropped, fmt.Sprintf("checkpoint %d stands in its place", c.N))
		case c.N <= at.N:
			return bad(Inserted, fmt.Sprintf("checkpoint %d stands in its place", c.N))
		case c.Prev != at.Hash:
			return bad(Replaced, "it does not follow the checkpoint before it")
		}
		if detail := backwards(at, c); detail != "" {
			return bad(RolledBack, detail)
		}
		at = c
		hashes[c.N] = c.Hash
	}
	for _, k := range kept {
		if k.N < from.N {
			continue
		}
		hash, ok := hashes[k.N]
		if !ok {
			return &BadCheckpointError{at.N + 1, RolledBack, fmt.Sprintf("a kept copy is of checkpoint %d", k.N)}
		}
		if hash != k.Hash {
			return &BadCheckpointError{k.N, Replaced, "a kept copy has another hash"}
		}
	}
	return nil
}

// backwards names the first shard that goes back from one checkpoint to the next.
func backwards(from, to Checkpoint) string {
	for _, before := range from.Heads {
		now, ok := headOf(to, before.Shard)
		if !ok || now.Seq < before.Seq || (now.Seq == before.Seq && now.Hash != before.Hash) {
			return fmt.Sprintf("shard %d was at entry %d before", before.Shard, before.Seq)
		}
	}
	return ""
}

// Anchors returns the heads of one shard in the checkpoints, for Verify.
func Anchors(checkpoints []Checkpoint, shard int) []Head {
	var heads []Head
	for _, c := range checkpoints {
		if h, ok := headOf(c, shard); ok && (len(heads) == 0 || heads[len(heads)-1] != h) {
			heads = append(heads, h)
		}
	}
	return heads
}

func headOf(c Checkpoint, shard int) (Head, bool) {
	i := slices.IndexFunc(c.Heads, func(h Head) bool { return h.Shard == shard })
	if i < 0 {
		return Head{}, false
	}
	return c.Heads[i], true
}

// form writes the hashed form of an entry or checkpoint: every field as its
// length in 8 bytes, big-endian, and its bytes.
type form struct{ bytes.Buffer }

func (f *form) field(data []byte) {
	f.number8(uint64(len(data)))
	f.Write(data)
}

func (f *form) number8(n uint64) {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], n)
	f.Write(b[:])
}

func (f *form) number(n uint64) {
	f.number8(8)
	f.number8(n)
}

func sumOf(e Entry) Hash {
	var f form
	f.field([]byte("relight/entry"))
	for _, n := range []uint64{uint64(e.V), uint64(e.Shard), e.Seq} {
		f.number(n)
	}
	f.field(e.Prev[:])
	f.field(e.Raw)
	return sha256.Sum256(f.Bytes())
}

func sumOfCheckpoint(c Checkpoint) Hash {
	var f form
	f.field([]byte("relight/checkpoint"))
	f.number(uint64(c.V))
	f.number(c.N)
	f.field([]byte(c.At.UTC().Format(time.RFC3339Nano)))
	f.field(c.Prev[:])
	f.number(uint64(len(c.Heads)))
	for _, h := range c.Heads {
		f.number(uint64(h.Shard))
		f.number(h.Seq)
		f.field(h.Hash[:])
	}
	return sha256.Sum256(f.Bytes())
}
