package beat

import (
	"encoding/binary"
	"errors"
	"sort"

	"relight/internal/core/lease"
)

// worker is the scratch memory of one goroutine that takes beats.
type worker struct {
	sealer
	changes []Change
}

// Handle takes one datagram, however it came, and appends the sealed ack to dst.
// now is the controller's clock, stamped after the datagram had arrived: a lease is
// taken to be granted then. The datagram is overwritten. Whatever is wrong with it
// is counted by reason and returned as an error, and must not be answered.
func (t *Table) Handle(now int64, dst, datagram []byte) ([]byte, error) {
	w := t.workers.Get().(*worker)
	defer t.workers.Put(w)
	return t.handle(w, now, dst, datagram)
}

func (t *Table) handle(w *worker, now int64, dst, datagram []byte) ([]byte, error) {
	id, err := header(datagram, typeBeat)
	if err != nil {
		return dst, t.drop(err)
	}
	s := t.stripe(id)
	s.mu.Lock()
	a := t.agent(s, id)
	if a == nil {
		s.mu.Unlock()
		return dst, t.drop(ErrUnknownAgent)
	}
	w.changes = w.changes[:0]
	ack, err := t.take(w, a, now, datagram)
	aead := a.aead
	s.mu.Unlock()
	if err != nil {
		return dst, t.drop(err)
	}
	for i := range w.changes {
		t.cfg.Changes(w.changes[i])
	}
	start := len(dst)
	nonce := t.nextNonce()
	dst = appendAck(dst, &ack, &nonce)
	sealed := w.seal(aead, dst[start:])
	return append(dst[:start], sealed...), nil
}

// take opens a beat and, if it is fresh, updates the agent's state.
func (t *Table) take(w *worker, a *agentState, now int64, datagram []byte) (Ack, error) {
	counter := counterOf(datagram)
	plain, err := t.open(w, a, datagram)
	if err != nil {
		return Ack{}, err
	}
	h, rest, err := parseHead(plain)
	if err != nil {
		return Ack{}, err
	}
	if err := checkItems(rest, h.items); err != nil {
		return Ack{}, err
	}
	ack := Ack{Agent: a.id, Counter: counter, Session: t.session, Work: a.work}
	grant := t.grant.Load()
	ack.Term = grant.Term
	if h.session != t.session {
		t.hellos.Add(1)
		ack.Hello, ack.Highest = true, a.window.highest
		return ack, nil
	}
	if !a.window.fresh(counter) {
		return Ack{}, ErrReplay
	}
	newest := counter > a.window.highest
	a.window.take(counter)
	ack.Highest = a.window.highest
	if newest {
		a.at, a.sentAt, a.kind = now, h.sentAt, h.kind
	}
	for range h.items {
		rest = t.takeItem(w, a, rest, now, h.sentAt, counter)
	}
	if grant.Lease > 0 && !a.withheld && now < grant.NotAfter {
		ack.Lease = grant.Lease
		until := lease.GrantorDeadline(now, grant.Lease, t.cfg.DriftPPM, t.cfg.Margin)
		a.grantedUntil = max(a.grantedUntil, until)
	}
	t.accepted.Add(1)
	return ack, nil
}

// open decrypts with the agent's cipher, or while its key is being changed with
// any key of the keyring.
func (t *Table) open(w *worker, a *agentState, datagram []byte) ([]byte, error) {
	if !a.rekey {
		return w.open(a.aead, datagram)
	}
	sealed := append([]byte(nil), datagram...)
	keys := t.cfg.Keys.Keys(a.id)
	for i := range keys {
		aead := newAEAD(&keys[i])
		copy(datagram, sealed)
		if plain, err := w.open(aead, datagram); err == nil {
			a.aead = aead
			a.rekey = i > 0
			return plain, nil
		}
	}
	return nil, ErrTag
}

// takeItem takes one item, which is known to parse, and returns the rest.
func (t *Table) takeItem(w *worker, a *agentState, p []byte, now, sentAt int64, counter uint64) []byte {
	in, name, rest, _ := parseItem(p)
	i, known := a.find(name)
	gen := t.checked.Load()
	if !known || a.items[i].checked != gen {
		server := string(name)
		if !t.cfg.Allowed(a.id, server) || !known && len(a.items) >= t.cfg.MaxItems {
			if known {
				a.items = append(a.items[:i], a.items[i+1:]...)
			}
			t.dropped[ForeignItem].Add(1)
			return rest
		}
		if !known {
			a.insert(i, server)
		}
		a.items[i].checked = gen
	}
	a.hint = int32(i + 1)
	it := &a.items[i]
	if counter < it.counter {
		t.dropped[StaleItem].Add(1)
		return rest
	}
	in.Since = min(in.Since, sentAt)
	changed := !known || it.epoch != in.Epoch || it.alive != in.Alive ||
		it.works != in.Works || it.cannotLie != in.CannotLie
	if changed || it.since != in.Since {
		it.since, it.sinceHere = in.Since, now-(sentAt-in.Since)
	}
	if changed || it.progress != in.Progress {
		it.progressAt = now
	}
	it.epoch, it.progress, it.at, it.counter = in.Epoch, in.Progress, now, counter
	it.alive, it.works, it.cannotLie = in.Alive, in.Works, in.CannotLie
	if changed && t.cfg.Changes != nil {
		w.changes = append(w.changes, Change{
			Agent: a.id, ItemState: it.state(), SentAt: sentAt, First: !known,
		})
	}
	return rest
}

// find returns the place of the server among the agent's items. Agents name their
// servers in the same order each time, so the hint nearly always holds.
func (a *agentState) find(name []byte) (int, bool) {
	if i := int(a.hint); i < len(a.items) && a.items[i].server == string(name) {
		return i, true
	}
	i := sort.Search(len(a.items), func(i int) bool { return a.items[i].server >= string(name) })
	return i, i < len(a.items) && a.items[i].server == string(name)
}

func (a *agentState) insert(i int, server string) {
	a.items = append(a.items, itemState{})
	copy(a.items[i+1:], a.items[i:])
	a.items[i] = itemState{server: server}
}

// nextNonce returns a nonce that no table ever used with the same key: random for
// this table, then counted. Echoing the beat's counter would not do, because two
// controllers may answer the same beat.
func (t *Table) nextNonce() (n [nonceTail]byte) {
	var seq [8]byte
	binary.BigEndian.PutUint64(seq[:], t.acks.Add(1))
	copy(n[:], t.nonce[:])
	copy(n[len(t.nonce):], seq[2:])
	return n
}

// drop counts a datagram that is not answered.
func (t *Table) drop(err error) error {
	r := Malformed
	switch {
	case errors.Is(err, ErrShort):
		r = Short
	case errors.Is(err, ErrVersion):
		r = WrongVersion
	case errors.Is(err, ErrUnknownAgent):
		r = UnknownAgent
	case errors.Is(err, ErrTag):
		r = BadTag
	case errors.Is(err, ErrReplay):
		r = Replay
	}
	t.dropped[r].Add(1)
	return err
}
