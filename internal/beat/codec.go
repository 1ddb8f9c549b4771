package beat

import (
	"encoding/binary"
	"fmt"
)

// SealBeat appends the sealed datagram of b to dst. Items that don't fit into one
// datagram are an error; [Sender] splits them.
func SealBeat(dst []byte, k *Key, b *Beat) ([]byte, error) {
	for i := range b.Items {
		if err := CheckName(b.Items[i].Server); err != nil {
			return nil, err
		}
	}
	if fit(b.Items) < len(b.Items) {
		return nil, fmt.Errorf("beat with %d items: %w", len(b.Items), ErrShort)
	}
	var s sealer
	n := len(dst)
	dst = appendBeat(dst, b)
	return append(dst[:n], s.seal(newAEAD(k), dst[n:])...), nil
}

// OpenBeat opens and parses a beat. It allocates; the receiver doesn't use it.
func OpenBeat(k *Key, datagram []byte) (Beat, error) {
	agent, err := header(datagram, typeBeat)
	if err != nil {
		return Beat{}, err
	}
	b := Beat{
		Agent: agent, Salt: binary.BigEndian.Uint32(datagram[9:13]) & 0xffffff,
		Counter: counterOf(datagram),
	}
	var s sealer
	plain, err := s.open(newAEAD(k), append([]byte(nil), datagram...))
	if err != nil {
		return Beat{}, err
	}
	h, rest, err := parseHead(plain)
	if err != nil {
		return Beat{}, err
	}
	if err := checkItems(rest, h.items); err != nil {
		return Beat{}, err
	}
	b.Session, b.SentAt, b.Kind = h.session, h.sentAt, h.kind
	for range h.items {
		var it Item
		var name []byte
		it, name, rest, _ = parseItem(rest)
		it.Server = string(name)
		b.Items = append(b.Items, it)
	}
	return b, nil
}

// OpenAck opens and parses an ack.
func OpenAck(k *Key, datagram []byte) (Ack, error) {
	agent, err := header(datagram, typeAck)
	if err != nil {
		return Ack{}, err
	}
	var s sealer
	plain, err := s.open(newAEAD(k), append([]byte(nil), datagram...))
	if err != nil {
		return Ack{}, err
	}
	return parseAck(agent, plain)
}

// counterOf reads the counter from a beat's header.
func counterOf(datagram []byte) uint64 { return binary.BigEndian.Uint64(datagram[13:headerSize]) }
