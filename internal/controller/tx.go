package controller

import (
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"strconv"
	"time"

	"relight/internal/audit"
	"relight/internal/core/event"
	"relight/internal/store"
)

// Tx collects the changes of one transaction over the state.
type Tx struct {
	Now   time.Time
	state *State
	puts  map[string]any // by key
	dels  map[string]bool
	order []string
	// reads are the records that the changes build on, compared at the commit.
	reads  map[string]store.Revision
	events []event.Event
	// undo holds what the changes of the batch in hand have replaced.
	undo []replaced
	// refill is true if a policy changed, so that every server is filled in again;
	// refilled are the single documents that changed.
	refill   bool
	refilled []string
	// words counts the changes of what people say of more than one server.
	words int
}

// replaced is how a record stood in the transaction before a change.
type replaced struct {
	key      string
	value    any
	put, del bool
}

type txMark struct {
	order, events, refilled, words, undo int
	refill                               bool
}

func newTx(s *State) *Tx {
	return &Tx{state: s, puts: map[string]any{}, dels: map[string]bool{}, reads: map[string]store.Revision{}}
}

func (tx *Tx) empty() bool { return len(tx.order) == 0 && len(tx.events) == 0 }

// mark and rollback undo a change that failed in the middle of a batch.
func (tx *Tx) mark() txMark {
	return txMark{order: len(tx.order), events: len(tx.events), refill: tx.refill, refilled: len(tx.refilled), words: tx.words, undo: len(tx.undo)}
}

func (tx *Tx) rollback(m txMark) {
	tx.order, tx.events = tx.order[:m.order], tx.events[:m.events]
	tx.refill, tx.refilled, tx.words = m.refill, tx.refilled[:m.refilled], m.words
	for i := len(tx.undo) - 1; i >= m.undo; i-- {
		was := tx.undo[i]
		delete(tx.puts, was.key)
		delete(tx.dels, was.key)
		if was.put {
			tx.puts[was.key] = was.value
		}
		if was.del {
			tx.dels[was.key] = true
		}
	}
	tx.undo = tx.undo[:m.undo]
}

// remember notes how a record stands before it is changed.
func (tx *Tx) remember(key string) {
	v, put := tx.puts[key]
	tx.undo = append(tx.undo, replaced{key: key, value: v, put: put, del: tx.dels[key]})
}

// TxGet reads a record as the transaction sees it and makes the commit depend on it.
func TxGet[T any](tx *Tx, kind, name string) (T, bool) {
	key := path(kind, name)
	var zero T
	if tx.dels[key] {
		return zero, false
	}
	if v, ok := tx.puts[key]; ok {
		return v.(T), true
	}
	tx.state.mu.RLock()
	defer tx.state.mu.RUnlock()
	r, ok := tx.state.tables[kind][name]
	if _, seen := tx.reads[key]; !seen {
		tx.reads[key] = r.rev
	}
	if !ok {
		return zero, false
	}
	return r.value.(T), true
}

// Put writes a record.
func (tx *Tx) Put(kind, name string, v any) {
	key := path(kind, name)
	tx.depend(kind, name)
	tx.remember(key)
	delete(tx.dels, key)
	if _, ok := tx.puts[key]; !ok {
		tx.order = append(tx.order, key)
	}
	tx.puts[key] = v
	tx.noteKind(kind, name)
}

// Delete removes a record.
func (tx *Tx) Delete(kind, name string) {
	key := path(kind, name)
	tx.depend(kind, name)
	tx.remember(key)
	if _, ok := tx.puts[key]; !ok && !tx.dels[key] {
		tx.order = append(tx.order, key)
	}
	delete(tx.puts, key)
	tx.dels[key] = true
	tx.noteKind(kind, name)
}

func (tx *Tx) noteKind(kind, name string) {
	if forAll(kind) {
		tx.words++
	}
	switch kind {
	case kindPolicy:
		tx.refill = true
	case kindServer, kindSite:
		tx.refilled = append(tx.refilled, path(kind, name))
	}
}

func (tx *Tx) depend(kind, name string) {
	key := path(kind, name)
	if _, seen := tx.reads[key]; seen {
		return
	}
	tx.state.mu.RLock()
	defer tx.state.mu.RUnlock()
	tx.reads[key] = tx.state.tables[kind][name].rev
}

// Emit adds an event to the journal; it becomes an audit entry of its server's
// chain in the same transaction.
func (tx *Tx) Emit(e event.Event) {
	e.Version, e.At = event.Version, tx.Now
	if e.By == "" {
		e.By = "relight"
	}
	tx.state.mu.RLock()
	reign, _ := peek[Reign](tx.state, kindTerm, "controller")
	tx.state.mu.RUnlock()
	e.Term = reign.Term
	tx.events = append(tx.events, e)
}

// seal makes the store transaction: the term and all that was read as compares,
// records, audit entries and chain heads as operations.
func (tx *Tx) seal() (store.Txn, []Recorded, error) {
	var txn store.Txn
	tx.depend(kindTerm, "controller")
	for _, key := range sortedKeys(tx.reads) {
		txn.Compares = append(txn.Compares, store.Compare{Key: key, Rev: tx.reads[key]})
	}
	seen := map[string]bool{}
	for _, key := range tx.order {
		if seen[key] {
			continue
		}
		seen[key] = true
		if tx.dels[key] {
			txn.Ops = append(txn.Ops, store.Op{Key: key, Delete: true})
			continue
		}
		v, ok := tx.puts[key]
		if !ok {
			continue // put and rolled back
		}
		raw, err := json.Marshal(v)
		if err != nil {
			return store.Txn{}, nil, fmt.Errorf("encode %s: %w", key, err)
		}
		txn.Ops = append(txn.Ops, store.Op{Key: key, Value: raw})
	}
	recorded, err := tx.chain(&txn)
	return txn, recorded, err
}

// chain links the events into their shards' chains.
func (tx *Tx) chain(txn *store.Txn) ([]Recorded, error) {
	var recorded []Recorded
	heads := map[int]audit.Head{}
	for _, e := range tx.events {
		shard := ShardOf(e.Server)
		head, ok := heads[shard]
		if !ok {
			var rev store.Revision
			head, rev = tx.state.head(shard)
			txn.Compares = append(txn.Compares, store.Compare{Key: audit.HeadKey(shard), Rev: rev})
		}
		entry, next, err := audit.Append(head, e)
		if err != nil {
			return nil, err
		}
		heads[shard] = next
		txn.Ops = append(txn.Ops, store.Op{Key: audit.Key(shard, entry.Seq), Value: entry.Encode()})
		recorded = append(recorded, Recorded{Shard: shard, Seq: entry.Seq, Event: e})
	}
	for shard := range Shards {
		head, ok := heads[shard]
		if !ok {
			continue
		}
		raw, err := json.Marshal(head)
		if err != nil {
			return nil, fmt.Errorf("encode head of shard %d: %w", shard, err)
		}
		txn.Ops = append(txn.Ops, store.Op{Key: audit.HeadKey(shard), Value: raw})
		tx.puts[audit.HeadKey(shard)] = head
	}
	return recorded, nil
}

func (s *State) head(shard int) (audit.Head, store.Revision) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	r, ok := s.tables[kindHead][shardName(shard)]
	if !ok {
		return audit.Genesis(shard), 0
	}
	return r.value.(audit.Head), r.rev
}

func shardName(shard int) string {
	s := strconv.Itoa(shard)
	return "00000"[len(s):] + s
}

// apply changes the state; servers are the documents of all servers, which are
// needed if every one is to be filled in again.
func (tx *Tx) apply(rev store.Revision, servers []Document) error {
	s := tx.state
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rev = rev
	counted, err := tx.counted()
	if err != nil {
		return err
	}
	return s.retally(counted, func() error { return tx.change(rev, servers) })
}

// counted returns the servers whose rows in the tally may change.
func (tx *Tx) counted() ([]string, error) {
	seen := map[string]bool{}
	for _, keys := range []iter.Seq[string]{maps.Keys(tx.puts), maps.Keys(tx.dels)} {
		for key := range keys {
			kind, name, err := kindOf(key)
			if err != nil {
				return nil, err
			}
			if kind == kindStatus || kind == kindServer {
				seen[name] = true
			}
		}
	}
	return sortedKeys(seen), nil
}

func (tx *Tx) change(rev store.Revision, servers []Document) error {
	s := tx.state
	s.words += uint64(tx.words)
	for key := range tx.dels {
		kind, name, err := kindOf(key)
		if err != nil {
			return err
		}
		delete(s.tables[kind], name)
		switch kind {
		case kindPlace:
			s.freed += s.used[name]
			delete(s.used, name)
		case kindIncident:
			s.forgetClosed(name)
		case kindStatus:
			delete(s.healing, name)
			delete(s.bound, name)
		}
	}
	for key, v := range tx.puts {
		kind, name, err := kindOf(key)
		if err != nil {
			return err
		}
		s.derive(name, v)
		if kind == kindServer {
			v = nil
		}
		t := table(s.tables, kind)
		if _, ok := t[name]; !ok {
			name = s.ownName(name)
		}
		t[name] = record{value: v, rev: rev}
	}
	if tx.refill {
		return s.rebuild(servers)
	}
	return s.refill(tx.refilled, tx.puts)
}

// ShardOf returns the shard of a server's name; events without a server go to
// shard 0. The hash is FNV-1a, fixed for the life of a store.
func ShardOf(server string) int {
	if server == "" {
		return 0
	}
	h := uint32(2166136261)
	for i := range len(server) {
		h = (h ^ uint32(server[i])) * 16777619
	}
	return int(h % Shards)
}

// touched reports whether this batch has already changed the record.
func (tx *Tx) touched(kind, name string) bool {
	_, put := tx.puts[path(kind, name)]
	return put || tx.dels[path(kind, name)]
}
