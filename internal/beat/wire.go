package beat

import (
	"encoding/binary"
	"fmt"
	"time"

	"relight/internal/core/fleet"
)

const (
	// beatFixed: session, sent-at, kind, number of items.
	beatFixed = 8 + 8 + 1 + 1
	// itemFixed: name length, answers, epoch, progress, since.
	itemFixed = 1 + 1 + 8 + 8 + 8
	// ackFixed: counter, session, highest, term, lease, flags.
	ackFixed = 5*8 + 1

	ackWork  = 1 << 0
	ackHello = 1 << 1

	cannotLie = 1 << 4
)

// CheckName reports whether a server's name fits the wire format.
func CheckName(name string) error {
	if len(name) == 0 || len(name) > MaxName {
		return fmt.Errorf("server %q: %w", name, ErrName)
	}
	for i := range len(name) {
		if name[i] <= ' ' || name[i] > '~' {
			return fmt.Errorf("server %q: %w", name, ErrName)
		}
	}
	return nil
}

// itemSize is what an item takes on the wire.
func itemSize(it *Item) int { return itemFixed + len(it.Server) }

// fit returns how many of the items fit into one datagram; at most 255.
func fit(items []Item) int {
	room := maxPlain - beatFixed
	for i := range items {
		room -= itemSize(&items[i])
		if room < 0 || i == 255 {
			return i
		}
	}
	return len(items)
}

// appendBeat appends the header and the plain text of a beat, ready to be sealed.
// Its items fit and their names are checked.
func appendBeat(dst []byte, b *Beat) []byte {
	be := binary.BigEndian
	var h [headerSize]byte
	putHeader(h[:], typeBeat, b.Agent)
	h[10], h[11], h[12] = byte(b.Salt>>16), byte(b.Salt>>8), byte(b.Salt)
	be.PutUint64(h[13:], b.Counter)
	dst = append(dst, h[:]...)
	dst = be.AppendUint64(dst, b.Session)
	dst = be.AppendUint64(dst, uint64(b.SentAt))
	dst = append(dst, byte(b.Kind), byte(len(b.Items)))
	for i := range b.Items {
		it := &b.Items[i]
		answers := byte(it.Alive)&3 | byte(it.Works)&3<<2
		if it.CannotLie {
			answers |= cannotLie
		}
		dst = append(dst, byte(len(it.Server)), answers)
		dst = be.AppendUint64(dst, uint64(it.Epoch))
		dst = be.AppendUint64(dst, it.Progress)
		dst = be.AppendUint64(dst, uint64(it.Since))
		dst = append(dst, it.Server...)
	}
	return dst
}

// beatHead is a beat without its items.
type beatHead struct {
	session uint64
	sentAt  int64
	kind    Kind
	items   int
}

// parseHead reads the fixed part of a beat's plain text and returns the rest.
func parseHead(p []byte) (h beatHead, rest []byte, err error) {
	if len(p) < beatFixed {
		return h, nil, ErrMalformed
	}
	be := binary.BigEndian
	h = beatHead{
		session: be.Uint64(p), sentAt: int64(be.Uint64(p[8:])),
		kind: Kind(p[16]), items: int(p[17]),
	}
	if h.kind != HostAgent && h.kind != GuestAgent {
		return h, nil, ErrMalformed
	}
	return h, p[beatFixed:], nil
}

// parseItem reads one item; its name stays in p so that nothing is allocated.
// The item's Server is left empty.
func parseItem(p []byte) (it Item, name, rest []byte, err error) {
	if len(p) < itemFixed {
		return it, nil, nil, ErrMalformed
	}
	n, answers := int(p[0]), p[1]
	if n == 0 || n > MaxName || len(p) < itemFixed+n || answers >= cannotLie<<1 {
		return it, nil, nil, ErrMalformed
	}
	be := binary.BigEndian
	it.Alive, it.Works = Answer(answers&3), Answer(answers>>2&3)
	it.CannotLie = answers&cannotLie != 0
	if it.Alive > fleet.No || it.Works > fleet.No {
		return it, nil, nil, ErrMalformed
	}
	it.Epoch = fleet.Epoch(be.Uint64(p[2:]))
	it.Progress = be.Uint64(p[10:])
	it.Since = int64(be.Uint64(p[18:]))
	name = p[itemFixed : itemFixed+n]
	for _, c := range name {
		if c <= ' ' || c > '~' {
			return it, nil, nil, ErrMalformed
		}
	}
	return it, name, p[itemFixed+n:], nil
}

// checkItems walks the items of a beat before any of them is taken, so that a
// malformed datagram changes nothing.
func checkItems(p []byte, n int) error {
	var err error
	for range n {
		if _, _, p, err = parseItem(p); err != nil {
			return err
		}
	}
	if len(p) != 0 {
		return ErrMalformed
	}
	return nil
}

// appendAck appends the header and the plain text of an ack, ready to be sealed
// once the nonce is set.
func appendAck(dst []byte, a *Ack, nonce *[nonceTail]byte) []byte {
	be := binary.BigEndian
	var h [headerSize]byte
	putHeader(h[:], typeAck, a.Agent)
	copy(h[10:], nonce[:])
	dst = append(dst, h[:]...)
	dst = be.AppendUint64(dst, a.Counter)
	dst = be.AppendUint64(dst, a.Session)
	dst = be.AppendUint64(dst, a.Highest)
	dst = be.AppendUint64(dst, uint64(a.Term))
	dst = be.AppendUint64(dst, uint64(a.Lease))
	var flags byte
	if a.Work {
		flags |= ackWork
	}
	if a.Hello {
		flags |= ackHello
	}
	return append(dst, flags)
}

// parseAck reads an ack's plain text.
func parseAck(agent AgentID, p []byte) (Ack, error) {
	if len(p) != ackFixed || p[40] > ackWork|ackHello {
		return Ack{}, ErrMalformed
	}
	be := binary.BigEndian
	a := Ack{
		Agent: agent, Counter: be.Uint64(p), Session: be.Uint64(p[8:]), Highest: be.Uint64(p[16:]),
		Term: fleet.Term(be.Uint64(p[24:])), Lease: time.Duration(be.Uint64(p[32:])),
		Work: p[40]&ackWork != 0, Hello: p[40]&ackHello != 0,
	}
	if a.Lease < 0 || a.Hello && a.Lease != 0 {
		return Ack{}, ErrMalformed
	}
	return a, nil
}
