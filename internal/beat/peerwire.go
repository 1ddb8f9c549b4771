package beat

import (
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"

	"relight/internal/core/fleet"
)

// PeerAsk asks another host agent: were you given a higher epoch of this server?
// An agent whose lease has ended and that self-fences keeps its instance only while
// every peer that could take it over says no.
type PeerAsk struct {
	Server string
	Epoch  fleet.Epoch
}

// PeerKeys finds the key for datagrams from one agent to another.
type PeerKeys interface {
	PeerKey(from, to AgentID) (Key, bool)
}

// SiteKey is a secret that the host agents of one site share. Each direction of
// each pair gets a key of its own from it.
type SiteKey Key

// String hides the key from logs.
func (SiteKey) String() string { return "[key]" }

// GoString hides the key from %#v.
func (SiteKey) GoString() string { return "[key]" }

// PeerKey implements PeerKeys.
func (k SiteKey) PeerKey(from, to AgentID) (Key, bool) {
	info := fmt.Sprintf("relight beat peer %d to %d", uint64(from), uint64(to))
	out, err := hkdf.Key(sha256.New, k[:], nil, info, KeySize)
	if err != nil {
		return Key{}, false
	}
	return Key(out), true
}

// requestID is the nonce of a request; its answer carries it under the seal, so
// that an answer recorded earlier fits no later request.
type requestID [nonceTail]byte

// sealPeer seals a datagram from one agent to another with a random nonce.
func sealPeer(k *Key, typ byte, from AgentID, plain []byte, random io.Reader) ([]byte, requestID, error) {
	b := make([]byte, headerSize, MaxDatagram)
	putHeader(b, typ, from)
	if _, err := io.ReadFull(random, b[10:headerSize]); err != nil {
		return nil, requestID{}, fmt.Errorf("draw nonce: %w", err)
	}
	id := requestID(b[10:headerSize])
	var s sealer
	return s.seal(newAEAD(k), append(b, plain...)), id, nil
}

// openPeer opens a datagram and returns what follows its recipient.
func openPeer(keys PeerKeys, self AgentID, typ byte, datagram []byte) (from AgentID, id requestID, rest []byte, err error) {
	from, err = header(datagram, typ)
	if err != nil {
		return 0, id, nil, err
	}
	k, ok := keys.PeerKey(from, self)
	if !ok {
		return 0, id, nil, ErrUnknownAgent
	}
	id = requestID(datagram[10:headerSize])
	var s sealer
	plain, err := s.open(newAEAD(&k), append([]byte(nil), datagram...))
	if err != nil {
		return 0, id, nil, err
	}
	if len(plain) < 8 {
		return 0, id, nil, ErrMalformed
	}
	if AgentID(binary.BigEndian.Uint64(plain)) != self {
		return 0, id, nil, ErrMalformed // sealed with a key that pairs share, but for another
	}
	return from, id, plain[8:], nil
}

// plainTo starts the plain text of a datagram to this agent.
func plainTo(to AgentID) []byte { return binary.BigEndian.AppendUint64(nil, uint64(to)) }

func appendAsk(p []byte, a PeerAsk) []byte {
	p = binary.BigEndian.AppendUint64(p, uint64(a.Epoch))
	p = append(p, byte(len(a.Server)))
	return append(p, a.Server...)
}

func parseAsk(p []byte) (PeerAsk, error) {
	if len(p) < 9 || len(p) != 9+int(p[8]) {
		return PeerAsk{}, ErrMalformed
	}
	a := PeerAsk{Epoch: fleet.Epoch(binary.BigEndian.Uint64(p)), Server: string(p[9:])}
	if CheckName(a.Server) != nil {
		return PeerAsk{}, ErrMalformed
	}
	return a, nil
}

// parseReply reads a pong (no answer) or the answer to an ask.
func parseReply(typ byte, p []byte) (id requestID, a Answer, err error) {
	want := nonceTail
	if typ == typeAnswer {
		want++
	}
	if len(p) != want {
		return id, fleet.CannotTell, ErrMalformed
	}
	id = requestID(p[:nonceTail])
	if typ == typeAnswer {
		a = Answer(p[nonceTail])
		if a < fleet.CannotTell || a > fleet.No {
			return id, fleet.CannotTell, ErrMalformed
		}
	}
	return id, a, nil
}
