package controller

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sort"
	"sync"
	"time"

	"relight/internal/audit"
	"relight/internal/core/event"
	"relight/internal/store"
)

// ringSize is how many of the latest events are kept in memory for those who ask.
const ringSize = 20000

// segmentSize is how many entries of a shard go into one closed segment; a shard
// is compacted once it holds twice as many.
const segmentSize = 2000

// Chronicle is the journal read back: the latest events in memory, the whole
// record in the store and its closed segments.
type Chronicle struct {
	store store.Store
	state *State
	// dir is where closed segments go; empty keeps everything in the store.
	dir string

	mu   sync.RWMutex
	ring []Recorded
	// bell is closed and replaced at each new batch.
	bell chan struct{}
	// lost is true once the ring has dropped events.
	lost bool
}

// NewChronicle reads what the store holds of the journal.
func NewChronicle(ctx context.Context, st store.Store, state *State, dir string) (*Chronicle, error) {
	c := &Chronicle{store: st, state: state, dir: dir, bell: make(chan struct{})}
	for shard := range Shards {
		entries, err := c.stored(ctx, shard)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			ev, err := e.Event()
			if err != nil {
				return nil, fmt.Errorf("read the journal: %w", err)
			}
			c.ring = append(c.ring, Recorded{Shard: shard, Seq: e.Seq, Event: ev})
			c.lost = c.lost || e.Seq > 1 && len(c.ring) == 1
		}
	}
	sort.SliceStable(c.ring, func(a, b int) bool { return c.ring[a].Event.At.Before(c.ring[b].Event.At) })
	c.trim()
	return c, nil
}

// stored returns the entries of a shard that are still in the store, in order.
func (c *Chronicle) stored(ctx context.Context, shard int) ([]audit.Entry, error) {
	records, _, err := c.store.List(ctx, audit.Prefix(shard))
	if err != nil {
		return nil, fmt.Errorf("read the journal of shard %d: %w", shard, err)
	}
	entries := make([]audit.Entry, 0, len(records))
	for _, r := range records {
		e, err := audit.DecodeEntry(r.Value)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", r.Key, err)
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// Add is the journal's listener.
func (c *Chronicle) Add(batch []Recorded) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ring = append(c.ring, batch...)
	c.trim()
	close(c.bell)
	c.bell = make(chan struct{})
}

func (c *Chronicle) trim() {
	if extra := len(c.ring) - ringSize; extra > ringSize/10 {
		c.ring = append([]Recorded(nil), c.ring[extra:]...)
		c.lost = true
	}
}

// ID is the event's cursor: its place in its shard's chain.
func (r Recorded) ID() string {
	return fmt.Sprintf("%d-%02d-%d", r.Event.At.UnixMilli(), r.Shard, r.Seq)
}

// errCursorGone means that the events after the cursor are no longer in memory.
var errCursorGone = errors.New("the cursor is too old")

// after returns the events that follow a cursor ("" for all that are kept) and a
// channel that closes when there are more.
func (c *Chronicle) after(cursor string) ([]Recorded, <-chan struct{}, error) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if cursor == "" {
		return c.ring, c.bell, nil
	}
	for i := len(c.ring) - 1; i >= 0; i-- {
		if c.ring[i].ID() == cursor {
			return c.ring[i+1:], c.bell, nil
		}
	}
	return nil, nil, errCursorGone
}

// Latest returns the last n events that match, oldest first.
func (c *Chronicle) Latest(n int, match func(event.Event) bool) []Recorded {
	c.mu.RLock()
	defer c.mu.RUnlock()
	var out []Recorded
	for i := len(c.ring) - 1; i >= 0 && len(out) < n; i-- {
		if match(c.ring[i].Event) {
			out = append(out, c.ring[i])
		}
	}
	for i, k := 0, len(out)-1; i < k; i, k = i+1, k-1 {
		out[i], out[k] = out[k], out[i]
	}
	return out
}

// Verified is the outcome of checking one shard.
type Verified struct {
	Shard   int
	Entries uint64
	Head    audit.Head
	Err     error
}

// Verify checks every chain from its first entry, through the closed segments
// and the store, up to the head that the state knows, and that each destructive
// step has its intent before it (S12).
func (c *Chronicle) Verify(ctx context.Context) ([]Verified, error) {
	checkpoints, err := c.checkpoints(ctx)
	if err != nil {
		return nil, err
	}
	if err := audit.VerifyCheckpoints(checkpoints, audit.Checkpoint{}); err != nil {
		return nil, fmt.Errorf("verify the checkpoints: %w", err)
	}
	var out []Verified
	for shard := range Shards {
		v := Verified{Shard: shard}
		v.Head, v.Err = c.verifyShard(ctx, shard, audit.Anchors(checkpoints, shard))
		v.Entries = v.Head.Seq
		out = append(out, v)
	}
	return out, nil
}

func (c *Chronicle) verifyShard(ctx context.Context, shard int, anchors []audit.Head) (audit.Head, error) {
	head, _ := c.state.head(shard)
	entries, err := c.Entries(ctx, shard)
	if err != nil {
		return head, err
	}
	// The head was read first: entries that came since are not its business.
	for len(entries) > 0 && entries[len(entries)-1].Seq > head.Seq {
		entries = entries[:len(entries)-1]
	}
	if err := audit.Verify(audit.Each(entries), audit.Genesis(shard), head, anchors...); err != nil {
		return head, err
	}
	return head, audit.CheckDestructive(audit.Each(entries))
}

// Entries returns a shard's whole chain, closed segments first.
func (c *Chronicle) Entries(ctx context.Context, shard int) ([]audit.Entry, error) {
	return c.since(ctx, shard, 0)
}

// since returns a shard's entries from a number on. The store is read before the
// closed segments: what compaction takes away meanwhile is in a segment by then.
func (c *Chronicle) since(ctx context.Context, shard int, from uint64) ([]audit.Entry, error) {
	stored, err := c.stored(ctx, shard)
	if err != nil {
		return nil, err
	}
	var out []audit.Entry
	if len(stored) == 0 || stored[0].Seq > from {
		paths, err := c.segments(shard)
		if err != nil {
			return nil, err
		}
		for _, p := range paths {
			seg, err := audit.ReadSegment(p)
			if err != nil {
				return nil, err
			}
			out = append(out, seg.Entries...)
		}
	}
	for _, e := range stored {
		// A crash between closing a segment and compacting leaves entries in both.
		if len(out) == 0 || e.Seq > out[len(out)-1].Seq {
			out = append(out, e)
		}
	}
	first := 0
	for first < len(out) && out[first].Seq < from {
		first++
	}
	return out[first:], nil
}

func (c *Chronicle) checkpoints(ctx context.Context) ([]audit.Checkpoint, error) {
	records, _, err := c.store.List(ctx, checkpointPrefix)
	if err != nil {
		return nil, fmt.Errorf("read the checkpoints: %w", err)
	}
	var out []audit.Checkpoint
	for _, r := range records {
		cp, err := audit.DecodeCheckpoint(r.Value)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", r.Key, err)
		}
		out = append(out, cp)
	}
	return out, nil
}

// Checkpoint joins the heads of all chains, so that the tail of one cannot be
// cut off unseen. It does nothing if no chain has moved.
func (c *Chronicle) Checkpoint(ctx context.Context, now time.Time) error {
	all, err := c.checkpoints(ctx)
	if err != nil {
		return err
	}
	var last audit.Checkpoint
	if n := len(all); n > 0 {
		last = all[n-1]
	}
	var heads []audit.Head
	for shard := range Shards {
		head, _ := c.state.head(shard)
		heads = append(heads, head)
	}
	next, err := last.Next(now, heads)
	if err != nil {
		return fmt.Errorf("make a checkpoint: %w", err)
	}
	raw, err := next.Encode()
	if err != nil {
		return fmt.Errorf("make a checkpoint: %w", err)
	}
	key := audit.CheckpointKey(next.N)
	if _, err := c.store.Commit(ctx, store.Txn{Compares: []store.Compare{{Key: key}}, Ops: []store.Op{{Key: key, Value: raw}}}); err != nil {
		return fmt.Errorf("write checkpoint %d: %w", next.N, err)
	}
	return nil
}

var checkpointPrefix = audit.CheckpointKey(0)[:len(audit.CheckpointKey(0))-20]

// segments lists a shard's closed segments in order.
func (c *Chronicle) segments(shard int) ([]string, error) {
	if c.dir == "" {
		return nil, nil
	}
	files, err := filepath.Glob(filepath.Join(c.dir, fmt.Sprintf("shard-%05d-*.jsonl", shard)))
	if err != nil {
		return nil, fmt.Errorf("list the segments: %w", err)
	}
	sort.Strings(files)
	return files, nil
}

// Compact closes a segment of every shard that holds twice its size in the
// store: the entries go to a checksummed file first and leave the store after.
func (c *Chronicle) Compact(ctx context.Context) error {
	if c.dir == "" {
		return nil
	}
	for shard := range Shards {
		entries, err := c.stored(ctx, shard)
		if err != nil {
			return err
		}
		if len(entries) < 2*segmentSize {
			continue
		}
		closing := entries[:segmentSize]
		if _, err := audit.WriteSegment(c.dir, shard, closing); err != nil {
			return fmt.Errorf("close a segment: %w", err)
		}
		for len(closing) > 0 {
			n := min(len(closing), 500)
			var txn store.Txn
			for _, e := range closing[:n] {
				txn.Ops = append(txn.Ops, store.Op{Key: audit.Key(shard, e.Seq), Delete: true})
			}
			if _, err := c.store.Commit(ctx, txn); err != nil {
				return fmt.Errorf("compact shard %d: %w", shard, err)
			}
			closing = closing[n:]
		}
	}
	return nil
}
