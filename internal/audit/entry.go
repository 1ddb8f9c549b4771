package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"relight/internal/core/event"
)

// Version is the version of the hashed form of entries and checkpoints.
const Version = 1

// ErrMalformed is wrapped by every error about bytes that are not the one form
// of an entry, a checkpoint or a segment.
var ErrMalformed = errors.New("malformed audit data")

// Hash is a SHA-256 sum; 64 lower-case hexadecimal digits in JSON.
type Hash [sha256.Size]byte

// String returns the hash as hexadecimal digits.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// MarshalText implements encoding.TextMarshaler.
func (h Hash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler. It takes no other form than
// the one that MarshalText makes.
func (h *Hash) UnmarshalText(text []byte) error {
	var sum Hash
	if n, err := hex.Decode(sum[:], text); err != nil || n != len(sum) {
		return fmt.Errorf("%w: %q is not a hash of %d hexadecimal digits", ErrMalformed, text, 2*len(sum))
	}
	*h = sum
	return nil
}

// Head is how far a chain has come: the number and the hash of its last entry.
type Head struct {
	Shard int    `json:"shard"`
	Seq   uint64 `json:"seq"`
	Hash  Hash   `json:"hash"`
}

// Genesis is the head of a shard's chain before its first entry.
func Genesis(shard int) Head { return Head{Shard: shard} }

// Entry is one link of a shard's chain.
type Entry struct {
	V     int    `json:"v"`
	Shard int    `json:"shard"`
	Seq   uint64 `json:"seq"`
	// Prev is the hash of the entry with the number before; zero for the first.
	Prev Hash `json:"prev"`
	Hash Hash `json:"hash"`
	// Raw is the event as it was first encoded. The hash covers these very
	// bytes: a later version of ours that would encode the event in another way
	// still verifies old entries.
	Raw json.RawMessage `json:"event"`
}

// Head returns the head of a chain that ends with e.
func (e Entry) Head() Head { return Head{Shard: e.Shard, Seq: e.Seq, Hash: e.Hash} }

// Event decodes the entry's event.
func (e Entry) Event() (event.Event, error) {
	var ev event.Event
	if err := json.Unmarshal(e.Raw, &ev); err != nil {
		return event.Event{}, fmt.Errorf("%w: event of entry %d of shard %d: %w", ErrMalformed, e.Seq, e.Shard, err)
	}
	return ev, nil
}

// Append makes the entry that follows head, and the head after it. It fails only
// if the event cannot be encoded (a time beyond the year 9999).
func Append(head Head, e event.Event) (Entry, Head, error) {
	raw, err := json.Marshal(e)
	if err != nil {
		return Entry{}, head, fmt.Errorf("entry %d of shard %d: encode event: %w", head.Seq+1, head.Shard, err)
	}
	entry := Entry{V: Version, Shard: head.Shard, Seq: head.Seq + 1, Prev: head.Hash, Raw: raw}
	entry.Hash = entry.sum()
	return entry, entry.Head(), nil
}

// sum is SHA-256 over the form "relight/entry": each field with its length
// before it, so that no two different entries have the same form.
func (e Entry) sum() Hash {
	form := appendField(nil, []byte("relight/entry"))
	form = appendNumber(form, uint64(e.V))
	form = appendNumber(form, uint64(e.Shard))
	form = appendNumber(form, e.Seq)
	form = appendField(form, e.Prev[:])
	form = appendField(form, e.Raw)
	return sha256.Sum256(form)
}

// appendField appends the length as 8 bytes, big-endian, and the bytes.
func appendField(form, field []byte) []byte {
	form = binary.BigEndian.AppendUint64(form, uint64(len(field)))
	return append(form, field...)
}

// appendNumber appends n as a field of 8 bytes, big-endian.
func appendNumber(form []byte, n uint64) []byte {
	return appendField(form, binary.BigEndian.AppendUint64(nil, n))
}

// Encode returns the one stored form of e: JSON on one line, without the newline.
// It does not pass through the JSON encoder, which would be free to write the
// event's bytes anew.
func (e Entry) Encode() []byte {
	return fmt.Appendf(nil, `{"v":%d,"shard":%d,"seq":%d,"prev":"%s","hash":"%s","event":%s}`,
		e.V, e.Shard, e.Seq, e.Prev, e.Hash, e.Raw)
}

// DecodeEntry reads what Encode wrote and refuses any other form of the same
// fields, so that no byte of a stored entry can be changed unseen. It does not
// look at the hash; Verify does.
func DecodeEntry(data []byte) (Entry, error) {
	var e Entry
	if err := json.Unmarshal(data, &e); err != nil {
		return Entry{}, fmt.Errorf("%w: entry: %w", ErrMalformed, err)
	}
	if !bytes.Equal(e.Encode(), data) {
		return Entry{}, fmt.Errorf("%w: entry %d of shard %d is not in its one form", ErrMalformed, e.Seq, e.Shard)
	}
	return e, nil
}
