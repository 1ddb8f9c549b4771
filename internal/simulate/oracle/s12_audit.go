package oracle

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"relight/internal/core/event"
	"relight/internal/store"
)

// S12, audit first. Over the raw bytes as the store acknowledged them:
//
//   - each destructive call that goes out has an audit entry of its own that became
//     durable before, with the same token, server, epoch, kind and host, and marked
//     as destructive: so a call that is repeated is announced as often;
//   - the entries of each shard are numbered without a gap, are never overwritten or
//     deleted, name the hash before, and hash to what they say. The hash is worked
//     out here from its written form: SHA-256 over the fields "relight/entry",
//     version, shard, number, previous hash, event bytes, each with its length as 8
//     bytes, numbers as 8 bytes, big-endian;
//   - the head that the store keeps of each shard is that of its last entry (at the
//     end of the run).
//
// Not covered: closed segments in files and checkpoints; the simulated controller
// has neither.

type link struct {
	seq  uint64
	hash [sha256.Size]byte
}

type announced struct {
	times  int
	server string
	epoch  uint64
	kind   string
	host   string
}

// stored is an audit entry as its bytes say.
type stored struct {
	V     uint64          `json:"v"`
	Shard uint64          `json:"shard"`
	Seq   uint64          `json:"seq"`
	Prev  string          `json:"prev"`
	Hash  string          `json:"hash"`
	Event json.RawMessage `json:"event"`
}

func (o *Oracle) commitEntry(op store.Op, written time.Time) {
	l := &o.ledger
	shard, seq, ok := shardOf(op.Key)
	var e stored
	if err := json.Unmarshal(op.Value, &e); err != nil || !ok {
		o.Violate("S12", op.Key, "the entry cannot be read: %v", err)
		return
	}
	if _, twice := l.records[op.Key]; twice {
		o.Violate("S12", op.Key, "the entry was written over")
	}
	last := l.chains[shard]
	sum := e.sum()
	switch {
	case fmt.Sprintf("%05d", e.Shard) != shard || e.Seq != seq:
		o.Violate("S12", op.Key, "it says that it is entry %d of shard %d", e.Seq, e.Shard)
	case seq != last.seq+1:
		o.Violate("S12", op.Key, "it follows entry %d", last.seq)
	case e.Prev != hex.EncodeToString(last.hash[:]):
		o.Violate("S12", op.Key, "it names another hash than that of the entry before")
	case e.Hash != hex.EncodeToString(sum[:]):
		o.Violate("S12", op.Key, "its bytes do not match its hash")
	}
	l.chains[shard] = link{seq: seq, hash: sum}
	var ev event.Event
	if err := json.Unmarshal(e.Event, &ev); err != nil {
		o.Violate("S12", op.Key, "its event cannot be read: %v", err)
		return
	}
	l.entries = append(l.entries, entry{at: o.w.Now(), written: written, raw: string(e.Event), ev: ev})
	if ev.Kind == event.StepIntended && ev.Step != nil && ev.Destructive {
		st := ev.Step.Step
		l.intents[st.Token] = announced{
			times: l.intents[st.Token].times + 1, server: ev.Server, epoch: uint64(ev.Epoch), kind: string(st.Kind), host: st.Host,
		}
	}
}

func (e stored) sum() [sha256.Size]byte {
	prev, _ := hex.DecodeString(e.Prev)
	h := sha256.New()
	field := func(b []byte) {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(b)))
		h.Write(n[:])
		h.Write(b)
	}
	number := func(v uint64) {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], v)
		field(n[:])
	}
	field([]byte("relight/entry"))
	number(e.V)
	number(e.Shard)
	number(e.Seq)
	field(prev)
	field(e.Event)
	var out [sha256.Size]byte
	h.Sum(out[:0])
	return out
}

// sentAfterEntry uses up one announcement for each call.
func (o *Oracle) sentAfterEntry(c Call) {
	step := c.Call.Step
	a, ok := o.ledger.intents[step.Token]
	switch {
	case !ok || a.times == 0:
		o.Violate("S12", step.Server, "%s of epoch %d goes out without an audit entry before it", step.Kind, step.Epoch)
		return
	case a.server != step.Server || a.epoch != uint64(step.Epoch) || a.kind != string(step.Kind) || a.host != step.Host:
		o.Violate("S12", step.Server, "%s of epoch %d on %q was announced as %s of %s.%d on %q", step.Kind, step.Epoch, step.Host, a.kind, a.server, a.epoch, a.host)
	}
	a.times--
	o.ledger.intents[step.Token] = a
}

// chainsEnd holds the heads that the store keeps against the entries.
func (o *Oracle) chainsEnd() {
	for _, shard := range slices.Sorted(maps.Keys(o.ledger.chains)) {
		last := o.ledger.chains[shard]
		var head struct {
			Seq  uint64 `json:"seq"`
			Hash string `json:"hash"`
		}
		if err := json.Unmarshal(o.ledger.records["audit/head/"+shard], &head); err != nil {
			o.Violate("S12", "shard "+shard, "its head cannot be read: %v", err)
			continue
		}
		if head.Seq != last.seq || head.Hash != hex.EncodeToString(last.hash[:]) {
			o.Violate("S12", "shard "+shard, "its head says entry %d, the chain ends with %d", head.Seq, last.seq)
		}
	}
}
