package controller

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"relight/internal/core/event"
	"relight/internal/core/fleet"
	"relight/internal/store"
)

// Shards is the number of hash chains of the journal. It is fixed for the life
// of a store: a server's name decides its shard.
const Shards = 16

// batchLimit is how many changes go into one store transaction; it keeps the
// transaction under etcd's default of 1,024 operations.
const batchLimit = 64

// ErrLostAuthority means that another controller has taken the term: nothing
// was written, and this one must stop.
var ErrLostAuthority = errors.New("another controller has taken the term")

// errAgain is returned by a change that no longer fits: decide again.
var errAgain = errors.New("the state has moved on; decide again")

// Journal is the only writer of the store. Each change is a function over the
// present state; changes that wait together go into one transaction, which
// compares the term and every record that it builds on, and holds the audit
// entries of all of them (S10, S12).
type Journal struct {
	State *State
	store store.Store

	// turn lets one caller write at a time; queue holds the changes that wait.
	turn  sync.Mutex
	mu    sync.Mutex
	queue []*change

	// stale is set when the store did not say whether a write happened; the
	// state is read again before anything else is built on it.
	stale bool

	// term is the one that this controller has taken, 0 before: see mayWrite.
	term atomic.Uint64

	listenMu  sync.RWMutex
	listeners []func([]Recorded)
}

// Recorded is an event with its place in the chain.
type Recorded struct {
	Shard int
	Seq   uint64
	Event event.Event
}

type change struct {
	build func(*Tx) error
	now   time.Time
	err   error
	done  bool
}

// NewJournal returns a journal over the store. Call State.Load first.
func NewJournal(state *State, st store.Store) *Journal {
	return &Journal{State: state, store: st}
}

// Listen adds a function that gets every batch of events once it is durable, in
// order. It must not block.
func (j *Journal) Listen(f func([]Recorded)) {
	j.listenMu.Lock()
	defer j.listenMu.Unlock()
	j.listeners = append(j.listeners, f)
}

// Do applies one change and returns once it is durable. Callers that arrive
// while another one writes are committed together by whoever comes first.
func (j *Journal) Do(ctx context.Context, now time.Time, build func(*Tx) error) error {
	c := &change{build: build, now: now}
	j.mu.Lock()
	j.queue = append(j.queue, c)
	j.mu.Unlock()

	j.turn.Lock()
	defer j.turn.Unlock()
	for !c.done {
		j.commit(ctx, j.take())
	}
	return c.err
}

func (j *Journal) take() []*change {
	j.mu.Lock()
	defer j.mu.Unlock()
	n := min(len(j.queue), batchLimit)
	batch := j.queue[:n:n]
	j.queue = j.queue[n:]
	return batch
}

func (j *Journal) commit(ctx context.Context, batch []*change) {
	err := j.refresh(ctx)
	if err == nil {
		err = j.mayWrite()
	}
	tx := newTx(j.State)
	var built []*change
	if err == nil {
		for _, c := range batch {
			mark := tx.mark()
			tx.Now = c.now
			if c.err = c.build(tx); c.err != nil {
				tx.rollback(mark)
				c.done = true
				continue
			}
			built = append(built, c)
		}
		err = j.write(ctx, tx, len(built))
	}
	for _, c := range batch {
		if !c.done {
			c.err, c.done = err, true
		}
	}
}

func (j *Journal) refresh(ctx context.Context) error {
	if !j.stale {
		return nil
	}
	if err := j.State.Load(ctx, j.store); err != nil {
		return err
	}
	j.stale = false
	return nil
}

// mayWrite refuses what a controller writes that has read of a later term than its
// own: after a doubtful write it reads everything afresh, so that no compare would
// fail, and it would write over what its successor recorded (S10).
func (j *Journal) mayWrite() error {
	own := fleet.Term(j.term.Load())
	if reign, _ := Get[Reign](j.State, kindTerm, "controller"); own != 0 && reign.Term != own {
		return ErrLostAuthority
	}
	return nil
}

func (j *Journal) write(ctx context.Context, tx *Tx, changes int) error {
	if changes == 0 || tx.empty() {
		return nil
	}
	tx.dropClosed()
	txn, recorded, err := tx.seal()
	if err != nil {
		return err
	}
	// A write must not be torn off by the caller that happened to come first:
	// the others in the batch would not know what became of theirs.
	wctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTimeout)
	defer cancel()
	rev, err := j.store.Commit(wctx, txn)
	switch {
	case errors.Is(err, store.ErrConflict):
		j.stale = true
		return j.conflict(wctx)
	case err != nil:
		j.stale = !certain(err)
		return fmt.Errorf("write the journal: %w", err)
	}
	if err := j.apply(wctx, tx, rev); err != nil {
		j.stale = true
		return err
	}
	j.listenMu.RLock()
	defer j.listenMu.RUnlock()
	for _, f := range j.listeners {
		f(recorded)
	}
	return nil
}

// apply brings the state to what the store has acknowledged.
func (j *Journal) apply(ctx context.Context, tx *Tx, rev store.Revision) error {
	var servers []Document
	if tx.refill {
		var err error
		if servers, err = j.documents(ctx); err != nil {
			return err
		}
	}
	return tx.apply(rev, servers)
}

// documents reads the documents of all servers, as they were applied.
func (j *Journal) documents(ctx context.Context) ([]Document, error) {
	records, _, err := j.store.List(ctx, path(kindServer, ""))
	if err != nil {
		return nil, fmt.Errorf("read the servers' documents: %w", err)
	}
	docs := make([]Document, 0, len(records))
	for _, r := range records {
		v, err := decode[Document](r.Value)
		if err != nil {
			return nil, fmt.Errorf("record %s: %w", r.Key, err)
		}
		docs = append(docs, v.(Document))
	}
	return docs, nil
}

// document reads one document as it was applied, with its revision.
func (j *Journal) document(ctx context.Context, kind, name string) (Document, store.Revision, error) {
	r, err := j.store.Get(ctx, path(kind, name))
	if err != nil {
		return Document{}, 0, err
	}
	v, err := decode[Document](r.Value)
	if err != nil {
		return Document{}, 0, fmt.Errorf("record %s: %w", r.Key, err)
	}
	return v.(Document), r.Rev, nil
}

// writeTimeout bounds one store transaction.
const writeTimeout = 10 * time.Second

// certain reports that the store says that nothing was written.
func certain(err error) bool {
	return errors.Is(err, store.ErrNoSpace) || errors.Is(err, store.ErrInvalid) || errors.Is(err, store.ErrLeaseLost)
}

// conflict tells a lost term apart from a record that somebody else changed.
func (j *Journal) conflict(ctx context.Context) error {
	before, _ := Get[Reign](j.State, kindTerm, "controller")
	if err := j.refresh(ctx); err != nil {
		return err
	}
	after, _ := Get[Reign](j.State, kindTerm, "controller")
	if before != after {
		return ErrLostAuthority
	}
	return errAgain
}
