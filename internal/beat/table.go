package beat

import (
	"crypto/cipher"
	"encoding/binary"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"relight/internal/core/fleet"
	"relight/internal/core/lease"
)

// TableConfig is what a Table needs to know.
type TableConfig struct {
	// Keys finds the agents' keys.
	Keys Keyring
	// Allowed reports whether the agent may speak of the server (S13). It is asked
	// under a lock when a server is new to the agent, and its yes is remembered
	// until [Table.Recheck] or [Table.Forget]. It must not call the table back.
	Allowed func(AgentID, string) bool
	// Changes is told of each item whose epoch or answers are new; not of each
	// beat. It is called without a lock, from the goroutine that took the beat,
	// and must be quick. May be nil.
	Changes func(Change)
	// DriftPPM and Margin are the bounds of the leases, see [lease.GrantorDeadline].
	DriftPPM int64
	Margin   time.Duration
	// AssumeLease is the longest lease that an earlier owner of these agents may
	// have granted just before this table was made.
	AssumeLease time.Duration
	// MaxItems bounds the servers that one agent may speak of; 0 means 4096.
	MaxItems int
	// Rand is the source of the table's session and nonces: crypto/rand.Reader.
	Rand io.Reader
}

// Grant is what the acks grant from now on.
type Grant struct {
	Term fleet.Term
	// Lease is the length of the leases; 0 grants none.
	Lease time.Duration
	// NotAfter is when the controller's own authority ends, on its clock: a beat
	// that is taken then or later is granted nothing, because the next owner
	// assumes that the last grant was made before its takeover.
	NotAfter int64
}

// Change is an item that says something new.
type Change struct {
	Agent AgentID
	ItemState
	// SentAt is the beat's stamp on the agent's clock.
	SentAt int64
	// First is set when the agent had said nothing about the server before.
	First bool
}

// stripes is the number of locks of a table, so that a reader who scans one part
// never stops the receiver for long.
const stripes = 1 << stripeBits

// Table is the receiver's state: for each agent the replay window, what it said
// last, and what it was granted. It is safe for concurrent use. Nothing is stored
// elsewhere: a new table knows nothing, and because beats must name its session
// nothing recorded before its start can speak to it.
type Table struct {
	cfg     TableConfig
	session uint64
	nonce   [nonceTail - 6]byte
	acks    atomic.Uint64
	grant   atomic.Pointer[Grant]
	assumed atomic.Int64
	checked atomic.Uint32
	workers sync.Pool

	accepted, hellos atomic.Uint64
	dropped          [reasons]atomic.Uint64

	stripes [stripes]stripe
}

type stripe struct {
	mu     sync.Mutex
	index  index
	agents []agentState
	_      [8]byte // keeps the locks of neighbours in different cache lines
}

// agentState is the receiver's state of one agent.
type agentState struct {
	id           AgentID
	aead         cipher.AEAD
	window       window
	sentAt       int64
	at           int64
	grantedUntil int64
	items        []itemState // sorted by server
	hint         int32       // where the next item is probably found
	kind         Kind
	work         bool
	withheld     bool
	rekey        bool
}

// itemState is the receiver's state of what one agent says about one server.
type itemState struct {
	server     string
	epoch      fleet.Epoch
	progress   uint64
	since      int64 // on the agent's clock
	sinceHere  int64
	at         int64
	progressAt int64
	counter    uint64
	checked    uint32
	alive      Answer
	works      Answer
	cannotLie  bool
}

// StateBytes is the fixed size of the detector's state of one server with one
// agent of its own: table entries, cipher, and a name of the given length.
func StateBytes(nameLen int) int {
	return int(unsafe.Sizeof(agentState{})+unsafe.Sizeof(itemState{})) + KeySize + nameLen
}

// NewTable returns an empty table; now is the controller's clock. It grants
// nothing until [Table.SetGrant].
func NewTable(cfg TableConfig, now int64) (*Table, error) {
	if cfg.MaxItems == 0 {
		cfg.MaxItems = 4096
	}
	t := &Table{cfg: cfg}
	t.workers.New = func() any { return new(worker) }
	var seed [8 + len(t.nonce) + 6]byte
	for t.session == 0 {
		if _, err := io.ReadFull(cfg.Rand, seed[:]); err != nil {
			return nil, fmt.Errorf("beat table: draw session: %w", err)
		}
		t.session = binary.BigEndian.Uint64(seed[:])
	}
	copy(t.nonce[:], seed[8:])
	var start [8]byte
	copy(start[2:], seed[8+len(t.nonce):])
	t.acks.Store(binary.BigEndian.Uint64(start[:]))
	t.grant.Store(&Grant{})
	t.assumed.Store(lease.GrantorDeadline(now, cfg.AssumeLease, cfg.DriftPPM, cfg.Margin))
	return t, nil
}

// Session is the table's incarnation; it is never 0.
func (t *Table) Session() uint64 { return t.session }

// SetGrant sets what is granted from now on. When it returns, no ack with the
// earlier grant is made any more.
func (t *Table) SetGrant(g Grant) {
	t.grant.Store(&g)
	for i := range t.stripes {
		t.stripes[i].mu.Lock()
		t.stripes[i].mu.Unlock() //nolint:staticcheck // waits for whoever read the earlier grant
	}
}

// Assume raises the deadline until which every agent is taken to hold a lease
// that some earlier owner granted; call it when agents are taken over later than
// the table was made.
func (t *Table) Assume(deadline int64) {
	for {
		old := t.assumed.Load()
		if deadline <= old || t.assumed.CompareAndSwap(old, deadline) {
			return
		}
	}
}

func (t *Table) stripe(id AgentID) *stripe {
	return &t.stripes[agentHash(id)>>(64-stripeBits)]
}

// agent returns the agent's state, made from the keyring if need be, or nil.
// The stripe is locked; the pointer is valid until it is unlocked.
func (t *Table) agent(s *stripe, id AgentID) *agentState {
	if a := s.find(id); a != nil {
		return a
	}
	keys := t.cfg.Keys.Keys(id)
	if len(keys) == 0 {
		return nil
	}
	return s.add(agentState{id: id, aead: newAEAD(&keys[0]), rekey: len(keys) > 1})
}

// with runs f on the agent's state under its lock; f is not run for unknown agents.
func (t *Table) with(id AgentID, f func(*agentState)) {
	s := t.stripe(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	a := t.agent(s, id)
	if a != nil {
		f(a)
	}
}
