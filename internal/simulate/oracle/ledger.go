package oracle

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	"relight/internal/core/event"
	"relight/internal/core/fleet"
	"relight/internal/store"
)

// The keys of the store, as docs/design and the audit's own keys have them.
const (
	statusKeys   = "relight/v1/status/"
	requestKeys  = "relight/v1/request/"
	pauseKeys    = "relight/v1/pause/"
	freezeKey    = "relight/v1/freeze/fleet"
	approvalKeys = "relight/v1/approval/"
	stormKey     = "relight/v1/storm/fleet"
	termKey      = "relight/v1/term/controller"
	leaseKey     = "relight/v1/lease/controller"
	entryKeys    = "audit/entry/"
)

// ledger is what the store has acknowledged: bytes, read by the oracle itself.
type ledger struct {
	records map[string][]byte
	entries []entry
	// read is how far each controller has told of the entries.
	read   map[string]int
	chains map[string]link
	// intents counts the audit entries that announce a step, by token.
	intents map[string]announced

	term fleet.Term
	// leaseAt is when the lease of the term was last written, leaseFor its length.
	leaseAt  time.Time
	leaseFor time.Duration
}

type entry struct {
	// at is when it was durable; written is when the controller gave it to the store,
	// earlier where a member held it whom the others did not hear for a while.
	at, written time.Time
	raw         string
	ev          event.Event
}

func newLedger() ledger {
	return ledger{records: map[string][]byte{}, read: map[string]int{}, chains: map[string]link{}, intents: map[string]announced{}}
}

// commit reads a transaction: first the audit entries, against what was so before
// it, then the records.
func (o *Oracle) commit(txn store.Txn, written time.Time) {
	l := &o.ledger
	before := len(l.entries)
	for _, op := range txn.Ops {
		if strings.HasPrefix(op.Key, entryKeys) && !op.Delete {
			o.commitEntry(op, written)
		}
	}
	for _, op := range txn.Ops {
		if op.Delete {
			delete(l.records, op.Key)
		} else {
			l.records[op.Key] = slices.Clone(op.Value)
		}
		o.commitRecord(op)
	}
	for _, e := range l.entries[before:] {
		o.recorded(e)
	}
	for _, op := range txn.Ops {
		for _, keys := range []string{statusKeys, requestKeys} {
			if name, ok := strings.CutPrefix(op.Key, keys); ok && o.servers[name] != nil {
				o.wishes(o.servers[name])
			}
		}
	}
}

func (o *Oracle) commitRecord(op store.Op) {
	l := &o.ledger
	switch {
	case strings.HasPrefix(op.Key, statusKeys):
		o.commitStatus(strings.TrimPrefix(op.Key, statusKeys), op)
	case op.Key == termKey:
		var r struct {
			Term fleet.Term `json:"term"`
		}
		if json.Unmarshal(op.Value, &r) == nil {
			if r.Term <= l.term {
				o.Violate("S10", "controller", "term %d was taken after term %d", r.Term, l.term)
			}
			l.term = r.Term
		}
	case op.Key == leaseKey:
		var r struct {
			Term fleet.Term     `json:"term"`
			For  fleet.Duration `json:"for"`
		}
		if json.Unmarshal(op.Value, &r) == nil {
			l.leaseAt, l.leaseFor = o.w.Now(), r.For.Std()
		}
	}
}

func (o *Oracle) commitStatus(name string, op store.Op) {
	s := o.servers[name]
	if s == nil {
		return
	}
	var next fleet.Status
	if !op.Delete {
		if err := json.Unmarshal(op.Value, &next); err != nil {
			o.Violate("S9", name, "its status in the store cannot be read: %v", err)
			return
		}
	}
	o.statusChanged(s, s.status, next)
	o.noted(s.status.Recovery, next.Recovery)
	s.was, s.status = s.status, next
}

// recorded looks at a fact that has become durable.
func (o *Oracle) recorded(e entry) {
	s := o.servers[e.ev.Server]
	if s == nil {
		return
	}
	switch e.ev.Kind {
	case event.RecoveryBegun:
		o.recoveryBegun(s, e)
	case event.StepIntended:
		o.intended(s, e)
	case event.GuardSet, event.FenceAttested:
		o.heldAllAlong(e)
	case event.VerdictChanged:
		s.verdict = told{what: e.ev.Verdict.String(), at: e.at}
		if ails(s.verdict.what) {
			s.ailsAt = e.at
		}
		if e.ev.Verdict == fleet.Healthy {
			s.wellAt = e.at
		}
	case event.Held:
		s.held = told{what: e.ev.Gate, at: e.at}
	case event.RecoveryHealed, event.RecoveryGaveUp, event.MoveCalledOff:
		s.asked = false
		s.held = told{}
		if e.ev.Kind == event.MoveCalledOff {
			o.moveCalledOff(s, e)
		}
		if t := s.find(e.ev.Epoch); t != nil && e.ev.Kind == event.RecoveryHealed {
			t.verified = true
			s.verdict, s.wellAt = told{what: "healthy", at: e.at}, e.at
		}
	case event.RecoveryClimbed:
		if p := plannedOf(s); p != nil && (e.ev.Message == "" || p.Back == "") {
			o.Violate("L1", s.name, "its move to %s failed, and nobody says why", p.To)
		}
	default: // tells nothing that a promise is held to
	}
}

// shardOf returns the shard and number of an audit entry's key.
func shardOf(key string) (shard string, seq uint64, ok bool) {
	shard, number, ok := strings.Cut(strings.TrimPrefix(key, entryKeys), "/")
	if !ok {
		return "", 0, false
	}
	seq, err := strconv.ParseUint(number, 10, 64)
	return shard, seq, err == nil
}
