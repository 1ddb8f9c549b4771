// Package store is the port to the one place that remembers: keys with
// revisions, compare-and-set transactions, watches and leases.
//
// The rules that hold for every engine:
//
//   - Keys are non-empty strings, ordered bytewise. Values are opaque.
//   - Every successful Commit that changes something raises the store's
//     Revision by exactly one; all its keys carry that revision. A Commit that
//     changes nothing (no ops, or only deletes of absent keys) returns the
//     current revision.
//   - Get, List, Scan and Commit are linearizable: a call sees everything that was
//     acknowledged before it began, from any client.
//   - A value is served only after its envelope (see Seal) was verified.
//   - All methods may be called at the same time. A context that ends stops the
//     wait, and the method returns the context's error.
package store

import (
	"context"
	"errors"
	"time"
)

// Revision numbers the changes of the whole store, starting above zero and
// rising by one with each transaction that changes something. Zero is never the
// revision of a key: in a Compare it means "must not exist", in Watch "from the
// very beginning".
type Revision int64

// LeaseID names a lease. Zero is no lease.
type LeaseID int64

// Record is one key as it was at the moment of the read.
type Record struct {
	Key   string
	Value []byte
	// Rev is the revision of the last change of this key: what a Compare wants.
	Rev Revision
}

// Compare is a condition of a transaction: Key was last changed at Rev, or does
// not exist if Rev is zero.
type Compare struct {
	Key string
	Rev Revision
}

// Op is one change of a transaction: put Value at Key, or remove Key if Delete.
// Deleting an absent key is no error and changes nothing. With a Lease the key
// is removed when the lease ends; a put without one frees the key from any lease
// that it had.
type Op struct {
	Key    string
	Value  []byte
	Delete bool
	Lease  LeaseID
}

// Txn is a set of changes that happen together if all conditions hold. No key
// may appear twice among the Ops.
type Txn struct {
	Compares []Compare
	Ops      []Op
}

// Event is one change as a watch tells it. Value is nil if Deleted.
type Event struct {
	Key     string
	Value   []byte
	Deleted bool
	Rev     Revision
}

// Store is what engines implement; storetest.Run is the meaning in code.
type Store interface {
	// Get returns the record of a key, ErrNotFound if there is none, or
	// ErrCorrupt if its bytes are not what was written.
	Get(ctx context.Context, key string) (Record, error)

	// List returns all records whose key begins with prefix (all keys for ""),
	// sorted by key, as of one revision, which is also returned: Watch after it
	// misses nothing. One damaged value fails the whole list with ErrCorrupt, so
	// that nobody mistakes a part for the whole. ErrCompacted means that the
	// snapshot went away while it was paged; call again.
	List(ctx context.Context, prefix string) ([]Record, Revision, error)

	// Scan visits all records under any of the prefixes, sorted by key within
	// each, as of one revision, which it returns. It holds few of them at a time,
	// so that the whole store can be read. It ends with the first error, of visit
	// too; what was visited until then is a part. ErrCompacted as with List.
	Scan(ctx context.Context, visit func(Record) error, prefixes ...string) (Revision, error)

	// Commit applies all Ops if all Compares hold, and returns the revision of
	// the change. The outcome is certain (nothing changed) for ErrConflict,
	// ErrNoSpace, ErrLeaseLost and ErrInvalid. After any other error, also a
	// context's, the change may have happened or may still happen: read again
	// before deciding.
	Commit(ctx context.Context, txn Txn) (Revision, error)

	// Watch tells every change after the given revision under prefix, in order,
	// each once. The events of one transaction come in one batch; a batch may
	// hold several transactions. The channel closes when ctx ends, when the
	// store closes, when the watch breaks or when a changed value is damaged: the
	// caller lists again (which names the damage) and watches from there.
	// ErrCompacted means that the history after that revision is gone.
	Watch(ctx context.Context, prefix string, after Revision) (<-chan []Event, error)

	// Grant makes a lease that ends ttl after the last renewal. An engine may
	// round ttl up (etcd: to whole seconds), never down. Leases tidy up; they are
	// not mutual exclusion: a key may outlive its lease by seconds, or by the
	// length of an outage of the store. Fence by term and epoch.
	Grant(ctx context.Context, ttl time.Duration) (LeaseID, error)

	// KeepAlive renews a lease once, or returns ErrLeaseLost.
	KeepAlive(ctx context.Context, id LeaseID) error

	// Revoke ends a lease now and removes its keys, or returns ErrLeaseLost.
	Revoke(ctx context.Context, id LeaseID) error

	// Health returns nil, or why no destructive work may start: ErrCorrupt,
	// ErrNoSpace (already, or so near that the margin is gone) or ErrUnavailable.
	Health(ctx context.Context) error

	// Close ends all watches and frees what the store holds. Later calls return
	// ErrUnavailable.
	Close() error
}

// What a store can answer; test with errors.Is.
var (
	ErrNotFound    = errors.New("not found")
	ErrConflict    = errors.New("conflict: a compared key has changed")
	ErrCompacted   = errors.New("revision has been compacted")
	ErrLeaseLost   = errors.New("lease lost")
	ErrInvalid     = errors.New("invalid transaction")
	ErrCorrupt     = errors.New("corrupt data")
	ErrNoSpace     = errors.New("no space left for the store")
	ErrUnavailable = errors.New("store unavailable")
)
