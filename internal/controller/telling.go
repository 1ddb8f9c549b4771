package controller

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"time"

	"relight/internal/notify"
)

// tellBuffer is how many events may wait for the notifier; further ones are read
// back from the store.
const tellBuffer = 1024

// tellRetry is the pause after the store could not be read.
const tellRetry = 5 * time.Second

// webhookSource is the same for all controllers of a store: the id of an event
// is unique within it, whoever sends it.
const webhookSource = "/relight"

// Teller feeds the journal to a notifier: what the store holds beyond the
// cursors first, then what comes. The journal never waits for it.
type Teller struct {
	notifier  *notify.Notifier
	chronicle *Chronicle
	clock     notify.Clock
	log       *slog.Logger

	live chan Recorded
	// missed rings if the buffer was full: a shard without a later event would
	// never show its gap.
	missed chan struct{}
	// next is, for each shard, the entry that the notifier gets next.
	next [Shards]uint64
}

// TellerConfig is what a Teller is made of; every field is needed.
type TellerConfig struct {
	URL, Secret string
	Journal     *Journal
	Chronicle   *Chronicle
	Clock       notify.Clock
	Log         *slog.Logger
}

// NewTeller listens to the journal. A webhook that the store has no cursors for
// hears what happens from now on, and not the whole past.
func NewTeller(ctx context.Context, cfg TellerConfig) (*Teller, error) {
	if cfg.Secret == "" {
		return nil, errors.New("the webhook has no secret to sign with: name a file with one in --webhook-secret-file")
	}
	cursor := cursors{journal: cfg.Journal, clock: cfg.Clock}
	n, err := notify.New(notify.Config{
		URL: cfg.URL, Secret: []byte(cfg.Secret), Source: webhookSource, Client: &http.Client{}, Clock: cfg.Clock,
		Jitter: rand.Float64, Cursor: cursor, Log: cfg.Log,
	})
	if err != nil {
		return nil, err
	}
	t := &Teller{
		notifier: n, chronicle: cfg.Chronicle, clock: cfg.Clock, log: cfg.Log,
		live: make(chan Recorded, tellBuffer), missed: make(chan struct{}, 1),
	}
	if err := cursor.begin(ctx); err != nil {
		return nil, err
	}
	for shard := range Shards {
		if t.next[shard], err = n.Resume(ctx, shard); err != nil {
			return nil, err
		}
	}
	cfg.Journal.Listen(t.add)
	return t, nil
}

// add is the journal's listener.
func (t *Teller) add(batch []Recorded) {
	for _, r := range batch {
		select {
		case t.live <- r:
		default:
			ring(t.missed)
		}
	}
}

func ring(bell chan struct{}) {
	select {
	case bell <- struct{}{}:
	default:
	}
}

// Run tells until ctx ends.
func (t *Teller) Run(ctx context.Context) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		t.notifier.Run(ctx)
	}()
	defer func() { <-done }()
	ring(t.missed) // what the store holds already was missed too
	for ctx.Err() == nil {
		var err error
		select {
		case r := <-t.live:
			if r.Seq > t.next[r.Shard] {
				err = t.catchUp(ctx, r.Shard)
			} else {
				err = t.offer(ctx, r)
			}
		case <-t.missed:
			for shard := range Shards {
				err = errors.Join(err, t.catchUp(ctx, shard))
			}
		case <-ctx.Done():
		}
		if err == nil || ctx.Err() != nil {
			continue
		}
		t.log.Warn("cannot read back what the webhook is to be told", "err", err)
		ring(t.missed)
		select {
		case <-t.clock.After(tellRetry):
		case <-ctx.Done():
		}
	}
}

func (t *Teller) offer(ctx context.Context, r Recorded) error {
	if r.Seq < t.next[r.Shard] {
		return nil // read back before it came
	}
	if err := t.notifier.Offer(ctx, notify.Item{Shard: r.Shard, Seq: r.Seq, Event: r.Event}); err != nil {
		return err
	}
	t.next[r.Shard] = r.Seq + 1
	return nil
}

// catchUp offers what the record of a shard holds from the next entry on.
func (t *Teller) catchUp(ctx context.Context, shard int) error {
	head, _ := t.chronicle.state.head(shard)
	if head.Seq < t.next[shard] {
		return nil
	}
	entries, err := t.chronicle.since(ctx, shard, t.next[shard])
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Seq != t.next[shard] {
			t.log.Error("the record has a gap: the webhook is not told what was in it", "shard", shard, "from", t.next[shard], "to", e.Seq-1)
		}
		ev, err := e.Event()
		if err != nil {
			return fmt.Errorf("read the journal: %w", err)
		}
		if err := t.offer(ctx, Recorded{Shard: shard, Seq: e.Seq, Event: ev}); err != nil {
			return err
		}
	}
	return nil
}

// cursors keeps the notifier's cursors in the journal's store.
type cursors struct {
	journal *Journal
	clock   Clock
}

// begin makes the cursors of a webhook that never ran, at the present heads, and
// before it runs: what happens from then on survives a crash of ours.
func (c cursors) begin(ctx context.Context) error {
	if len(c.journal.State.Names(kindCursor)) > 0 {
		return nil
	}
	err := c.journal.Do(ctx, c.clock.Now(), func(tx *Tx) error {
		for shard := range Shards {
			head, _ := tx.state.head(shard)
			tx.Put(kindCursor, shardName(shard), head.Seq)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("make the webhook's cursors: %w", err)
	}
	return nil
}

// Load implements notify.Cursor.
func (c cursors) Load(_ context.Context, shard int) (uint64, error) {
	seq, _ := Get[uint64](c.journal.State, kindCursor, shardName(shard))
	return seq, nil
}

// Save implements notify.Cursor.
func (c cursors) Save(ctx context.Context, shard int, seq uint64) error {
	return c.journal.Do(ctx, c.clock.Now(), func(tx *Tx) error {
		if old, _ := TxGet[uint64](tx, kindCursor, shardName(shard)); old < seq {
			tx.Put(kindCursor, shardName(shard), seq)
		}
		return nil
	})
}
