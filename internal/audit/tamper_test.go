package audit_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"relight/internal/audit"
	"relight/internal/core/event"
)

// stored is all that a store keeps of a journal, as bytes, where an intruder
// can write at will. The newest checkpoint has a copy elsewhere.
type stored struct {
	entries     [][][]byte // by shard
	heads       []audit.Head
	checkpoints [][]byte
}

func (s stored) clone() stored {
	c := stored{heads: slices.Clone(s.heads), checkpoints: slices.Clone(s.checkpoints)}
	for _, e := range s.entries {
		c.entries = append(c.entries, slices.Clone(e))
	}
	return c
}

func (s stored) String() string { return fmt.Sprintf("%q %v %q", s.entries, s.heads, s.checkpoints) }

// verify is what a person runs against the store, with the copy at hand.
func (s stored) verify(kept audit.Checkpoint) error {
	var checkpoints []audit.Checkpoint
	for _, data := range s.checkpoints {
		c, err := audit.DecodeCheckpoint(data)
		if err != nil {
			return err
		}
		checkpoints = append(checkpoints, c)
	}
	if err := audit.VerifyCheckpoints(checkpoints, audit.Checkpoint{}, kept); err != nil {
		return err
	}
	for shard, lines := range s.entries {
		entries := func(yield func(audit.Entry, error) bool) {
			for _, line := range lines {
				if !yield(audit.DecodeEntry(line)) {
					return
				}
			}
		}
		anchors := audit.Anchors(checkpoints, shard)
		if err := audit.Verify(entries, audit.Genesis(shard), s.heads[shard], anchors...); err != nil {
			return err
		}
	}
	return nil
}

const shards, checkpoints, perCheckpoint = 3, 4, 4

// journal makes a whole journal; the kept copy is its last checkpoint, which
// sees every entry.
func journal(t *testing.T) (s stored, kept audit.Checkpoint) {
	t.Helper()
	all := make([][]audit.Entry, shards)
	heads := make([][]audit.Head, shards)
	for shard := range shards {
		all[shard], heads[shard] = chain(t, shard, checkpoints*perCheckpoint)
		var lines [][]byte
		for _, e := range all[shard] {
			lines = append(lines, e.Encode())
		}
		s.entries = append(s.entries, lines)
		s.heads = append(s.heads, heads[shard][len(all[shard])])
	}
	for n := 1; n <= checkpoints; n++ {
		var now []audit.Head
		for shard := range shards {
			now = append(now, heads[shard][n*perCheckpoint])
		}
		kept = mustNext(t, kept, n, now)
		s.checkpoints = append(s.checkpoints, encode(t, kept))
	}
	return s, kept
}

func mustNext(t *testing.T, c audit.Checkpoint, minute int, heads []audit.Head) audit.Checkpoint {
	t.Helper()
	next, err := c.Next(start.Add(time.Duration(minute)*time.Minute), heads)
	if err != nil {
		t.Fatal(err)
	}
	return next
}

func encode(t *testing.T, c audit.Checkpoint) []byte {
	t.Helper()
	data, err := c.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// tamperings are the ways to falsify a journal. Each may leave it as it was.
func tamperings(t *testing.T) map[string]func(*rand.Rand, stored) stored {
	return map[string]func(*rand.Rand, stored) stored{
		"edit a byte": func(r *rand.Rand, s stored) stored {
			e, i := s.entries[r.IntN(shards)], r.IntN(checkpoints*perCheckpoint)
			e[i] = editByte(r, e[i])
			return s
		},
		"edit a byte of a checkpoint": func(r *rand.Rand, s stored) stored {
			i := r.IntN(checkpoints)
			s.checkpoints[i] = editByte(r, s.checkpoints[i])
			return s
		},
		"edit a head": func(r *rand.Rand, s stored) stored {
			h := &s.heads[r.IntN(shards)]
			if r.IntN(2) == 0 {
				h.Hash[r.IntN(len(h.Hash))] ^= 1 << r.IntN(8)
			} else {
				h.Seq = r.Uint64N(2 * checkpoints * perCheckpoint)
			}
			return s
		},
		"drop": func(r *rand.Rand, s stored) stored {
			e, i := &s.entries[r.IntN(shards)], r.IntN(checkpoints*perCheckpoint)
			*e = slices.Delete(*e, i, i+1)
			return s
		},
		"swap": func(r *rand.Rand, s stored) stored {
			e, i, j := s.entries[r.IntN(shards)], r.IntN(checkpoints*perCheckpoint), r.IntN(checkpoints*perCheckpoint)
			e[i], e[j] = e[j], e[i]
			return s
		},
		"duplicate": func(r *rand.Rand, s stored) stored {
			e, i, at := &s.entries[r.IntN(shards)], r.IntN(checkpoints*perCheckpoint), r.IntN(checkpoints*perCheckpoint+1)
			*e = slices.Insert(*e, at, (*e)[i])
			return s
		},
		"truncate, with the head": func(r *rand.Rand, s stored) stored {
			return cutShard(t, s, r.IntN(shards), r.IntN(checkpoints*perCheckpoint))
		},
		"truncate, without the head": func(r *rand.Rand, s stored) stored {
			e := &s.entries[r.IntN(shards)]
			*e = (*e)[:r.IntN(checkpoints*perCheckpoint)]
			return s
		},
		"insert a forged entry": func(r *rand.Rand, s stored) stored {
			shard, i := r.IntN(shards), r.IntN(checkpoints*perCheckpoint+1)
			forged, _ := forge(t, headBefore(t, s, shard, i))
			s.entries[shard] = slices.Insert(s.entries[shard], i, forged)
			return s
		},
		"rewrite from an entry on, heads and checkpoints too": func(r *rand.Rand, s stored) stored {
			return rewrite(t, s, r.IntN(shards), r.IntN(checkpoints*perCheckpoint))
		},
		"splice from another shard": func(r *rand.Rand, s stored) stored {
			a := r.IntN(shards)
			b := (a + 1 + r.IntN(shards-1)) % shards
			i := r.IntN(checkpoints * perCheckpoint)
			s.entries[a] = append(slices.Clone(s.entries[a][:i]), s.entries[b][i:]...)
			if r.IntN(2) == 0 {
				s.heads[a] = s.heads[b]
			}
			return s
		},
		"roll back all shards to an older checkpoint": func(r *rand.Rand, s stored) stored {
			n := r.IntN(checkpoints)
			for shard := range shards {
				s = cutShard(t, s, shard, n*perCheckpoint)
			}
			s.checkpoints = s.checkpoints[:n]
			return s
		},
		"drop, swap or repeat a checkpoint": func(r *rand.Rand, s stored) stored {
			i, j := r.IntN(checkpoints), r.IntN(checkpoints)
			switch r.IntN(3) {
			case 0:
				s.checkpoints = slices.Delete(s.checkpoints, i, i+1)
			case 1:
				s.checkpoints[i], s.checkpoints[j] = s.checkpoints[j], s.checkpoints[i]
			default:
				s.checkpoints = slices.Insert(s.checkpoints, j, s.checkpoints[i])
			}
			return s
		},
	}
}

func editByte(r *rand.Rand, data []byte) []byte {
	out := bytes.Clone(data)
	i := r.IntN(len(out))
	switch r.IntN(3) {
	case 0:
		out[i] ^= 1 << r.IntN(8)
	case 1:
		out[i] = byte(' ' + r.IntN('~'-' '))
	default:
		out = slices.Insert(out, i, byte(' '+r.IntN('~'-' ')))
	}
	return out
}

func headBefore(t *testing.T, s stored, shard, i int) audit.Head {
	t.Helper()
	if i == 0 {
		return audit.Genesis(shard)
	}
	e, err := audit.DecodeEntry(s.entries[shard][i-1])
	if err != nil {
		t.Fatal(err)
	}
	return e.Head()
}

func forge(t *testing.T, head audit.Head) ([]byte, audit.Head) {
	t.Helper()
	e, next, err := audit.Append(head, event.Event{Version: event.Version, Kind: event.FenceAttested, By: "nobody"})
	if err != nil {
		t.Fatal(err)
	}
	return e.Encode(), next
}

func cutShard(t *testing.T, s stored, shard, n int) stored {
	s.heads[shard] = headBefore(t, s, shard, n)
	s.entries[shard] = s.entries[shard][:n]
	return s
}

// rewrite is the strongest intruder: from entry i on the shard has another
// history, and every hash in the store is made anew. Only the copy is not.
func rewrite(t *testing.T, s stored, shard, i int) stored {
	head := headBefore(t, s, shard, i)
	for ; i < checkpoints*perCheckpoint; i++ {
		s.entries[shard][i], head = forge(t, head)
	}
	s.heads[shard] = head
	var c audit.Checkpoint
	for n := 1; n <= checkpoints; n++ {
		var now []audit.Head
		for sh := range shards {
			now = append(now, headBefore(t, s, sh, n*perCheckpoint))
		}
		c = mustNext(t, c, n, now)
		s.checkpoints[n-1] = encode(t, c)
	}
	return s
}

func TestOP_AUDIT_EveryTamperingIsFound(t *testing.T) {
	const want = 10_000
	whole, kept := journal(t)
	if err := whole.verify(kept); err != nil {
		t.Fatalf("the untouched journal is refused: %v", err)
	}
	original := whole.String()
	kinds := tamperings(t)
	for name, tamper := range kinds {
		t.Run(name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, 2))
			for done := 0; done <= want/len(kinds); {
				s := tamper(r, whole.clone())
				if s.String() == original {
					continue
				}
				done++
				if s.verify(kept) == nil {
					t.Fatalf("tampering %d was not found", done)
				}
			}
		})
	}
	if whole.String() != original {
		t.Fatal("a tampering changed the original: the test proves nothing")
	}
}
