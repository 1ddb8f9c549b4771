package audit

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
)

// ErrBackwards is wrapped by Next's error when a head lies behind the one in the
// checkpoint before: a shard has lost entries.
var ErrBackwards = errors.New("head lies behind the last checkpoint")

// Checkpoint joins the heads of all shards at one moment. Checkpoints are
// numbered from 1 and each covers the hash of the one before, so that a newer
// one, kept anywhere, shows that a shard or the whole store was rolled back.
type Checkpoint struct {
	V  int       `json:"v"`
	N  uint64    `json:"n"`
	At time.Time `json:"at"`
	// Heads holds each shard once, in the order of their numbers.
	Heads []Head `json:"heads"`
	// Prev is the hash of checkpoint N-1; zero for the first.
	Prev Hash `json:"prev"`
	Hash Hash `json:"hash"`
}

// Next makes the checkpoint after c; the zero Checkpoint makes the first. Shards
// that heads does not name keep their head of c: another controller may own them.
// Its error wraps ErrBackwards if a head lies behind c's or contradicts it.
func (c Checkpoint) Next(at time.Time, heads []Head) (Checkpoint, error) {
	joined := slices.Clone(c.Heads)
	for _, h := range heads {
		i := slices.IndexFunc(joined, func(o Head) bool { return o.Shard == h.Shard })
		if i < 0 {
			joined = append(joined, h)
			continue
		}
		if h.Seq < joined[i].Seq || (h.Seq == joined[i].Seq && h.Hash != joined[i].Hash) {
			return Checkpoint{}, fmt.Errorf("checkpoint %d: shard %d at entry %d, was at %d: %w",
				c.N+1, h.Shard, h.Seq, joined[i].Seq, ErrBackwards)
		}
		joined[i] = h
	}
	slices.SortFunc(joined, func(a, b Head) int { return cmp.Compare(a.Shard, b.Shard) })
	next := Checkpoint{V: Version, N: c.N + 1, At: at.UTC().Round(0), Heads: joined, Prev: c.Hash}
	next.Hash = next.sum()
	return next, nil
}

func (c Checkpoint) sum() Hash {
	form := appendField(nil, []byte("relight/checkpoint"))
	form = appendNumber(form, uint64(c.V))
	form = appendNumber(form, c.N)
	form = appendField(form, []byte(c.At.UTC().Format(time.RFC3339Nano)))
	form = appendField(form, c.Prev[:])
	form = appendNumber(form, uint64(len(c.Heads)))
	for _, h := range c.Heads {
		form = appendNumber(form, uint64(h.Shard))
		form = appendNumber(form, h.Seq)
		form = appendField(form, h.Hash[:])
	}
	return sha256.Sum256(form)
}

// Encode returns the one stored form of c: JSON on one line. It fails only if
// the time lies beyond the year 9999.
func (c Checkpoint) Encode() ([]byte, error) {
	data, err := json.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("encode checkpoint %d: %w", c.N, err)
	}
	return data, nil
}

// DecodeCheckpoint reads what Encode wrote and refuses any other form of the
// same fields. It does not look at the hash; VerifyCheckpoints does.
func DecodeCheckpoint(data []byte) (Checkpoint, error) {
	var c Checkpoint
	if err := json.Unmarshal(data, &c); err != nil {
		return Checkpoint{}, fmt.Errorf("%w: checkpoint: %w", ErrMalformed, err)
	}
	again, err := c.Encode()
	if err != nil {
		return Checkpoint{}, err
	}
	if !bytes.Equal(again, data) {
		return Checkpoint{}, fmt.Errorf("%w: checkpoint %d is not in its one form", ErrMalformed, c.N)
	}
	return c, nil
}
